//! A subquery used as a value is NULL where it has no row, even if its column is never NULL.
//!
//! DataFusion takes the column's word for it: `(SELECT a FROM t WHERE false) IS NULL` was false of a column `a` that is NOT
//! NULL, and a result that had the NULL was refused. So such a subquery becomes an aggregate of its one value, which may
//! be NULL. Types are resolved from the leaves up, and all nodes above learn of it. What is computed may turn out to be never NULL
//! only when the plan is optimized, as `1::smallint` does; columns of tables stay as they are.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::ARRAY_OF_ROWS;
use super::references::free;
use crate::operators::single_value;

/// An expression whose subqueries without outer columns say that they may be NULL, where they may. Those with outer
/// columns become outer joins, which say so by themselves.
pub(in crate::bind) fn null_without_rows(expr: Expr) -> DfResult<Expr> {
    let told = expr.transform_down(|expr| match expr {
        // Of all rows, of which there may be none.
        Expr::ScalarFunction(call) if call.func.name() == ARRAY_OF_ROWS => {
            Ok(Transformed::new(Expr::ScalarFunction(call), false, TreeNodeRecursion::Jump))
        }
        Expr::ScalarSubquery(subquery) if hides_null(&subquery.subquery)? => {
            let plan = subquery.subquery.as_ref().clone();
            let column = Column::from(plan.schema().qualified_field(0));
            let value = single_value(Expr::Column(column.clone())).alias(column.name);
            let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), vec![value])?.build()?;
            Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: plan.into(), ..subquery })))
        }
        expr => Ok(Transformed::no(expr)),
    })?;
    Ok(told.data)
}

/// Can a plan of one column have no row, and does it say that its value is never NULL, or may it come to say so?
fn hides_null(plan: &LogicalPlan) -> DfResult<bool> {
    let [field] = &plan.schema().fields()[..] else { return Ok(false) };
    Ok((!field.is_nullable() || !is_of_table(plan)) && !has_a_row(plan) && free(plan)?.is_empty())
}

/// Is the one column of a plan that of a table?
fn is_of_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) && is_of_table(&projection.input)
        }
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Distinct(_) => plan.inputs().into_iter().all(is_of_table),
        _ => false,
    }
}

/// Does a plan have a row, whatever the data?
fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_a_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && has_a_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}
