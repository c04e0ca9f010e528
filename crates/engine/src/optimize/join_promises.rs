//! What joins promise of their rows and do not keep.
//!
//! DataFusion leaves out a sort by what is constant, or in order already. A join says so of its rows when its inputs say so of
//! theirs, which is too much in two cases, and rows came back in the wrong order, or a window function counted them in it:
//!
//! - A constant of the side that an outer join fills up with NULLs is none any more: `t LEFT JOIN u ON u.id = t.id AND u.k = 5
//!   ORDER BY u.k`. It is kept of a literal and of what a filter compares with one, on either side, and of every other constant
//!   on the left side.
//! - A hash join leaves the rows of its right side in their order, and claims that those with equal keys there are in the order of
//!   the left side, even if several right rows meet the same left ones (<https://github.com/apache/datafusion/issues/25052>).
//!
//! An input that is united with no rows promises nothing: what holds of a union holds of all its inputs.
//!
//! What always holds: of columns that an outer join may fill up with NULLs nothing is known to be constant, and a hash join is in
//! the order of its right side at most.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Hides from joins what they would promise and not keep. To be run when the sides of joins are chosen, and before sorts that are
/// not needed are left out.
#[derive(Debug, Default)]
pub(crate) struct WithoutFalsePromises;

impl PhysicalOptimizerRule for WithoutFalsePromises {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let kept = plan.transform_up(|plan| {
            let hidden = hidden_sides(plan.as_ref())?;
            if hidden == [false, false] {
                return Ok(Transformed::no(plan));
            }
            let sides = plan.children().into_iter().zip(hidden);
            let sides = sides.map(|(side, hidden)| if hidden { without_promises(side) } else { Ok(Arc::clone(side)) });
            let sides = sides.collect::<Result<Vec<_>>>()?;
            replace_children_if_necessary(plan, sides).map(Transformed::yes)
        })?;
        Ok(kept.data)
    }

    fn name(&self) -> &str {
        "without_false_promises"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Of which sides, left and right, a join must not know what they promise.
fn hidden_sides(plan: &dyn ExecutionPlan) -> Result<[bool; 2]> {
    let children = plan.children();
    let (Some(join), [left, right]) = (join_type(plan), children.as_slice()) else { return Ok([false, false]) };
    let fills_left = matches!(join, JoinType::Right | JoinType::Full);
    let fills_right = matches!(join, JoinType::Left | JoinType::Full);
    let appends_order = plan.is::<HashJoinExec>() && matches!(join, JoinType::Inner | JoinType::Right);
    let left = (fills_left && has_constants(left)) || (appends_order && has_order(left)?);
    Ok([left, fills_right && has_constants(right)])
}

fn join_type(plan: &dyn ExecutionPlan) -> Option<JoinType> {
    let by_hash = plan.downcast_ref::<HashJoinExec>().map(|join| *join.join_type());
    by_hash.or_else(|| plan.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type()))
}

fn has_constants(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !plan.equivalence_properties().constants().is_empty()
}

/// Is anything in order in a plan, or will it be? The sorts that windows ask for come later.
fn has_order(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    plan.exists(|plan| {
        let asks_for_order = || plan.required_input_ordering().iter().any(Option::is_some);
        Ok(plan.output_ordering().is_some() || asks_for_order())
    })
}

fn without_promises(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let nothing: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(plan.schema()));
    UnionExec::try_new(vec![Arc::clone(plan), nothing])
}
