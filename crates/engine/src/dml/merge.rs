//! MERGE.
//!
//! One query joins the table with the source and says of each pair which WHEN clause it is for; over its rows a second, planned
//! together with it, computes what the rows become.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast;
use wharf_catalog::{SqlType, Table};
use wharf_values::{SqlError, SqlState, mapping};

use super::change::{ChangePlan, Layout, Value};
use super::clauses::{Clause, Kind, clauses};
use super::found::relations;
use super::query::{Parts, alone, and, case, column, number, numbered};
use super::returning::Returning;
use super::scope::{Relation, Scope, put_rows, reads};
use super::target::Changed;
use super::{Command, syntax_error};
use crate::bind::names::last_part;
use crate::bind::{BindContext, assign_columns};
use crate::error::from_datafusion;
use crate::names::quoted;
use crate::session::Session;

/// The name of what is known of a pair beside its columns.
const PAIR: &str = "\0pair";
/// Its columns: what happens, and where the row of the table is.
const ACTION: &str = "\0action";
const FILE: &str = "\0pair file";
const PLACE: &str = "\0pair place";
/// The relation, and its column, that is NULL where there is no row of the source.
const PRESENT: &str = "\0present";
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
    let pairs = planner.pairs(merge, &clauses).await?;
    let returning = match returning {
        Some(items) => Some(planner.returning(items).await?),
        None => None,
    };
    let (found, layout) = planner.changes(pairs, &clauses, returning.as_ref()).await?;
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

