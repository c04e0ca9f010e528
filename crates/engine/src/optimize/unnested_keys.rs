//! What was unique below an UNNEST is not above it.
//!
//! DataFusion keeps the keys of the rows that are unnested: `FROM t, generate_series(1, t.n)` was a semi join, which gives a row
//! of `t` once. <https://github.com/apache/datafusion/pull/24787> is the same, not merged yet.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{FunctionalDependencies, Result};
use datafusion::logical_expr::{LogicalPlan, Unnest};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rules of DataFusion that ask for keys.
pub(crate) const ASK_FOR_KEYS: [&str; 3] = ["eliminate_join", "replace_distinct_aggregate", "optimize_projections"];

/// One of these rules, to be run in its place: it finds no keys of UNNEST nor above it.
#[derive(Debug)]
pub(crate) struct WithoutUnnestedKeys(pub(crate) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for WithoutUnnestedKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // A rule that gets node after node asks for the keys below DISTINCT alone, which are new when the one below that has
        // become an aggregate.
        let asks = self.apply_order().is_none() || matches!(plan, LogicalPlan::Distinct(_));
        let plan = if asks && unnests(&plan)? { plan.transform_up_with_subqueries(forget)?.data } else { plan };
        self.0.rewrite(plan, config)
    }
}

fn unnests(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = matches!(node, LogicalPlan::Unnest(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
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
