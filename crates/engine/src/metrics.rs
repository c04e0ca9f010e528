//! What is counted, for those who watch a node: statements, sessions, memory, the object store, the catalog's group.
//!
//! What always holds: labels come from short lists that are known here, never from what a client sent, so that the number of
//! time series has a limit; nothing counted names a role, a table or a value. What other layers count already is read when it
//! is asked for.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wharf_values::SqlState;

use crate::engine::Engine;

/// Which statements, and how they ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatementLabels {
    /// `SELECT`, `INSERT`, ..
    pub(crate) kind: &'static str,
    /// The class of the SQLSTATE.
    pub(crate) sqlstate_class: Class,
}

/// The class of a SQLSTATE: its first two characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class([u8; 2]);

impl Class {
    /// Success.
    pub(crate) const SUCCESS: Class = Class(*b"00");
    /// What an operator stops, or a client that goes.
    pub(crate) const STOPPED: Class = Class(*b"57");

    /// A SQLSTATE's.
    pub(crate) fn of(code: SqlState) -> Class {
        match code.class().as_bytes() {
            [first, second] => Class([*first, *second]),
            _ => Class(*b"XX"),
        }
    }

    /// Its characters.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX")
    }
}

impl EncodeLabelValue for Class {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Which statements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabels {
    pub(crate) kind: &'static str,
}

/// What the engine counts itself.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) statements: Family<StatementLabels, Counter>,
    pub(crate) durations: Family<KindLabels, Histogram, fn() -> Histogram>,
    /// Those that wait for a place are not among them.
    pub(crate) running: Gauge,
    pub(crate) queued: Gauge,
    /// How long those waited that did.
    pub(crate) waits: Histogram,
    pub(crate) sessions: Gauge,
    pub(crate) groups_for_others: Counter,
    pub(crate) units_for_others: Counter,
}

impl Default for Statistics {
    fn default() -> Self {
        Statistics {
            statements: Family::default(),
            durations: Family::new_with_constructor(seconds),
            running: Gauge::default(),
            queued: Gauge::default(),
            waits: seconds(),
            sessions: Gauge::default(),
            groups_for_others: Counter::default(),
            units_for_others: Counter::default(),
        }
    }
}

/// From a millisecond to about half an hour, each bound twice the one before it.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 22))
}

impl Engine {
    /// Puts everything that is counted into a registry, from which it can be read as long as the engine lives.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut Registry) {
        let statistics = &self.statistics;
        let registry = registry.sub_registry_with_prefix("wharf");
        registry.register(
            "statements",
            "Statements that have ended, by kind and class of their SQLSTATE",
            statistics.statements.clone(),
        );
        registry.register_with_unit(
            "statement_duration",
            "How long statements took, their rows sent included",
            Unit::Seconds,
            statistics.durations.clone(),
        );
        registry.register("statements_running", "Statements that run now", statistics.running.clone());
        registry.register("statements_queued", "Statements that wait for their turn", statistics.queued.clone());
        registry.register_with_unit(
            "statement_wait",
            "How long statements waited for their turn, of those that had to",
            Unit::Seconds,
            statistics.waits.clone(),
        );
        registry.register("sessions", "Sessions that are open now", statistics.sessions.clone());
        registry.register(
            "file_groups_rewritten_for_others",
            "Groups of data files that were rewritten for a compaction of another node",
            statistics.groups_for_others.clone(),
        );
        registry.register(
            "copy_units_loaded_for_others",
            "Units of files that were loaded for a COPY of another node",
            statistics.units_for_others.clone(),
        );
        registry.register_collector(Box::new(Layers(Arc::downgrade(self))));
    }
}

/// What the layers below count.
struct Layers(Weak<Engine>);

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layers")
    }
}

impl Collector for Layers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(engine) = self.0.upgrade() else { return Ok(()) };
        let mut metrics = Metrics(encoder);
        metrics.memory(&engine)?;
        metrics.store(&engine)?;
        metrics.fanout(&engine)?;
        metrics.catalog(&engine)
    }
}

