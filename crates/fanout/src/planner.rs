//! From a plan for one node to one for several.
//!
//! `datafusion-distributed` cuts a plan where rows are divided or gathered anyway; before, sides of joins that are sent to every node become
//! [divided](crate::joins), and the rows of hot keys [spread](crate::skew). Three things are decided here:
//! - How many nodes read a table, and which reads what ([`routing`](crate::routing)).
//! - Which operators need all rows of their input in one place. The library assumes that rows are gathered by an operator of their own
//!   where that is so; a plan over an input that has one partition by nature has no such operator.
//! - What becomes of uncorrelated scalar subqueries. The library would have them planned as joins, which take a subquery of several rows
//!   for an answer. Here they stay what they are: each is a query of its own, divided or not, computed before the rest begins,
//!   and a constant in what other nodes get.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::ipc::CompressionType;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::physical_expr::Distribution;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use datafusion_distributed::{
    BroadcastExec, DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExec, DistributedExt,
    DistributedLeafExec, NetworkBoundaryExt, RouteTasksEvent, RouteTasksEventResponse, ScaleUpLeafNodeEvent,
    ScaleUpLeafNodeEventResponse, SessionStateBuilderExt, WorkerResolver,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use url::{Host, Url};
use uuid::Uuid;

use crate::eligible::{Distribute, Wanted, bytes_to_read, most_to_read, obstacle};
use crate::fanout::Fanout;
use crate::filters::{self, Exchange};
use crate::joins::divide_large_sides;
use crate::losses::Losses;
use crate::routing;
use crate::skew::{is_split, split_hot_keys};
use crate::task::TaskExec;
use crate::vocabulary::Vocabulary;
use crate::worker;

/// What one node reads of a table at least, where it is not forced to take part.
const BYTES_PER_NODE: u64 = 64 << 20;

/// In the extensions of a session's configuration: the nodes a query is divided among.
#[derive(Debug)]
struct Team {
    nodes: Vec<Url>,
    /// Where a query is divided whatever it reads: from how many bytes on a scan is divided among all nodes; others are divided as far as they
    /// have parts.
    forced_from: Option<u64>,
}

impl Team {
    /// How many of the nodes take part in a scan of a table.
    fn readers(&self, scan: &Arc<dyn ExecutionPlan>) -> usize {
        let (all, bytes) = (self.nodes.len(), bytes_to_read(scan));
        let wanted = match self.forced_from {
            Some(most) if bytes >= most => all,
            // Who has nothing to read is no help.
            Some(_) => wharf_lake::parts_read(scan).unwrap_or(1),
            None => usize::try_from(bytes.div_ceil(BYTES_PER_NODE)).unwrap_or(all),
        };
        wanted.clamp(1, all)
    }
}

/// The session in which a plan is divided and run.
///
/// # Errors
/// A configuration that is not of a session of ours.
pub(crate) fn session(
    fanout: &Fanout,
    plan: &Arc<dyn ExecutionPlan>,
    task: &TaskContext,
    wanted: &Wanted,
    nodes: &[Url],
) -> Result<SessionState> {
    let mut config = task.session_config().clone();
    let exchange = Uuid::new_v4();
    let headers = worker::headers(&config, wanted, fanout.codec().vocabulary().as_ref(), exchange, nodes)?;
    let exchange = Exchange::new(exchange, nodes.to_vec(), fanout.channels(), Arc::clone(fanout.filters()));
    config.set_extension(Arc::new(exchange));
    let forced_from = (wanted.distribute == Distribute::On).then(|| most_to_read(plan));
    config.set_extension(Arc::new(Team { nodes: nodes.to_vec(), forced_from }));
    config.set_extension(Arc::new(Losses::default()));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(task.runtime_env())
        .with_query_planner(Arc::new(Made(Arc::clone(plan))))
        .with_distributed_worker_resolver(Nodes(nodes.to_vec()))
        .with_distributed_channel_resolver(fanout.channels())
        .with_distributed_user_codec_arc(Arc::clone(fanout.codec()) as _)
        .with_distributed_passthrough_headers(headers)?
        .with_distributed_metrics_collection(wanted.measured)?
        .with_distributed_compression(compression(nodes))?
        .with_distributed_desired_task_count_handler(nodes_wanted)
        .with_distributed_scale_up_leaf_node_handler(deal)
        .with_distributed_route_tasks_handler(route)
        .with_distributed_planner()
        .build();
    Ok(state)
}