struct Planner<'a> {
    session: &'a Session,
    target: &'a Changed,
    with: Option<&'a ast::With>,
    parameters: &'a [Option<SqlType>],
    context: &'a mut BindContext,
    /// The relations of the source.
    source: Vec<Relation>,
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

    fn target_relation(&self) -> Relation {
        Relation::of_table(&self.target.table, &self.target.alias)
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

    /// The pairs of rows: the columns of the source, those of the table, and which clause each pair is for.
    async fn pairs(&mut self, merge: &ast::Merge, clauses: &[Clause]) -> Result<LogicalPlan, SqlError> {
        let has = |kind| clauses.iter().any(|clause| clause.kind == kind);
        let mut source = merge.source.clone();
        let on = ast::JoinConstraint::On((*merge.on).clone());
        let operator = match (has(Kind::NotMatched), has(Kind::NotMatchedBySource)) {
            (false, false) => ast::JoinOperator::Inner(on),
            (true, false) => ast::JoinOperator::LeftOuter(on),
            (false, true) => ast::JoinOperator::RightOuter(on),
            (true, true) => ast::JoinOperator::FullOuter(on),
        };
        if has(Kind::NotMatchedBySource) {
            source = marked(source)?;
        }
        let join = ast::Join { relation: self.target.factor()?, global: false, join_operator: operator };
        let from = vec![ast::TableWithJoins { relation: source, joins: vec![join] }];

        let scope: Vec<(String, String)> = self
            .source
            .iter()
            .flat_map(|relation| relation.fields.iter().map(|field| (relation.name.clone(), field.name().clone())))
            .collect();
        let mut exprs: Vec<_> = scope.iter().map(|(relation, name)| column(relation, name)).collect();
        exprs.extend(self.target.columns());
        let [file, place] = self.target.place();
        let missing = |expr: ast::Expr| ast::Expr::IsNull(Box::new(expr));
        let there = |expr: ast::Expr| ast::Expr::IsNotNull(Box::new(expr));
        let source_there = column(PRESENT, PRESENT);
        let branches = clauses.iter().enumerate().map(|(index, clause)| {
            let side = match clause.kind {
                Kind::NotMatched => missing(place.clone()),
                Kind::NotMatchedBySource => missing(source_there.clone()),
                Kind::Matched if has(Kind::NotMatchedBySource) => {
                    and(there(place.clone()), there(source_there.clone()))
                }
                Kind::Matched => there(place.clone()),
            };
            let condition = match &clause.condition {
                Some(condition) => and(side, condition.clone()),
                None => side,
            };
            (condition, number(index))
        });
        let action = case(branches.collect(), Some(number(clauses.len())));
        exprs.extend([action, file, place]);
        let items = numbered(exprs);
        let query = Parts { with: self.with.cloned(), items, from, condition: None }.query()?;
        self.session.plan_query(&query, self.parameters, self.context).await
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

    /// What the pairs become.
    async fn changes(
        &mut self,
        pairs: LogicalPlan,
        clauses: &[Clause],
        returning: Option<&Returning>,
    ) -> Result<(LogicalPlan, Layout), SqlError> {
        let table: &Table = &self.target.table;
        let target = self.target_relation();
        let fields: Vec<_> = pairs.schema().fields().iter().rev().take(3).rev().cloned().collect();
        let named = [ACTION, FILE, PLACE].iter().zip(&fields);
        let named = named.map(|(name, field)| field.as_ref().clone().with_name(*name).into());
        let pair = Relation { name: PAIR.to_owned(), fields: named.collect(), oid: None };
        let mut relations = self.source.clone();
        relations.extend([target, pair]);
        let scope = Scope { relations };

        // Of each clause the values that it stores, computed for its own rows only.
        let mut stored = Vec::new();
        let mut columns = Vec::new();
        let mut places = vec![vec![None; table.columns.len()]; clauses.len()];
        for (index, clause) in clauses.iter().enumerate() {
            for (place, value) in clause.stored() {
                let chosen = ast::Expr::BinaryOp {
                    left: Box::new(column(PAIR, ACTION)),
                    op: ast::BinaryOperator::Eq,
                    right: Box::new(number(index)),
                };
                places[index][*place] = Some(stored.len());
                stored.push(case(vec![(chosen, value.clone())], None));
                columns.push(&table.columns[*place]);
            }
        }
        // Behind them all that was there before, for what stays and for RETURNING.
        let before = stored.len();
        stored.extend(scope.columns().map(|(relation, field)| column(&relation.name, field.name())));
        let width = scope.columns().count();
        let bound =
            scope.bind(self.session, numbered(stored), self.with.cloned(), self.parameters, self.context).await?;
        let (_, scans) = reads(&bound.plan, &scope)?;
        if scans > 1 && super::change::is_volatile(&pairs) {
            return Err(SqlError::unsupported("MERGE with subqueries and volatile functions is not supported")
                .with_hint("Put the values into a table of their own first."));
        }
        let plan = assign_columns(bound.plan, &columns, false, self.context).map_err(from_datafusion)?;

        let given = plan.schema().columns();
        let source_width: usize = self.source.iter().map(|relation| relation.fields.len()).sum();
        let action = Expr::Column(given[before + width - 3].clone());
        let mut exprs = Vec::new();
        for index in 0..table.columns.len() {
            let old = Expr::Column(given[before + source_width + index].clone());
            let new = |place: &Vec<Option<usize>>| place[index].map(|place| Expr::Column(given[place].clone()));
            let branches = places.iter().enumerate().filter_map(|(clause, place)| {
                let number = i32::try_from(clause).ok()?;
                Some((Box::new(lit(number)), Box::new(new(place)?)))
            });
            let branches: Vec<_> = branches.collect();
            exprs.push(match branches.is_empty() {
                true => old,
                false => Expr::Case(Case::new(Some(Box::new(action.clone())), branches, Some(Box::new(old)))),
            });
        }
        let stored = exprs.len();
        exprs.extend(given[before + width - 3..].iter().cloned().map(Expr::Column));
        let mut values = Vec::new();
        for read in returning.map_or(&[][..], |returning| &returning.reads) {
            values.push(match read.checked_sub(source_width) {
                None => {
                    exprs.push(Expr::Column(given[before + *read].clone()));
                    Value::Column(exprs.len() - 1)
                }
                Some(place) if place < table.columns.len() => Value::Column(place),
                Some(_) => Value::Action,
            });
        }
        let exprs = exprs.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("column{index}")));
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs.collect::<Vec<_>>())
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let layout = Layout {
            row: (0..table.columns.len()).map(Some).collect(),
            action: Some(stored),
            file: stored + 1,
            place: stored + 2,
            returning: values,
        };
        Ok((put_rows(plan, &pairs)?, layout))
    }
}

/// The source with a column of its own that is never NULL.
fn marked(source: ast::TableFactor) -> Result<ast::TableFactor, SqlError> {
    let text = format!("SELECT 1 FROM (SELECT true AS \"{PRESENT}\") AS \"{PRESENT}\"");
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&text)?.pop() else {
        return Err(SqlError::internal("SELECT is not a query"));
    };
    let ast::SetExpr::Select(select) = *query.body else { return Err(SqlError::internal("SELECT is not a query")) };
    let joins = select.from.into_iter().map(|mark| ast::Join {
        relation: mark.relation,
        global: false,
        join_operator: ast::JoinOperator::CrossJoin(ast::JoinConstraint::None),
    });
    let table_with_joins = Box::new(ast::TableWithJoins { relation: source, joins: joins.collect() });
    Ok(ast::TableFactor::NestedJoin { table_with_joins, alias: None })
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
