//! MERGE.
//!
//! The work is that of [`super::pairs`]; here is what MERGE alone has.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::change::ChangePlan;
use super::clauses::{Clause, Kind, clauses};
use super::found::relations;
use super::pairs::Planner;
use super::query::{Parts, alone, column, numbered};
use super::returning::Returning;
use super::scope::{Relation, Scope};
use super::target::Changed;
use super::{Command, syntax_error};
use crate::bind::BindContext;
use crate::bind::names::last_part;
use crate::names::quoted;
use crate::session::Session;

/// The relation, and its column, that `merge_action()` reads.
const MERGE_ACTION: &str = "merge_action";

/// Plans a MERGE.
///
/// # Errors
/// `42P01`, `42703`, `42712` for one name of table and source, `42601` for a clause that is never reached, and all that planning
/// the clauses refuses.
pub(super) async fn plan(
    session: &Session,
    merge: &ast::Merge,
    with: Option<&ast::With>,
    parameters: &[Option<SqlType>],
    context: &mut BindContext,
) -> Result<ChangePlan, SqlError> {
    let target = Changed::of_factor(session, &merge.table, "merge into", context).await?;
    let returning = match &merge.output {
        None => None,
        Some(ast::OutputClause::Returning { select_items, .. }) => Some(select_items.clone()),
        Some(ast::OutputClause::Output { .. }) => return Err(syntax_error("MERGE")),
    };
    let clauses = clauses(&merge.clauses, &target.table)?;
    let mut planner = Planner { session, target: &target, with, parameters, context, source: Vec::new() };
    planner.source = planner.source_relations(&merge.source).await?;
    planner.check_sides(&clauses).await?;
    let pairs = planner.pairs(merge.source.clone(), (*merge.on).clone(), &clauses).await?;
    let returning = match returning {
        Some(items) => Some(planner.returning(items).await?),
        None => None,
    };
    let reads = returning.as_ref().map(|returning| returning.reads.clone()).unwrap_or_default();
    let (found, layout) = planner.changes(pairs, &clauses, &reads).await?;
    Ok(ChangePlan {
        command: Command::Merge,
        actions: clauses.iter().map(|clause| clause.does.action()).collect(),
        table: target.table,
        provider: target.provider,
        found,
        layout,
        keys: None,
        returning,
    })
}

impl Planner<'_> {
    /// The relations of the source and their columns.
    async fn source_relations(&mut self, source: &ast::TableFactor) -> Result<Vec<Relation>, SqlError> {
        let everything = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        let from = vec![alone(source.clone())];
        let query = Parts { with: self.with.cloned(), items: vec![everything], from, condition: None }.query()?;
        let plan = self.session.plan_query(&query, self.parameters, self.context).await?;
        let relations = relations(&plan, 0);
        if relations.iter().any(|relation| relation.name == self.target.alias) {
            let message = format!("name \"{}\" specified more than once", self.target.alias);
            return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message)
                .with_detail("The name is used both as MERGE target table and data source."));
        }
        Ok(relations)
    }

    /// A clause for rows without a partner speaks of the side that is there.
    async fn check_sides(&mut self, clauses: &[Clause]) -> Result<(), SqlError> {
        for kind in [Kind::NotMatched, Kind::NotMatchedBySource] {
            let exprs: Vec<_> = clauses.iter().filter(|clause| clause.kind == kind).flat_map(Clause::exprs).collect();
            if exprs.is_empty() {
                continue;
            }
            let relations = match kind {
                Kind::NotMatched => self.source.clone(),
                _ => vec![self.target_relation()],
            };
            let scope = Scope { relations };
            let (with, items) = (self.with.cloned(), numbered(exprs));
            scope.bind(self.session, items, with, self.parameters, self.context).await?;
        }
        Ok(())
    }

    async fn returning(&mut self, items: Vec<ast::SelectItem>) -> Result<Returning, SqlError> {
        let mut relations = self.source.clone();
        relations.push(self.target_relation());
        // `*` gives the columns of the source, then those of the table, and not what merge_action() reads.
        let mut listed = Vec::with_capacity(items.len());
        for item in items {
            match item {
                ast::SelectItem::Wildcard(options) => listed.extend(relations.iter().map(|relation| {
                    let name = ast::ObjectName(vec![ast::ObjectNamePart::Identifier(quoted(&relation.name))]);
                    let kind = ast::SelectItemQualifiedWildcardKind::ObjectName(name);
                    ast::SelectItem::QualifiedWildcard(kind, options.clone())
                })),
                mut other => {
                    name_action(&mut other);
                    listed.push(other);
                }
            }
        }
        relations.push(action_relation());
        let scope = Scope { relations };
        Returning::bind(self.session, &scope, listed, self.with.cloned(), self.parameters, self.context).await
    }
}

/// What `merge_action()` reads.
fn action_relation() -> Relation {
    let field = mapping::field(MERGE_ACTION, &SqlType::Text, true);
    Relation { name: MERGE_ACTION.to_owned(), fields: vec![Arc::new(field)], oid: None }
}

/// `merge_action()` is a column of a relation of that name.
fn name_action(item: &mut ast::SelectItem) {
    let _ = ast::visit_expressions_mut(item, |expr| {
        if let ast::Expr::Function(call) = expr
            && last_part(&call.name) == MERGE_ACTION
            && matches!(&call.args, ast::FunctionArguments::List(list) if list.args.is_empty())
        {
            *expr = column(MERGE_ACTION, MERGE_ACTION);
        }
        ControlFlow::<()>::Continue(())
    });
}
