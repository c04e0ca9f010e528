//! Which column of which table a column of a result is, for clients that want to know: JDBC's `getTableName`, or an editor
//! that writes back what was changed.
//!
//! What always holds: as in PostgreSQL, only a column that is shown as it is has an origin, not one that was computed or
//! came out of UNION; a column of a view is the view's.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

/// Where a column of a result comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The oid of the table or view.
    pub(crate) table: u32,
    /// The column's number in it, from 1.
    pub(crate) attribute: i16,
}

/// A relation that a query names.
pub(super) struct Named {
    pub(super) oid: u32,
    /// The plan that stands for a view.
    pub(super) view: Option<LogicalPlan>,
}

/// The origins of the columns of a plan, as the SQL planner made it.
pub(super) fn origins(plan: &LogicalPlan, relations: &HashMap<TableReference, Named>) -> Vec<Option<Origin>> {
    (0..plan.schema().fields().len()).map(|column| origin(plan, column, relations)).collect()
}

fn origin(plan: &LogicalPlan, column: usize, relations: &HashMap<TableReference, Named>) -> Option<Origin> {
    let below = |expr: &Expr, input: &Arc<LogicalPlan>| match without_alias(expr) {
        Expr::Column(name) => origin(input, input.schema().maybe_index_of_column(name)?, relations),
        _ => None,
    };
    match plan {
        LogicalPlan::Projection(projection) => below(projection.expr.get(column)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => below(aggregate.group_expr.get(column)?, &aggregate.input),
        LogicalPlan::SubqueryAlias(alias) => {
            let named = relations.get(&alias.alias);
            match named.filter(|named| named.view.as_ref().is_some_and(|view| *view == *alias.input)) {
                Some(view) => numbered(view.oid, column),
                None => origin(&alias.input, column, relations),
            }
        }
        LogicalPlan::TableScan(scan) => {
            let table = relations.get(&scan.table_name)?;
            let place = scan.projection.as_ref().map_or(Some(column), |columns| columns.get(column).copied())?;
            numbered(table.oid, place)
        }
        LogicalPlan::Filter(filter) => origin(&filter.input, column, relations),
        LogicalPlan::Sort(sort) => origin(&sort.input, column, relations),
        LogicalPlan::Limit(limit) => origin(&limit.input, column, relations),
        LogicalPlan::Distinct(Distinct::All(input)) => origin(input, column, relations),
        LogicalPlan::Distinct(Distinct::On(on)) => below(on.select_expr.get(column)?, &on.input),
        LogicalPlan::Window(window) if column < window.input.schema().fields().len() => {
            origin(&window.input, column, relations)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let left = join.left.schema().fields().len();
                match column.checked_sub(left) {
                    None => origin(&join.left, column, relations),
                    Some(column) => origin(&join.right, column, relations),
                }
            }
            _ => None,
        },
        _ => None,
    }
}

fn numbered(table: u32, place: usize) -> Option<Origin> {
    Some(Origin { table, attribute: i16::try_from(place + 1).ok()? })
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}
