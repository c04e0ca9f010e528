//! Rows in the order in which they are made.
//!
//! SQL promises no order without ORDER BY, but who reads `generate_series(1, 100000)` or an array's `unnest` expects theirs, which
//! PostgreSQL gives. DataFusion deals the batches of such a source out to all threads when something is computed from them, and
//! takes them back as they come.
//!
//! What always holds: only plans that make their rows themselves, one after the other, are changed; those that read tables are
//! divided as ever.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// The plan of a query that gives made rows in the order in which they are made.
pub(crate) fn in_order_of_making(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !makes_rows_in_order(&plan) {
        return Ok(plan);
    }
    let kept = plan.transform_down(|plan| match plan.downcast_ref::<RepartitionExec>() {
        Some(dealt) => Ok(Transformed::yes(Arc::clone(dealt.input()))),
        None => Ok(Transformed::no(plan)),
    })?;
    Ok(kept.data)
}

/// One source that makes rows, and above it nothing that brings them into another order but dealing them out.
fn makes_rows_in_order(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.children().as_slice() {
        [] => makes_rows(plan.as_ref()),
        [child] => leaves_order(plan.as_ref()) && makes_rows_in_order(child),
        _ => false,
    }
}

fn makes_rows(plan: &dyn ExecutionPlan) -> bool {
    let in_memory =
        || plan.downcast_ref::<DataSourceExec>().is_some_and(|source| source.data_source().is::<MemorySourceConfig>());
    let made = plan.is::<LazyMemoryExec>() || plan.is::<PlaceholderRowExec>() || in_memory();
    made && plan.properties().partitioning.partition_count() == 1
}

fn leaves_order(plan: &dyn ExecutionPlan) -> bool {
    let is_dealt = |plan: &RepartitionExec| matches!(plan.partitioning(), Partitioning::RoundRobinBatch(_));
    plan.downcast_ref::<RepartitionExec>().is_some_and(is_dealt)
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<UnnestExec>()
        || plan.maintains_input_order() == [true]
}
