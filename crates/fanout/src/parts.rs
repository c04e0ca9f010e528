//! The parts of queries that run on a node: whose they are, of which stage, and what they have done.
//!
//! What always holds: a part is listed as long as its rows are there, and no longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharf_traces::{Span, Traces};

/// Whose work it is that a node does: goes with each part of a query to the nodes that run it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct QueryTag {
    /// The statement's id, which the log of the node that was asked has too.
    pub id: Uuid,
    /// The session, as its own node counts them.
    pub process: u32,
    /// The session's role, by its oid.
    pub role: u32,
    /// The session's database, by its oid.
    pub database: u32,
}

/// What a node does for one stage of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRunning {
    /// The query.
    pub query: QueryTag,
    /// The stage's number, as EXPLAIN shows it.
    pub stage: u64,
    /// How many of the stage's tasks run here.
    pub tasks: usize,
    /// Since when.
    pub elapsed: Duration,
    /// How many rows they have given to other stages.
    pub rows: u64,
}

/// The parts of a node; in the extensions of the configuration of the sessions that parts run in.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    running: AtomicUsize,
    stages: Mutex<BTreeMap<(Uuid, u64), Stage>>,
    traces: Arc<Traces>,
}

/// A stage of a query, as far as it runs here.
#[derive(Debug)]
struct Stage {
    query: QueryTag,
    started: Instant,
    /// By task, how many of its partitions there are.
    tasks: BTreeMap<usize, usize>,
    rows: Arc<AtomicU64>,
    span: Option<Span>,
}

impl Parts {
    /// None yet; what they do becomes spans of their statements' traces.
    pub(crate) fn new(traces: Arc<Traces>) -> Parts {
        Parts { traces, ..Parts::default() }
    }

    /// How many there are now.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Lists one partition of a task until it is dropped.
    pub(crate) fn begin(self: &Arc<Self>, query: QueryTag, stage: u64, task: usize) -> Part {
        self.running.fetch_add(1, Ordering::Relaxed);
        let mut stages = self.stages.lock();
        let listed = stages.entry((query.id, stage)).or_insert_with(|| Stage {
            query,
            started: Instant::now(),
            tasks: BTreeMap::new(),
            rows: Arc::default(),
            span: self.traces.part(query.id, "stage"),
        });
        *listed.tasks.entry(task).or_default() += 1;
        let rows = Arc::clone(&listed.rows);
        drop(stages);
        Part { all: Arc::clone(self), key: (query.id, stage), task, rows }
    }

    /// What runs now, in the order of queries and stages.
    pub(crate) fn stages(&self) -> Vec<StageRunning> {
        let stages = self.stages.lock();
        let running = stages.iter().map(|((_, number), stage)| StageRunning {
            query: stage.query,
            stage: *number,
            tasks: stage.tasks.len(),
            elapsed: stage.started.elapsed(),
            rows: stage.rows.load(Ordering::Relaxed),
        });
        running.collect()
    }
}

/// A part that runs.
#[derive(Debug)]
pub(crate) struct Part {
    all: Arc<Parts>,
    key: (Uuid, u64),
    task: usize,
    rows: Arc<AtomicU64>,
}

impl Part {
    /// It has given rows.
    pub(crate) fn gave(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.all.running.fetch_sub(1, Ordering::Relaxed);
        let mut stages = self.all.stages.lock();
        let Some(stage) = stages.get_mut(&self.key) else { return };
        if let Some(partitions) = stage.tasks.get_mut(&self.task) {
            *partitions -= 1;
            if *partitions == 0 {
                stage.tasks.remove(&self.task);
            }
        }
        if !stage.tasks.is_empty() {
            return;
        }
        let ended = stages.remove(&self.key);
        drop(stages);
        if let Some(Stage { span: Some(mut span), rows, .. }) = ended {
            span.set("wharf.stage", i64::try_from(self.key.1).unwrap_or(i64::MAX));
            span.set("wharf.rows", i64::try_from(rows.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_listed_until_its_last_partition_ends() {
        let parts = Arc::new(Parts::default());
        let query = QueryTag { id: Uuid::from_u128(7), process: 1, role: 2, database: 3 };
        let (one, two, other) = (parts.begin(query, 1, 0), parts.begin(query, 1, 0), parts.begin(query, 1, 2));
        let above = parts.begin(query, 2, 0);
        one.gave(5);
        drop(one);
        two.gave(6);
        let listed = |stage: &StageRunning| (stage.query.id, stage.stage, stage.tasks, stage.rows);
        let stages = parts.stages();
        assert_eq!(stages.iter().map(listed).collect::<Vec<_>>(), [(query.id, 1, 2, 11), (query.id, 2, 1, 0)]);
        assert_eq!(parts.running(), 3);
        drop((two, above));
        assert_eq!(parts.stages().iter().map(listed).collect::<Vec<_>>(), [(query.id, 1, 1, 11)]);
        drop(other);
        assert_eq!((parts.stages(), parts.running()), (Vec::new(), 0));
    }
}