/// How rows are packed on their way: not at all between nodes of one machine, where bytes cost less than packing them.
fn compression(nodes: &[Url]) -> Option<CompressionType> {
    let loopback = |node: &Url| match node.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    (!nodes.iter().all(loopback)).then_some(CompressionType::LZ4_FRAME)
}

/// A plan, divided; the same plan when no part of it can be. `refused` hears why parts stay whole.
pub(crate) fn divide<'a>(
    fanout: &'a Fanout,
    plan: Arc<dyn ExecutionPlan>,
    task: &'a Arc<TaskContext>,
    wanted: &'a Wanted,
    nodes: &'a [Url],
    refused: &'a (dyn Fn(String) + Sync),
) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
    async move {
        if plan.is::<ScalarSubqueryExec>() {
            let mut parts = Vec::new();
            for part in plan.children().into_iter().cloned() {
                parts.push(divide(fanout, part, task, wanted, nodes, refused).await?);
            }
            return plan.replace_children(parts, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute));
        }
        if let Some(obstacle) = obstacle(&plan) {
            refused(obstacle.to_owned());
            return Ok(plan);
        }
        // A short subquery of a long query stays where it is.
        if wanted.distribute == Distribute::Auto && bytes_to_read(&plan) < wanted.min_bytes {
            refused("it reads little".to_owned());
            return Ok(plan);
        }
        let partitions = task.session_config().target_partitions();
        let prepared = filters::plant(Arc::clone(&plan));
        let prepared = prepared.and_then(|plan| divide_large_sides(plan, nodes.len(), partitions));
        let prepared = prepared.unwrap_or_else(|error| {
            tracing::warn!(%error, "the joins of a query are divided as they are");
            Arc::clone(&plan)
        });
        let prepared = if wanted.split_hot_keys { split(fanout, prepared, task, nodes).await } else { prepared };
        if let Err(error) = fanout.codec().try_out(&prepared, task) {
            refused(match error {
                DataFusionError::Plan(reason) => reason,
                other => other.strip_backtrace(),
            });
            return Ok(plan);
        }
        let state = session(fanout, &prepared, task, wanted, nodes)?;
        let empty = EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::empty()) };
        let divided = state.query_planner().create_physical_plan(&LogicalPlan::EmptyRelation(empty), &state).await?;
        if !divided.is::<DistributedExec>() {
            refused("one node is enough".to_owned());
            return Ok(plan);
        }
        let inner = Arc::clone(divided.children()[0]);
        let inner = with_tasks(inner, fanout.codec().vocabulary())?;
        Ok(Arc::new(DistributedExec::new(inner).with_metrics_collection(wanted.measured)) as Arc<dyn ExecutionPlan>)
    }
    .boxed()
}

/// The plan with the hot keys of its joins split, where that can be.
async fn split(
    fanout: &Fanout,
    plan: Arc<dyn ExecutionPlan>,
    task: &Arc<TaskContext>,
    nodes: &[Url],
) -> Arc<dyn ExecutionPlan> {
    let wait = fanout.options().sample_timeout;
    match split_hot_keys(&plan, nodes.len(), fanout.samples(), task, wait).await {
        Ok(split) => split,
        Err(error) => {
            tracing::warn!(%error, "the hot keys of a query's joins stay where they are");
            plan
        }
    }
}

/// A divided plan with a [`TaskExec`] on top of each part that nodes run, which knows the filters that it gets from other parts.
fn with_tasks(plan: Arc<dyn ExecutionPlan>, vocabulary: &Arc<dyn Vocabulary>) -> Result<Arc<dyn ExecutionPlan>> {
    let recompute = || ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let planted = filters::planted(&plan);
    let mut of_use = BTreeSet::new();
    let with_tasks = plan.transform_up(|node| {
        let Some(boundary) = node.as_network_boundary() else { return Ok(Transformed::no(node)) };
        let stage = boundary.input_stage().num() as u64;
        let Some(head) = node.children().first().map(|head| Arc::clone(*head)) else {
            return Ok(Transformed::no(node));
        };
        let awaited = filters::awaited(&head, &planted);
        of_use.extend(awaited.iter().map(|awaited| awaited.filter));
        let task = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
            Arc::new(TaskExec::new(Arc::clone(input), stage, awaited.clone(), Arc::clone(vocabulary)))
        };
        // The library looks for these on top, and replaces them.
        let topped = if head.is::<RepartitionExec>() || head.is::<BroadcastExec>() {
            let inputs = head.children().into_iter().map(task).collect();
            head.replace_children(inputs, recompute())?
        } else {
            task(&head)
        };
        Ok(Transformed::yes(node.replace_children(vec![topped], recompute())?))
    })?;
    filters::settle(with_tasks.data, &of_use)
}

