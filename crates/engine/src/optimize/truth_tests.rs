//! `IS TRUE`, `IS UNKNOWN` and their like, which the planner must see to be never NULL in both kinds of plans.
//!
//! Logically they are; DataFusion's physical planner makes `IS NOT DISTINCT FROM` of them, which it takes for NULL where the
//! operand is. An aggregate refuses rows that may be NULL when the logical plan said that they are not: `DISTINCT a IS TRUE`.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit, not, when};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Writes out tests of truth where columns are made of them. To be run last.
#[derive(Debug, Default)]
pub(crate) struct TruthTestsAreNeverNull;

impl OptimizerRule for TruthTestsAreNeverNull {
    fn name(&self) -> &str {
        "truth_tests_are_never_null"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(written_out)?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn written_out(expr: Expr) -> Result<Transformed<Expr>> {
    let known = |operand: Expr, value: Expr, unknown: bool| {
        when(operand.is_not_null(), value).otherwise(lit(unknown)).map(Transformed::yes)
    };
    match expr {
        Expr::IsTrue(operand) => known(*operand.clone(), *operand, false),
        Expr::IsNotFalse(operand) => known(*operand.clone(), *operand, true),
        Expr::IsFalse(operand) => known(*operand.clone(), not(*operand), false),
        Expr::IsNotTrue(operand) => known(*operand.clone(), not(*operand), true),
        Expr::IsUnknown(operand) => Ok(Transformed::yes(Expr::IsNull(operand))),
        Expr::IsNotUnknown(operand) => Ok(Transformed::yes(Expr::IsNotNull(operand))),
        other => Ok(Transformed::no(other)),
    }
}
