//! The query of an UPDATE or DELETE: the rows for which the condition is true, joined with the other tables of the statement.

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::Command;
use super::change::{Action, ChangePlan, Layout, Value};
use super::query::{Parts, alone, column, numbered};
use super::returning::Returning;
use super::scope::{Relation, Scope};
use super::target::Changed;
use crate::bind::names::fold;
use crate::bind::{BindContext, assign_columns};
use crate::error::from_datafusion;
use crate::session::Session;
use crate::syntax::CURRENT_OF;

/// The clauses that UPDATE and DELETE have in common.
pub(super) struct Clauses {
    pub(super) with: Option<ast::With>,
    /// FROM, USING
    pub(super) others: Vec<ast::TableWithJoins>,
    pub(super) condition: Option<ast::Expr>,
    pub(super) returning: Option<Vec<ast::SelectItem>>,
}

/// The query, and what its columns are.
pub(super) struct Found {
    plan: LogicalPlan,
    layout: Layout,
    returning: Option<Returning>,
}

impl Found {
    /// Plans it; `set` are the columns that are set, none for DELETE.
    ///
    /// # Errors
    /// All that planning refuses.
    pub(super) async fn plan(
        session: &Session,
        target: &Changed,
        set: Option<Vec<(usize, ast::Expr)>>,
        clauses: Clauses,
        parameters: &[Option<SqlType>],
        context: &mut BindContext,
    ) -> Result<Found, SqlError> {
        let Clauses { with, others, condition, returning } = clauses;
        refuse_cursor(session, condition.as_ref())?;
        let mut from = vec![alone(target.factor()?)];
        from.extend(others.iter().cloned());
        let width = target.table.columns.len();
        let others = match returning.is_some() && !others.is_empty() {
            true => others_of(session, target, &from, with.clone(), parameters, context).await?,
            false => Vec::new(),
        };
        let mut scope = Scope { relations: vec![Relation::of_table(&target.table, &target.alias)] };
        scope.relations.extend(others);
        let returning = match returning {
            Some(items) => Some(Returning::bind(session, &scope, items, with.clone(), parameters, context).await?),
            None => None,
        };
        let reads: &[usize] = returning.as_ref().map_or(&[], |returning| &returning.reads);

        // The row, where it is, and what else RETURNING reads.
        let mut exprs = Vec::new();
        let mut row = vec![None; width];
        let changes = set.is_some();
        let mut set = set.unwrap_or_default();
        for (index, place) in row.iter_mut().enumerate() {
            if changes || reads.contains(&index) {
                *place = Some(exprs.len());
                let value = set.iter_mut().find(|(column, _)| *column == index).map(|(_, value)| value.clone());
                exprs.push(value.unwrap_or_else(|| target.column(&target.table.columns[index].name)));
            }
        }
        let stored = exprs.len();
        exprs.extend(target.place());
        let mut values = Vec::with_capacity(reads.len());
        for read in reads {
            values.push(Value::Column(match row.get(*read) {
                Some(place) => place.ok_or_else(|| SqlError::internal("a column that is returned is not read"))?,
                None => {
                    exprs.push(nth(&scope, *read)?);
                    exprs.len() - 1
                }
            }));
        }
        let query = Parts { with, items: numbered(exprs), from, condition }.query()?;
        let mut plan = session.plan_query(&query, parameters, context).await?;
        if changes {
            let columns: Vec<_> = target.table.columns.iter().collect();
            plan = assign_columns(plan, &columns, false, context).map_err(from_datafusion)?;
        }
        let layout = Layout { row, file: stored, place: stored + 1, action: None, returning: values };
        Ok(Found { plan, layout, returning })
    }

    /// The whole statement.
    pub(super) fn into_plan(self, command: Command, action: Action, target: Changed) -> ChangePlan {
        ChangePlan {
            command,
            table: target.table,
            provider: target.provider,
            found: self.plan,
            layout: self.layout,
            actions: vec![action],
            keys: None,
            returning: self.returning,
        }
    }
}

/// `WHERE CURRENT OF`: `34000` for a cursor that is not there, `0A000` for one that is.
fn refuse_cursor(session: &Session, condition: Option<&ast::Expr>) -> Result<(), SqlError> {
    let Some(ast::Expr::BinaryOp { left, right, .. }) = condition else { return Ok(()) };
    match (left.as_ref(), right.as_ref()) {
        (ast::Expr::Identifier(mark), ast::Expr::Identifier(cursor)) if mark.value == CURRENT_OF => {
            session.require_cursor(&fold(cursor))?;
            Err(SqlError::unsupported("WHERE CURRENT OF is not supported").with_hint("Name the row by its key."))
        }
        _ => Ok(()),
    }
}

/// A column of a scope by its place, as an expression.
fn nth(scope: &Scope, place: usize) -> Result<ast::Expr, SqlError> {
    let (relation, field) = scope.columns().nth(place).ok_or_else(|| SqlError::internal("no such column"))?;
    Ok(column(&relation.name, field.name()))
}

/// The relations of FROM and USING.
async fn others_of(
    session: &Session,
    target: &Changed,
    from: &[ast::TableWithJoins],
    with: Option<ast::With>,
    parameters: &[Option<SqlType>],
    context: &BindContext,
) -> Result<Vec<Relation>, SqlError> {
    let everything = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
    let query = Parts { with, items: vec![everything], from: from.to_vec(), condition: None }.query()?;
    let plan = session.plan_query(&query, parameters, context).await?;
    // Those of the table itself stand first, with the two that say where a row is.
    Ok(relations(&plan, target.table.columns.len() + 2))
}

/// The relations whose columns a plan gives, leaving out its first columns.
pub(super) fn relations(plan: &LogicalPlan, leave_out: usize) -> Vec<Relation> {
    let mut relations: Vec<Relation> = Vec::new();
    for (qualifier, field) in plan.schema().iter().skip(leave_out) {
        let name = qualifier.map(|name| name.table().to_owned()).unwrap_or_default();
        let field: FieldRef = field.as_ref().clone().with_nullable(true).into();
        match relations.iter_mut().find(|relation| relation.name == name) {
            Some(relation) => relation.fields.push(field),
            None => relations.push(Relation { name, fields: vec![field], oid: None }),
        }
    }
    relations
}