struct Metrics<'a>(DescriptorEncoder<'a>);

impl Metrics<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, &sentence(help), None, gauge.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, &sentence(help), None, counter.metric_type())?)
    }

    fn memory(&mut self, engine: &Engine) -> fmt::Result {
        let reserved = engine.base.runtime_env().memory_pool.reserved();
        self.gauge("memory_pool_bytes", "Memory that running queries have taken", reserved as u64)?;
        let limit = engine.options.memory_limit_bytes;
        self.gauge("memory_pool_limit_bytes", "Memory that running queries may take together", limit as u64)
    }

    /// Nothing for a local warehouse, which is read without a cache.
    fn store(&mut self, engine: &Engine) -> fmt::Result {
        let Some(cache) = engine.warehouse.cache_statistics() else { return Ok(()) };
        self.counter("store_get_requests", "Reads of the object store", cache.get_requests)?;
        self.counter("store_get_bytes", "Bytes read from the object store", cache.get_bytes)?;
        self.counter("store_put_requests", "Writes to the object store", cache.put_requests)?;
        self.counter("store_put_bytes", "Bytes written to the object store", cache.put_bytes)?;
        self.counter("store_head_requests", "Questions to the object store about one object", cache.head_requests)?;
        self.counter("store_list_requests", "Questions to the object store for a list", cache.list_requests)?;
        self.counter("store_delete_requests", "Objects removed from the object store", cache.delete_requests)?;
        self.counter("store_errors", "Requests that the object store failed", cache.errors)?;
        self.counter("cache_memory_hits", "Blocks that were in memory", cache.memory_hits)?;
        self.counter("cache_disk_hits", "Blocks that were on disk", cache.disk_hits)?;
        self.counter("cache_misses", "Blocks that had to be read from the object store", cache.misses)?;
        self.gauge("cache_memory_bytes", "Memory that cached blocks take", cache.memory_bytes)
    }

    fn fanout(&mut self, engine: &Engine) -> fmt::Result {
        self.gauge("fanout_nodes", "Nodes that queries can be divided among", engine.fanout.nodes() as u64)?;
        let parts = engine.fanout.parts_running();
        self.gauge("fanout_parts_running", "Parts of divided queries that this node runs now", parts as u64)?;
        let files = engine.warehouse.files_written_by_plans();
        self.counter(
            "fanout_files_written",
            "Data files that this node has written as its part of a divided query",
            files,
        )
    }

    fn catalog(&mut self, engine: &Engine) -> fmt::Result {
        let status = engine.group.status();
        let (last, applied) = (status.last_log_index.unwrap_or(0), status.applied_index.unwrap_or(0));
        self.gauge("raft_term", "Raft's term", status.term)?;
        self.gauge("raft_node", "This node's number", status.node)?;
        self.gauge(
            "raft_leader",
            "The number of the node that leads, 0 when that is not known",
            status.leader.unwrap_or(0),
        )?;
        self.gauge("raft_leads", "1 when this node leads the catalog's group", u64::from(status.leads))?;
        self.gauge("raft_members", "Nodes of the cluster", status.members.len() as u64)?;
        let lag = status.members.iter().filter_map(|member| member.lag).max().unwrap_or(0);
        self.gauge("raft_follower_lag_entries", "Entries that the slowest other node lacks, on the leader", lag)?;
        self.gauge("raft_last_log_index", "The last entry in the log", last)?;
        self.gauge("raft_applied_index", "The last entry that the catalog has", applied)?;
        self.gauge(
            "raft_lag_entries",
            "Entries in the log that the catalog does not have yet",
            last.saturating_sub(applied),
        )?;
        self.gauge("raft_log_bytes", "What the log takes on the disk", status.log_bytes_on_disk)
    }
}

/// The registry ends what it is given with a full stop, the encoder does not.
fn sentence(help: &str) -> String {
    format!("{help}.")
}
