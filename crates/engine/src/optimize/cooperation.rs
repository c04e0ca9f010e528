//! Queries that let go of their thread, so that they can be cancelled, time out, and leave others their turn.
//!
//! DataFusion makes the leaves of a plan give their thread back after some batches. A join, and whatever else makes many rows out
//! of one, can go on for hours with a single batch of a leaf, and until it ends nothing else runs on that thread: no timer, no
//! socket. So such operators count their own batches too.
//!
//! What always holds: between two points at which a query lets go there are a limited number of batches.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

/// Wraps the operators that multiply rows. To be run last: rules that look for joins see them without a wrapper.
#[derive(Debug, Default)]
pub(crate) struct LetGoWhileMultiplying;

impl PhysicalOptimizerRule for LetGoWhileMultiplying {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            if !multiplies(plan.as_ref()) {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(wrapped.data)
    }

    fn name(&self) -> &str {
        "let_go_while_multiplying"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Can an operator make many rows out of one?
fn multiplies(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<CrossJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<UnnestExec>()
}
