//! From which column of which table a column of a plan comes.

use std::sync::Arc;

use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// The scan that a column of a plan comes from as it is, and which of the scan's columns it is; none when it is computed, or comes from
/// something that has other rows than the table, such as groups.
pub(super) fn traced(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<(&Arc<dyn ExecutionPlan>, usize)> {
    if wharf_lake::is_scan(plan) {
        return Some((plan, column));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return traced(filter.input(), projected(filter.projection().as_deref(), column)?);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let expr = &projection.expr().get(column)?.expr;
        return traced(projection.input(), expr.downcast_ref::<Column>()?.index());
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return traced_through(join, projected(join.projection.as_deref(), column)?);
    }
    let passes = plan.is::<RepartitionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortExec>();
    let children = plan.children();
    match children.as_slice() {
        [input] if passes => traced(input, column),
        _ => None,
    }
}

/// A join repeats and leaves out rows of a side, which is still the best that is known of it.
fn traced_through(join: &HashJoinExec, column: usize) -> Option<(&Arc<dyn ExecutionPlan>, usize)> {
    let columns = |side: &Arc<dyn ExecutionPlan>| side.schema().fields().len();
    let (left, right) = (columns(join.left()), columns(join.right()));
    match join.join_type() {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => match column.checked_sub(left) {
            Some(column) => traced(join.right(), column),
            None => traced(join.left(), column),
        },
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark if column < left => traced(join.left(), column),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark if column < right => {
            traced(join.right(), column)
        }
        // Whether there is a partner.
        _ => None,
    }
}

fn projected(projection: Option<&[usize]>, column: usize) -> Option<usize> {
    match projection {
        Some(projection) => projection.get(column).copied(),
        None => Some(column),
    }
}
