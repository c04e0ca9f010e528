//! What was unique below an UNNEST is not above it.
//!
//! DataFusion keeps the keys of the rows that are unnested: `FROM t, generate_series(1, t.n)` was a semi join, which gives a row
//! of `t` once. <https://github.com/apache/datafusion/pull/24787> is the same, not merged yet.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{FunctionalDependencies, Result};
use datafusion::logical_expr::{LogicalPlan, Unnest};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Takes the keys from UNNEST and from what is above it; to be run before each rule of DataFusion that asks for keys.
#[derive(Debug, Default)]
pub(crate) struct ForgetUnnestedKeys;

/// The rules of DataFusion that ask for keys.
pub(crate) const ASK_FOR_KEYS: [&str; 3] = ["eliminate_join", "replace_distinct_aggregate", "optimize_projections"];

impl OptimizerRule for ForgetUnnestedKeys {
    fn name(&self) -> &str {
        "forget_unnested_keys"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut unnests = false;
        plan.apply_with_subqueries(|node| {
            unnests |= matches!(node, LogicalPlan::Unnest(_));
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        if !unnests {
            return Ok(Transformed::no(plan));
        }
        // That keys are forgotten is no reason for another pass.
        let forgotten = plan.transform_up_with_subqueries(forget)?;
        Ok(Transformed::no(forgotten.data))
    }
}

/// A node without the keys that its inputs have no more.
fn forget(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Unnest(unnest) => {
            let schema = unnest.schema.as_ref().clone();
            let schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
            Ok(Transformed::yes(LogicalPlan::Unnest(Unnest { schema, ..unnest })))
        }
        // These have the keys of their inputs.
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_) => {
            if plan.schema().functional_dependencies().is_empty() {
                return Ok(Transformed::no(plan));
            }
            plan.recompute_schema().map(Transformed::yes)
        }
        plan => Ok(Transformed::no(plan)),
    }
}
