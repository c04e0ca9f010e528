//! Aggregates that the metadata of a table answers, without its rows being read.
//!
//! DataFusion's rule believes every statistic that says it is exact, whatever operators it came through. It may not: a projection
//! says that a constant column has an exact sum, and joins, filters and unnesting pass such a column's statistics on as they
//! are, although they leave rows out and double others. `sum(x.c)` above a join was answered with the sum below it. Likewise
//! a constant has one distinct value even where there is no row. (Of joins, <https://github.com/apache/datafusion/issues/22761>
//! knows; semi and anti joins were mended by <https://github.com/apache/datafusion/pull/22762>.)
//!
//! What always holds: statistics answer an aggregate only if it is over all rows of a scan, and of columns of that scan. What
//! the scan promises of them is its own matter.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::aggregate_statistics::AggregateStatistics;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

/// Answers aggregates over a scan from its statistics. To be run in the place of DataFusion's [`AggregateStatistics`].
#[derive(Debug, Default)]
pub(crate) struct CountScansByMetadata;

impl PhysicalOptimizerRule for CountScansByMetadata {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let answered = plan.transform_down(|plan| {
            if !plan.downcast_ref::<AggregateExec>().is_some_and(is_over_a_scan) {
                return Ok(Transformed::no(plan));
            }
            // Below there is nothing but the scan.
            let answered = AggregateStatistics::new().optimize(plan, config)?;
            Ok(Transformed::new(answered, true, TreeNodeRecursion::Jump))
        })?;
        Ok(answered.data)
    }

    fn name(&self) -> &str {
        "count_scans_by_metadata"
    }

    /// A value is declared not null where the aggregate could have been.
    fn schema_check(&self) -> bool {
        false
    }
}

/// Does an aggregate, in one step or in several, take every row of a scan once, as it is?
fn is_over_a_scan(aggregate: &AggregateExec) -> bool {
    let mut input = aggregate.input();
    if aggregate.mode().input_mode() == AggregateInputMode::Partial {
        while let Some(partitions) = input.downcast_ref::<CoalescePartitionsExec>() {
            input = partitions.input();
        }
        return input.downcast_ref::<AggregateExec>().is_some_and(is_over_a_scan);
    }
    is_scan(input)
}

/// Are the rows all those of a scan, and their columns its columns?
fn is_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection.expr().iter().all(|column| column.expr.is::<Column>()) && is_scan(projection.input());
    }
    if let Some(partitions) = plan.downcast_ref::<CoalescePartitionsExec>() {
        return partitions.fetch().is_none() && is_scan(partitions.input());
    }
    if let Some(partitions) = plan.downcast_ref::<RepartitionExec>() {
        return is_scan(partitions.input());
    }
    plan.is::<DataSourceExec>() && plan.fetch().is_none()
}
