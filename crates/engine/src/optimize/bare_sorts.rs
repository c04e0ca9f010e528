//! Sorts of rows without columns, as of `array_agg(1 ORDER BY random())` over a table.
//!
//! DataFusion's sort loses count of such rows (`must either specify a row count or at least one column`). They are all the same, so they
//! are in order as they come.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Leaves such sorts out. To be run when nothing asks for an order any more.
#[derive(Debug, Default)]
pub(crate) struct WithoutBareSorts;

impl PhysicalOptimizerRule for WithoutBareSorts {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let without = plan.transform_up(|node| match sorted(&node) {
            Some((input, gathers)) if input.schema().fields().is_empty() => {
                Ok(Transformed::yes(unsorted(Arc::clone(input), gathers, node.fetch())))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(without.data)
    }

    fn name(&self) -> &str {
        "without_bare_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What an operator sorts, and whether it makes one partition of several; none if it is no sort.
fn sorted(node: &Arc<dyn ExecutionPlan>) -> Option<(&Arc<dyn ExecutionPlan>, bool)> {
    if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
        return Some((merge.input(), true));
    }
    let sort = node.downcast_ref::<SortExec>()?;
    Some((sort.input(), !sort.preserve_partitioning()))
}

/// As many rows as the sort would give, in as many partitions.
fn unsorted(input: Arc<dyn ExecutionPlan>, gathers: bool, fetch: Option<usize>) -> Arc<dyn ExecutionPlan> {
    let several = input.output_partitioning().partition_count() > 1;
    match (gathers, fetch) {
        (false, None) => input,
        (false, Some(rows)) => Arc::new(LocalLimitExec::new(input, rows)),
        (true, fetch) => {
            let rows = if several { Arc::new(CoalescePartitionsExec::new(input)) } else { input };
            if fetch.is_some() { Arc::new(GlobalLimitExec::new(rows, 0, fetch)) } else { rows }
        }
    }
}
