//! Where filters have to travel: found in the plan for one node, and once more when it has been divided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, replace_children_if_necessary,
};
use datafusion_distributed::NetworkBoundaryExt;

use super::exchange::Awaited;
use super::gather::{GatherKeysExec, Gathered};
use super::keys::{MOST_KEYS, can_be_told};
use crate::joins::rows;

/// The filters whose keys are gathered, by their ids, with the columns that each is over.
pub(crate) type Planted = BTreeMap<u64, Vec<(String, usize)>>;

/// The plan with the keys of joins gathered for which a scan has a filter.
///
/// # Errors
/// What DataFusion says of operators that cannot be made anew.
pub(crate) fn plant(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    // Of a union, each task runs some inputs: nobody knows which of them will tell.
    if plan.is::<UnionExec>() {
        return Ok(plan);
    }
    let mut children: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    for child in plan.children() {
        children.push(plant(Arc::clone(child))?);
    }
    if children.is_empty() {
        return Ok(plan);
    }
    if let Some(gathered) = gathered(&plan) {
        children[0] = gathering(&children[0], &Arc::new(gathered))?;
    }
    replace_children_if_necessary(plan, children)
}

fn recompute() -> ReplaceChildrenOptions {
    ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)
}

/// What a join's filter is made of, if it can be told to others.
fn gathered(plan: &Arc<dyn ExecutionPlan>) -> Option<Gathered> {
    let join = plan.downcast_ref::<HashJoinExec>()?;
    let filter = join.dynamic_expressions_produced().first()?.expression_id()?;
    if join.null_equality() != NullEquality::NullEqualsNothing {
        return None;
    }
    let mut wanted = BTreeSet::new();
    filters_of_scans(join.right(), &mut |found| wanted.extend(found.expression_id()));
    if !wanted.contains(&filter) || leaves_nothing_out(join.left()) {
        return None;
    }
    let (mut keys, mut probe) = (Vec::new(), Vec::new());
    for (left, right) in join.on() {
        let (left, right) = (left.downcast_ref::<Column>()?, right.downcast_ref::<Column>()?);
        let of = |side: &Arc<dyn ExecutionPlan>, column: &Column| {
            Some(side.schema().fields().get(column.index())?.data_type().clone())
        };
        let data_type = of(join.left(), left)?;
        if !can_be_told(&data_type) || of(join.right(), right)? != data_type {
            return None;
        }
        keys.push(left.index());
        probe.push((right.name().to_owned(), right.index()));
    }
    Some(Gathered { filter, keys, probe })
}

/// Whether a side is a whole table of so many rows that only the least and the greatest key would be told, unless keys come again and
/// again: hardly a row of the other side is beyond these.
fn leaves_nothing_out(side: &Arc<dyn ExecutionPlan>) -> bool {
    let mut whole = true;
    // The closure cannot fail.
    let _ = side.apply(|node| {
        let passes_on = node.is::<ProjectionExec>()
            || node.is::<CooperativeExec>()
            || node.is::<GatherKeysExec>()
            || node.is::<RepartitionExec>()
            || node.is::<CoalescePartitionsExec>();
        whole &= node.fetch().is_none() && (passes_on || wharf_lake::is_scan(node));
        Ok(if whole { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    filters_of_scans(side, &mut |_| whole = false);
    whole && rows(side).is_some_and(|rows| rows > MOST_KEYS)
}

/// The side with its keys gathered, before they are sent anywhere.
fn gathering(side: &Arc<dyn ExecutionPlan>, gathered: &Arc<Gathered>) -> Result<Arc<dyn ExecutionPlan>> {
    let over = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        Arc::new(GatherKeysExec::new(Arc::clone(input), Arc::clone(gathered)))
    };
    // Not where rows are cut off: what is not asked for its last row never tells.
    let gathers = side.downcast_ref::<CoalescePartitionsExec>().is_some_and(|gathers| gathers.fetch().is_none());
    if gathers || side.is::<RepartitionExec>() {
        let inputs = side.children().into_iter().map(over).collect();
        return Arc::clone(side).replace_children(inputs, recompute());
    }
    Ok(over(side))
}

/// Shows the dynamic filters of the scans of a plan to somebody.
pub(crate) fn filters_of_scans(plan: &Arc<dyn ExecutionPlan>, found: &mut dyn FnMut(&Arc<dyn PhysicalExpr>)) {
    // The closures cannot fail.
    let _ = plan.apply(|node| {
        if node.children().is_empty() {
            let _ = node.apply_expressions(&mut |root| {
                root.apply(|expr| {
                    if expr.is::<DynamicFilterPhysicalExpr>() {
                        found(expr);
                        return Ok(TreeNodeRecursion::Jump);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// The filters of joins that one stage, whose top is `head`, gets from others.
pub(crate) fn awaited(head: &Arc<dyn ExecutionPlan>, planted: &Planted) -> Vec<Awaited> {
    let (mut made_here, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    // The closure cannot fail.
    let _ = head.apply(|node| {
        made_here.extend(node.dynamic_expressions_produced().iter().filter_map(|made| made.expression_id()));
        if node.children().is_empty() {
            filters_of_scans(node, &mut |found| wanted.extend(found.expression_id()));
        }
        // What is below it is of another stage.
        Ok(if node.is_network_boundary() { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
    });
    let elsewhere = wanted.difference(&made_here);
    elsewhere.filter_map(|id| Some(Awaited { filter: *id, keys: planted.get(id)?.clone() })).collect()
}

/// The filters that are planted in a plan.
pub(crate) fn planted(plan: &Arc<dyn ExecutionPlan>) -> Planted {
    let mut planted = Planted::new();
    // The closure cannot fail.
    let _ = plan.apply(|node| {
        if let Some(gather) = node.downcast_ref::<GatherKeysExec>() {
            let gathered = gather.gathered();
            planted.insert(gathered.filter, gathered.probe.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    planted
}

/// A divided plan that gathers no keys but those of these filters.
///
/// # Errors
/// What DataFusion says of operators that cannot be made anew.
pub(crate) fn settle(plan: Arc<dyn ExecutionPlan>, of_use: &BTreeSet<u64>) -> Result<Arc<dyn ExecutionPlan>> {
    let settled = plan.transform_up(|node| match node.downcast_ref::<GatherKeysExec>() {
        Some(gather) if !of_use.contains(&gather.gathered().filter) => Ok(Transformed::yes(Arc::clone(gather.input()))),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(settled.data)
}
