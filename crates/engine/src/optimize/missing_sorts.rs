//! Sorts that DataFusion leaves out, and whose absence it refuses then.
//!
//! It brings a sort below a join and finds that it is not needed there, the column being a constant of the right side. But a
//! join forgets the constants of its right side (`EquivalenceClass::try_with_offset`), so that the check at the end saw no order:
//! `SELECT x.k FROM t JOIN (SELECT id, 5 AS k FROM u) AS x ON x.id = t.id ORDER BY x.k` was refused with "does not satisfy order
//! requirements". Unions and constants had faults of this kind too, which are mended
//! (<https://github.com/apache/datafusion/issues/17372>).
//!
//! What always holds: an operator that asks for an order gets it, and a plan in which every order is known stays as it is.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Sorts where an order is asked for and not known. To be run right before DataFusion's `SanityCheckPlan`, whose question it asks.
#[derive(Debug, Default)]
pub(crate) struct SortWhereOrderIsUnknown;

impl PhysicalOptimizerRule for SortWhereOrderIsUnknown {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let sorted = plan.transform_up(|plan| {
            let orders = missing_orders(plan.as_ref())?;
            if orders.iter().all(Option::is_none) {
                return Ok(Transformed::no(plan));
            }
            // A merge of so many rows needs no more of any of its inputs.
            let fetch = if plan.is::<SortPreservingMergeExec>() { plan.fetch() } else { None };
            let inputs = plan.children().into_iter().zip(orders).map(|(input, order)| match order {
                Some(order) => sorted_by(order, input, fetch),
                None => Arc::clone(input),
            });
            let inputs = inputs.collect();
            replace_children_if_necessary(plan, inputs).map(Transformed::yes)
        })?;
        Ok(sorted.data)
    }

    fn name(&self) -> &str {
        "sort_where_order_is_unknown"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Of each input, the order that an operator asks for, if it is not known to be there.
fn missing_orders(plan: &dyn ExecutionPlan) -> Result<Vec<Option<LexOrdering>>> {
    let asked = plan.children().into_iter().zip(plan.required_input_ordering());
    let missing = asked.map(|(input, order)| -> Result<Option<LexOrdering>> {
        let Some(order) = order.map(|order| order.into_single()) else { return Ok(None) };
        let known = input.equivalence_properties().ordering_satisfy_requirement(order.clone())?;
        Ok((!known).then(|| LexOrdering::from(order)))
    });
    missing.collect()
}

/// Each partition of an input, sorted.
fn sorted_by(order: LexOrdering, input: &Arc<dyn ExecutionPlan>, fetch: Option<usize>) -> Arc<dyn ExecutionPlan> {
    let sort = SortExec::new(order, Arc::clone(input)).with_preserve_partitioning(true);
    Arc::new(sort.with_fetch(fetch))
}
