//! Joins that build their table of the larger side, though both sides are known.
//!
//! DataFusion goes by the bytes of both sides where it estimates them. Of a semi-join those are as many as if it left all rows, though the
//! rows are estimated: so a side of few rows lost against one of many, and all that the join's filter could spare the scans of the many
//! with it.
//!
//! What always holds: sides are exchanged only where one is estimated at many times the rows of the other, and never where the join means
//! something else then.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

/// How many times the rows of the other a side has that is built of for no good reason.
const TIMES: usize = 8;

/// Has joins build their tables of the side with far fewer rows. To be run when DataFusion has chosen, and before anything relies on it.
#[derive(Debug, Default)]
pub(crate) struct BuildOfFewerRows;

impl PhysicalOptimizerRule for BuildOfFewerRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !config.optimizer.join_reordering {
            return Ok(plan);
        }
        let exchanged = plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) if builds_of_more(join) => Ok(Transformed::yes(join.swap_inputs(PartitionMode::CollectLeft)?)),
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(exchanged.data)
    }

    fn name(&self) -> &str {
        "build_of_fewer_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn builds_of_more(join: &HashJoinExec) -> bool {
    if join.mode != PartitionMode::CollectLeft || join.null_aware || !join.join_type().supports_swap() {
        return false;
    }
    let (Some(build), Some(probe)) = (rows(join.left()), rows(join.right())) else { return false };
    build > probe.saturating_mul(TIMES)
}

fn rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().copied()
}