/// A planner whose plan is made already.
#[derive(Debug)]
struct Made(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Made {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}

struct Nodes(Vec<Url>);

impl WorkerResolver for Nodes {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.clone())
    }
}

/// On how many nodes an operator runs.
fn nodes_wanted(event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
    let team = event.session_config.get_extension::<Team>()?;
    let plan = event.plan;
    if plan.children().is_empty() {
        // What is no scan of a table runs on one node: that is the library's answer.
        let readers = wharf_lake::is_scan(plan).then(|| team.readers(plan))?;
        return Some(Ok(DesiredTaskCountEventResponse::desired(readers)));
    }
    // Its rows were spread over the partitions of all nodes.
    if plan.downcast_ref::<HashJoinExec>().is_some_and(is_split) {
        return Some(Ok(DesiredTaskCountEventResponse::desired(team.nodes.len())));
    }
    needs_one_place(plan).then(|| Ok(DesiredTaskCountEventResponse::maximum(1)))
}

/// Whether an operator gets all rows that belong together only where its whole input is on one node.
fn needs_one_place(plan: &Arc<dyn ExecutionPlan>) -> bool {
    // The library sends the left side of these to every node, or knows that it cannot.
    let collects = plan.downcast_ref::<HashJoinExec>().is_some_and(|join| join.mode == PartitionMode::CollectLeft);
    if collects || plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() {
        return false;
    }
    let requirements = plan.input_distribution_requirements();
    requirements.per_child_distributions().zip(plan.children()).any(|(distribution, child)| {
        let partitions = child.properties().partitioning.partition_count();
        match distribution {
            Distribution::UnspecifiedDistribution => false,
            Distribution::SinglePartition => true,
            // One partition has all rows of every key; several are made by an operator that divides rows, and then by the library.
            #[expect(deprecated, reason = "the former name is still a variant")]
            Distribution::HashPartitioned(_) | Distribution::KeyPartitioned(_) => partitions == 1,
        }
    })
}

/// A scan divided among nodes.
fn deal(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let team = event.session_config.get_extension::<Team>()?;
    let nodes = team.nodes.get(..event.task_count.min(team.nodes.len()))?;
    let parts = wharf_lake::deal(event.plan, event.task_count, |path, begins| routing::preferred(nodes, path, begins))?;
    let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), parts);
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

/// Part `i` of a scan was dealt to node `i`; what one task reads, to the node that has it in its caches.
fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let team = event.task_ctx.session_config().get_extension::<Team>()?;
    let nodes = match event.task_count {
        // One that reads no table is placed beside the one it gets its rows from.
        1 => vec![team.nodes.get(reader(event.plan, &team.nodes)?)?.clone()],
        count => team.nodes.get(..count)?.to_vec(),
    };
    Some(Ok(RouteTasksEventResponse::new(nodes)))
}

/// Which node is to read the tables of a stage of one task: that of the largest part of the first. None when it reads none.
fn reader(stage: &Arc<dyn ExecutionPlan>, nodes: &[Url]) -> Option<usize> {
    let mut found = None;
    // The closure cannot fail.
    let _ = stage.apply(|node| {
        let part =
            node.downcast_ref::<DistributedLeafExec>().and_then(|leaf| wharf_lake::largest_part(leaf.original()));
        if let Some((path, begins)) = part {
            found = routing::preferred(nodes, &path, begins).first().copied();
            return Ok(TreeNodeRecursion::Stop);
        }
        // What is below it is of another stage.
        Ok(if node.is_network_boundary() { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
    });
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_are_packed_when_a_node_is_elsewhere() {
        let packed = |nodes: &[&str]| {
            compression(&nodes.iter().map(|node| Url::parse(node).unwrap()).collect::<Vec<_>>()).is_some()
        };
        assert!(!packed(&["http://127.0.0.1:5442", "http://[::1]:5452", "http://localhost:5462"]));
        assert!(packed(&["http://127.0.0.1:5442", "http://10.0.0.7:5442"]));
        assert!(packed(&["https://node1.example.org:5442"]));
    }
}
