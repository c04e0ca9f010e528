//! Casts of values that are never NULL, which the planner must see so in both kinds of plans.
//!
//! A logical cast is NULL where its operand is, whatever the field says that it casts to; the physical one takes the field's
//! word. The binder's fields say that everything may be NULL, and an aggregate refuses rows that may be NULL when the logical plan
//! said that they are not: `sum(x::bigint), max(x::bigint)` of a column that is NOT NULL, whose cast is computed once below. What
//! is never NULL also changes while plans are optimized, when an outer join becomes an inner one.
//!
//! What always holds: a cast to a field that is spelled out says that it is NULL exactly where its operand may be.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Gives casts the nullability of their operands. To be run last.
#[derive(Debug, Default)]
pub(crate) struct CastsAreNullLikeTheirOperands;

impl OptimizerRule for CastsAreNullLikeTheirOperands {
    fn name(&self) -> &str {
        "casts_are_null_like_their_operands"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let inputs = plan.inputs();
        if inputs.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&inputs);
        plan.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::Cast(Cast { expr, field }) if is_spelled_out(&field) => {
                    // A column of an outer query is not among the columns here.
                    let nullable = expr.nullable(&schema).unwrap_or(true);
                    if nullable == field.is_nullable() {
                        return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
                    }
                    let field = Arc::new(field.as_ref().clone().with_nullable(nullable));
                    Ok(Transformed::yes(Expr::Cast(Cast { expr, field })))
                }
                expr => Ok(Transformed::no(expr)),
            })
        })
    }
}

/// Is a field more than a type? DataFusion's casts to a mere type are NULL like their operands by themselves.
fn is_spelled_out(field: &arrow::datatypes::Field) -> bool {
    !(field.name().is_empty() && field.metadata().is_empty())
}
