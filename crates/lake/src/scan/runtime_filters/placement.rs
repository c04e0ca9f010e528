//! Which scans hold their rows against the filters of joins.
//!
//! Right above a scan the join itself drops a row about as fast as its filter would, so that asking the filter first is work done
//! twice. Where other joins, an aggregation, a sort or a window stand between, the row would go through those first.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use datafusion_datasource::source::DataSourceExec;

use crate::scan::source::LakeSource;

/// Switches row filters on for the scans that gain by them. To be run after DataFusion has pushed dynamic filters down.
#[derive(Debug, Default)]
pub struct PlaceRuntimeFilters {
    elsewhere: Vec<u64>,
}

impl PlaceRuntimeFilters {
    /// For a part of a plan: the scans that have one of these filters, by their ids, too, which joins of other parts make.
    pub fn and(elsewhere: Vec<u64>) -> PlaceRuntimeFilters {
        PlaceRuntimeFilters { elsewhere }
    }
}

impl PhysicalOptimizerRule for PlaceRuntimeFilters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let elsewhere: Vec<Made> = self.elsewhere.iter().map(|id| Made { id: *id, far: true }).collect();
        place(plan, &elsewhere)
    }

    fn name(&self) -> &str {
        "place_runtime_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A filter that somebody above makes.
#[derive(Clone, Copy)]
struct Made {
    id: u64,
    /// Is there something between that costs?
    far: bool,
}

fn place(plan: Arc<dyn ExecutionPlan>, above: &[Made]) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        let Some((config, source)) = scan.downcast_to_file_source::<LakeSource>() else { return Ok(plan) };
        let far = |id| above.iter().any(|made| made.far && made.id == id);
        let Some(source) = source.with_row_filters(far) else { return Ok(plan) };
        let config = FileScanConfigBuilder::from(config.clone()).with_source(source).build();
        return Ok(Arc::new(scan.clone().with_data_source(Arc::new(config))));
    }
    let passes_on = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>();
    let made = plan.dynamic_expressions_produced();
    let made = made.iter().filter_map(|filter| filter.expression_id()).map(|id| Made { id, far: false });
    let passed = above.iter().map(|above| Made { far: above.far || !passes_on, ..*above });
    let below: Vec<Made> = passed.chain(made).collect();
    let children = plan.children().into_iter().map(|child| place(Arc::clone(child), &below));
    let children = children.collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(plan, children)
}
