//! The engine's own rules beside DataFusion's, each for something that the plans of PostgreSQL's SQL need.

mod bare_sorts;
mod cast_nullability;
mod conjunction;
mod cooperation;
mod counted_scans;
mod date_comparisons;
mod filter_estimates;
mod filters_over_aggregates;
mod join_promises;
mod keys;
mod missing_sorts;
mod order;
mod smaller_side;
mod truth_tests;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use wharf_lake::PlaceRuntimeFilters;
use wharf_values::SqlError;

use crate::error::from_datafusion;

use bare_sorts::WithoutBareSorts;
use cast_nullability::CastsAreNullLikeTheirOperands;
use conjunction::NarrowFilters;
use cooperation::LetGoWhileMultiplying;
use counted_scans::CountScansByMetadata;
use date_comparisons::CompareDatesAsDates;
use filter_estimates::EstimateFilters;
use filters_over_aggregates::PushDownFiltersToKeys;
use join_promises::WithoutFalsePromises;
use keys::{ASK_FOR_KEYS, WithoutFalseKeys};
use missing_sorts::SortWhereOrderIsUnknown;
use order::in_order_of_making;
use smaller_side::BuildOfFewerRows;
use truth_tests::TruthTestsAreNeverNull;

/// The rule of DataFusion that chooses the sides of joins.
const JOIN_SELECTION: &str = "join_selection";
/// The rule of DataFusion that answers aggregates from statistics.
const AGGREGATE_STATISTICS: &str = "aggregate_statistics";
/// The rule of DataFusion that places sorts and repartitioning where they are needed.
const ENSURE_REQUIREMENTS: &str = "EnsureRequirements";
/// The rule of DataFusion that refuses plans in which an operator does not get what it asks for.
const SANITY_CHECK: &str = "SanityCheckPlan";

/// The rule of DataFusion that brings conditions to where their columns come from.
const PUSH_DOWN_FILTER: &str = "push_down_filter";

/// DataFusion's rules and the engine's, in the order in which they must run.
pub(crate) fn with_rules(state: SessionStateBuilder) -> SessionStateBuilder {
    let mut logical: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in Optimizer::new().rules {
        logical.push(match rule.name() {
            PUSH_DOWN_FILTER => Arc::new(PushDownFiltersToKeys::default()),
            name if ASK_FOR_KEYS.contains(&name) => Arc::new(WithoutFalseKeys(rule)),
            _ => rule,
        });
    }
    let own: [Arc<dyn OptimizerRule + Send + Sync>; 3] =
        [Arc::new(CompareDatesAsDates), Arc::new(TruthTestsAreNeverNull), Arc::new(CastsAreNullLikeTheirOperands)];
    logical.extend(own);
    let mut physical = PhysicalOptimizer::new().rules;
    for rule in physical.iter_mut().filter(|rule| rule.name() == AGGREGATE_STATISTICS) {
        *rule = Arc::new(CountScansByMetadata);
    }
    let before: [(&str, Arc<dyn PhysicalOptimizerRule + Send + Sync>); 4] = [
        (JOIN_SELECTION, Arc::new(EstimateFilters)),
        (ENSURE_REQUIREMENTS, Arc::new(BuildOfFewerRows)),
        (ENSURE_REQUIREMENTS, Arc::new(WithoutFalsePromises)),
        (SANITY_CHECK, Arc::new(SortWhereOrderIsUnknown)),
    ];
    for (next, rule) in before {
        let place = physical.iter().position(|rule| rule.name() == next).unwrap_or_default();
        physical.insert(place, rule);
    }
    let last: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 4] = [
        Arc::new(WithoutBareSorts),
        Arc::new(PlaceRuntimeFilters::default()),
        Arc::new(NarrowFilters),
        Arc::new(LetGoWhileMultiplying),
    ];
    physical.extend(last);
    state.with_optimizer_rules(logical).with_physical_optimizer_rules(physical)
}

/// A part of a plan that another node has sent, with what is made of conditions last and does not travel.
///
/// # Errors
/// What DataFusion says of a filter that cannot be made anew.
pub(crate) fn finished(
    part: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    NarrowFilters.optimize(part, options)
}

/// What a typed plan is run by.
///
/// # Errors
/// What an optimizer or the planner says.
pub(crate) async fn physical_plan(
    plan: &LogicalPlan,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    physical_plan_of(&state.optimize(plan).map_err(from_datafusion)?, state).await
}

/// The same for a plan that has been optimized.
///
/// # Errors
/// What a rule or the planner says.
pub(crate) async fn physical_plan_of(
    optimized: &LogicalPlan,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    let physical = state.query_planner().create_physical_plan(optimized, state).await;
    physical.and_then(in_order_of_making).map_err(from_datafusion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_datafusion_are_called_so() {
        for name in [JOIN_SELECTION, AGGREGATE_STATISTICS, ENSURE_REQUIREMENTS, SANITY_CHECK] {
            assert!(PhysicalOptimizer::new().rules.iter().any(|rule| rule.name() == name), "{name}");
        }
        for name in ASK_FOR_KEYS.into_iter().chain([PUSH_DOWN_FILTER]) {
            assert!(Optimizer::new().rules.iter().any(|rule| rule.name() == name), "{name}");
        }
    }
}
