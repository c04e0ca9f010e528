//! Joins whose rows are mostly of a few keys: what belongs to such a hot key is spread over all partitions.
//!
//! Where both sides of a join are divided by its key, all rows of one key come together in one partition of one node, which then works
//! while the others wait. Here each side gets one more column, the salt, by which both are divided and joined, too ([`SaltExec`]): rows
//! of hot keys are *dealt* on the second side, each with another salt than the one before, and *copied* on the first side, once with
//! each of those salts. All other rows have the same one. What always holds:
//! - **The rows of the join are the same.** Each row of the second side meets each of its partners once: in the partition of its salt,
//!   where there is a copy of every row of its key. So only joins are split that give rows by what they find for each row of the second
//!   side alone, and nothing for rows of the first side (`candidates`).
//! - **Nothing above relies on where the rows are**, which is no longer said by the key alone (`candidates`).
//! - Which keys are hot is an estimate, from a sample of the table that the key comes from (`samples`, `trace`). A wrong one costs
//!   time and no more.
//! - To find out holds a query up by a limited time, once for the files that it reads.
//!
//! Not here: joins by several keys, and skew of the first side, which is the smaller one.

mod candidates;
mod hot;
mod rows;
mod salt;
mod samples;
mod split;
mod trace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use tokio::time::Instant;

use crate::joins::rows;
use candidates::{Candidate, address, candidates};
use hot::{Hot, MOST_HOT};
pub(crate) use salt::SaltExec;
pub(crate) use samples::Samples;
use split::split;

/// A join with fewer rows on its second side is done soon, however they are divided.
const FEW_ROWS: usize = 100_000;
/// Among fewer partitions, keys stay where they are: a table of keys that are whole numbers is found by their value alone, and one of keys
/// with salts by hashes, which takes several times as long for each row.
const FEW_WAYS: usize = 8;

/// The plan with the hot keys of its joins split among so many nodes, each of which sees what it saw before of the rest. `wait` is how
/// long it may take to look at the tables.
///
/// # Errors
/// What DataFusion says of a join that cannot be made; then the plan is to be taken as it was.
pub(crate) async fn split_hot_keys(
    plan: &Arc<dyn ExecutionPlan>,
    nodes: usize,
    samples: &Samples,
    task: &Arc<TaskContext>,
    wait: Duration,
) -> Result<Arc<dyn ExecutionPlan>> {
    let deadline = Instant::now() + wait;
    let mut chosen = HashMap::new();
    for candidate in candidates(plan) {
        let hot = hot_keys(&candidate, nodes, samples, task, deadline).await;
        if !hot.is_empty() {
            tracing::debug!(keys = hot.len(), "a join has hot keys");
            let hot = Hot::spread(hot, candidate.partitions.saturating_mul(nodes))?;
            chosen.insert(address(candidate.plan), Arc::new(hot));
        }
    }
    if chosen.is_empty() { Ok(Arc::clone(plan)) } else { with_splits(plan, &chosen) }
}

/// Whether a join is one that was split here: it is meant to run on all nodes.
pub(crate) fn is_split(join: &HashJoinExec) -> bool {
    join.right().children().first().is_some_and(|input| input.is::<SaltExec>())
}

/// The keys whose rows are worth to be spread.
async fn hot_keys(
    of: &Candidate<'_>,
    nodes: usize,
    samples: &Samples,
    task: &Arc<TaskContext>,
    deadline: Instant,
) -> Vec<ScalarValue> {
    let (build_rows, probe_rows) = (rows(of.join.left()), rows(of.join.right()));
    let few = of.partitions.saturating_mul(nodes) < FEW_WAYS;
    if few || probe_rows.is_some_and(|rows| rows < FEW_ROWS) {
        return Vec::new();
    }
    let Some(probe) = samples.of(of.probe, of.probe_key, task, deadline).await else { return Vec::new() };
    let ways = of.partitions.saturating_mul(nodes) as f64;
    let mut hot: Vec<(ScalarValue, f64)> = probe.above(0.5 / ways);
    if hot.is_empty() {
        return Vec::new();
    }
    // Rows that are copied more often than others are spread by it cost more than they spare.
    if let (Some(build_rows), Some(probe_rows), Some(build)) =
        (build_rows, probe_rows, samples.of(of.build, of.build_key, task, deadline).await)
    {
        let (build_rows, probe_rows) = (build_rows as f64, probe_rows as f64);
        let is_copied = |key: &ScalarValue| !key.is_null() || of.join.null_equality() == NullEquality::NullEqualsNull;
        hot.retain(|(key, share)| !is_copied(key) || build.share(key) * build_rows * ways <= share * probe_rows);
    }
    hot.truncate(MOST_HOT);
    hot.into_iter().map(|(key, _)| key).collect()
}

/// The plan with the joins at these addresses split.
fn with_splits(plan: &Arc<dyn ExecutionPlan>, chosen: &HashMap<usize, Arc<Hot>>) -> Result<Arc<dyn ExecutionPlan>> {
    let (mut changed, mut children) = (false, Vec::new());
    for child in plan.children() {
        let with = with_splits(child, chosen)?;
        changed |= !Arc::ptr_eq(child, &with);
        children.push(with);
    }
    let same = Arc::clone(plan);
    let plan_now = match changed {
        true => same.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?,
        false => same,
    };
    match (chosen.get(&address(plan)), plan_now.downcast_ref::<HashJoinExec>()) {
        (Some(hot), Some(join)) => split(join, hot),
        _ => Ok(plan_now),
    }
}
