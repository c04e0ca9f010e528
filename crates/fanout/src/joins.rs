//! Which joins send one side to every node.
//!
//! On one node a hash join builds one table of its first side, which all partitions of the other one share, as long as that side is not
//! very large (`CollectLeft`). `datafusion-distributed` then sends the side to every node, and every node builds the whole table. That is
//! right for a small side, beside which the other one need not be moved. A large one is better divided by the keys of the join, as the
//! other side is then, too: each row moves once, and is put into one table.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExprRef};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext, replace_children_if_necessary};

/// A side of fewer rows is sent to every node in any case.
const FEW_ROWS: usize = 100_000;

/// The plan with the large sides of joins divided, for so many nodes and so many partitions of each.
///
/// # Errors
/// What DataFusion says of a join that cannot be made; then the plan is to be taken as it was.
pub(crate) fn divide_large_sides(
    plan: Arc<dyn ExecutionPlan>,
    nodes: usize,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children = Vec::new();
    for child in plan.children() {
        children.push(divide_large_sides(Arc::clone(child), nodes, partitions)?);
    }
    // By the join as it was: what is divided below it now was not so when what stands above was made.
    let divides =
        plan.downcast_ref::<HashJoinExec>().is_some_and(|join| may_be_divided(join) && costs_less_divided(join, nodes));
    if children.is_empty() {
        return Ok(plan);
    }
    let plan = replace_children_if_necessary(plan, children)?;
    match plan.downcast_ref::<HashJoinExec>().filter(|_| divides) {
        Some(join) => divided_by_keys(join, partitions),
        None => Ok(plan),
    }
}

/// Whether the join gives the same rows when both sides are divided, to a plan that was made for it as it is. Joins that give rows of
/// the first side that have no partner are divided by the library.
fn may_be_divided(join: &HashJoinExec) -> bool {
    let gives_no_left = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    let is_column = |key: &PhysicalExprRef| key.is::<Column>();
    let properties = join.properties();
    let ways = properties.output_partitioning();
    // What stands above may rely on an order, or on where rows are, that the other side has and the join keeps.
    let relied_on = properties.output_ordering().is_some() || matches!(ways, Partitioning::Hash(..));
    join.mode == PartitionMode::CollectLeft
        && gives_no_left
        && !join.null_aware
        && !relied_on
        && ways.partition_count() > 1
        && join.on().iter().all(|(left, right)| is_column(left) && is_column(right))
}

/// Whether it costs less to divide both sides than to send the first to every node, where each puts it into a table.
fn costs_less_divided(join: &HashJoinExec, nodes: usize) -> bool {
    let (Some(build), Some(probe)) = (rows(join.left()), rows(join.right())) else { return false };
    tracing::debug!(build, probe, "sides of a join");
    build > FEW_ROWS && costs(build, probe, nodes).is_lt()
}

/// What a join costs divided, compared with what it costs where the first side is sent to every node. That a row is put into a table is
/// half of what it costs to move it: it is not written down, sent and read.
fn costs(build: usize, probe: usize, nodes: usize) -> Ordering {
    let (build, probe, nodes) = (build as u128, probe as u128, nodes as u128);
    let others = nodes.saturating_sub(1);
    // In halves of what it costs to move a row, times the nodes: of rows that are divided, one of so many stays where it is.
    let divided = 2 * others * (build + probe) + nodes * build;
    let sent = 2 * others * nodes * build + nodes * nodes * build;
    divided.cmp(&sent)
}

/// About how many rows a plan gives, where that is known.
pub(crate) fn rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().copied()
}

fn divided_by_keys(join: &HashJoinExec, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let (left, right): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    // What gathered the side is of no use now, unless it cuts it off.
    let collected = join.left().downcast_ref::<CoalescePartitionsExec>().filter(|gathers| gathers.fetch().is_none());
    let build = collected.map_or(join.left(), CoalescePartitionsExec::input);
    let by = |side: &Arc<dyn ExecutionPlan>, keys| {
        RepartitionExec::try_new(Arc::clone(side), Partitioning::Hash(keys, partitions))
    };
    let sides: Vec<Arc<dyn ExecutionPlan>> = vec![Arc::new(by(build, left)?), Arc::new(by(join.right(), right)?)];
    // Without what the one side would tell the scans of the other: they are in other stages now, and hear of it otherwise.
    let divided =
        join.builder().reset_state().with_partition_mode(PartitionMode::Partitioned).with_new_children(sides)?;
    divided.build_exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_three_nodes_a_side_is_divided_from_two_sevenths_of_the_other_on() {
        assert_eq!(costs(200_000, 700_000, 3), Ordering::Equal);
        assert_eq!(costs(200_001, 700_000, 3), Ordering::Less);
        assert_eq!(costs(199_999, 700_000, 3), Ordering::Greater);
    }

    #[test]
    fn the_more_nodes_there_are_the_smaller_it_may_be() {
        assert_eq!(costs(150_000, 500_000, 2), Ordering::Greater);
        assert_eq!(costs(150_000, 500_000, 3), Ordering::Less);
        assert_eq!(costs(usize::MAX, usize::MAX, 1_000), Ordering::Less);
    }
}
