//! Filters stay above an aggregate that has a row when its input has none.
//!
//! DataFusion pushes a condition below an aggregate when all columns it refers to are keys of its groups, which a condition
//! without columns does in any case: `FROM (SELECT count(*) AS n, 1 AS k FROM t) WHERE k = 2` became a count of no rows, 0,
//! where PostgreSQL has no row. Its physical rule knows better; the logical one does not. Nothing else can be pushed below
//! an aggregate without keys, or with sets of them, so that nothing is lost.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// DataFusion's [`PushDownFilter`], to be run in its place.
#[derive(Debug, Default)]
pub(crate) struct PushDownFiltersToKeys(PushDownFilter);

impl OptimizerRule for PushDownFiltersToKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if filters_a_row_of_nothing(&plan) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Is this a filter, or several, right above an aggregate that has a row for no input?
fn filters_a_row_of_nothing(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match filter.input.as_ref() {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => {
            group_expr.is_empty() || group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
        }
        below => filters_a_row_of_nothing(below),
    }
}
