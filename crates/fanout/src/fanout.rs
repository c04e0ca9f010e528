//! One node's part in queries that several nodes run: dividing its own, and working for others.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{DistributedExec, Worker};
use parking_lot::{Mutex, RwLock};
use tonic::service::Routes;
use url::Url;
use wharf_lake::Warehouse;
use wharf_traces::Traces;

use crate::channels::Channels;
use crate::cluster::{Alone, Cluster, InProcess};
use crate::codec::Codec;
use crate::eligible::{Distribute, Wanted, bytes_to_read};
use crate::filters::Filters;
use crate::live::{self, Live, Members};
use crate::load::Load;
use crate::parts::{Parts, StageRunning};
use crate::planner;
use crate::service::{OpenChannels, Watched};
use crate::skew::Samples;
use crate::unary::Unary;
use crate::vocabulary::Vocabulary;
use crate::worker;

/// The limits of fan-out.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// How long another node may take to begin to answer.
    pub answer_timeout: Duration,
    /// How often a query is begun on several nodes when nodes are lost; then it runs on its own node alone.
    pub attempts: usize,
    /// How many parts of queries this node runs at once; it takes no further ones, which run elsewhere then.
    pub max_parts: usize,
    /// How long a query may be held up by a look at the keys of its joins.
    pub sample_timeout: Duration,
    /// Workers in this process among which queries are divided as if they were nodes, for tests; 0: none.
    pub in_process_workers: usize,
}

impl Default for FanoutOptions {
    fn default() -> Self {
        FanoutOptions {
            answer_timeout: Duration::from_secs(30),
            attempts: 3,
            max_parts: 4096,
            sample_timeout: Duration::from_millis(300),
            in_process_workers: 0,
        }
    }
}

/// The fan-out of a node.
#[derive(Debug)]
pub struct Fanout {
    codec: Arc<Codec>,
    runtime: Arc<RuntimeEnv>,
    /// The configuration of every session of this node, before its own settings.
    base: ConfigOptions,
    cluster: RwLock<Arc<dyn Cluster>>,
    /// What runs here, of this node's queries and of others'.
    parts: Arc<Parts>,
    /// From the nodes whose plans are here.
    channels_open: Arc<OpenChannels>,
    /// What joins on other nodes tell the scans here.
    filters: Arc<Filters>,
    /// What is known of the keys of joins.
    samples: Samples,
    options: FanoutOptions,
}

/// A plan for several nodes.
#[derive(Debug)]
pub struct Spread {
    /// It.
    pub plan: Arc<dyn ExecutionPlan>,
    /// What it runs in.
    pub task: Arc<TaskContext>,
    /// The nodes.
    pub nodes: Vec<Url>,
}

impl Spread {
    /// Whether such an operator is in what several nodes run together, rather than beside it.
    pub fn has(&self, is_such: impl Fn(&Arc<dyn ExecutionPlan>) -> bool) -> bool {
        let found = self.plan.exists(|node| match node.is::<DistributedExec>() {
            true => node.exists(|inner| Ok(is_such(inner))),
            false => Ok(false),
        });
        // The closures cannot fail.
        found.unwrap_or_default()
    }
}

/// Why a query stays on one node.
#[derive(Clone, Debug, PartialEq)]
pub enum NotSpread {
    /// There is no other.
    Alone,
    /// All others are busy, or are not to take part in this query any more.
    Busy,
    /// The session does not want it.
    Off,
    /// It reads so few bytes.
    Small(u64),
    /// Why it cannot be divided.
    Cannot(String),
}

impl Fanout {
    /// The fan-out of a node that is alone until it is told of a cluster. `base` is the configuration of its sessions, before their own
    /// settings; `runtime` has the memory for queries of both kinds; `traces` takes the spans of what runs here.
    pub fn new(
        vocabulary: Arc<dyn Vocabulary>,
        warehouse: Arc<Warehouse>,
        runtime: Arc<RuntimeEnv>,
        base: ConfigOptions,
        options: FanoutOptions,
        traces: Arc<Traces>,
    ) -> Arc<Fanout> {
        let codec = Arc::new(Codec::new(vocabulary, warehouse));
        let workers = options.in_process_workers;
        let cluster: Arc<dyn Cluster> = Arc::new(Alone);
        let (cluster, parts) = (RwLock::new(cluster), Arc::new(Parts::new(traces)));
        let (channels_open, filters, samples) = (Arc::default(), Arc::default(), Samples::default());
        let fanout =
            Arc::new(Fanout { codec, runtime, base, cluster, parts, channels_open, filters, samples, options });
        if workers > 0 {
            fanout.join(fanout.in_process(workers));
        }
        fanout
    }

    /// From now on queries are divided among the nodes of this cluster.
    pub fn join(&self, cluster: Arc<dyn Cluster>) {
        *self.cluster.write() = cluster;
    }

    /// From now on queries are divided among those members of a cluster that take part, this node, at `own_address`, among them.
    /// What is returned finds out who does, as long as it is polled.
    ///
    /// # Errors
    /// An address that other nodes cannot know this one by.
    pub fn join_members(
        &self,
        members: Arc<dyn Members>,
        own_address: &str,
    ) -> Result<impl Future<Output = ()> + Send + 'static, String> {
        let live = Live::new(members, own_address).ok_or_else(|| format!("{own_address} cannot be part of a URL"))?;
        let live = Arc::new(live);
        self.join(Arc::clone(&live) as _);
        Ok(async move { live.watch().await })
    }

    /// What does parts of queries, as services for a port. They ask nobody who they are.
    pub fn routes(self: &Arc<Self>) -> Routes {
        Routes::new(Watched::new(self.worker().into_worker_server(), Arc::clone(&self.channels_open)))
            .add_service(Unary(Arc::clone(&self.filters)))
            .add_service(Unary(self.load()))
    }

    /// Workers in this process that talk as nodes do, over memory instead of sockets.
    pub fn in_process(self: &Arc<Self>, workers: usize) -> Arc<dyn Cluster> {
        Arc::new(InProcess::new((0..workers).map(|_| self.routes())))
    }

    fn worker(self: &Arc<Self>) -> Worker {
        worker::worker(self)
    }

    fn load(&self) -> Load {
        Load::new(Arc::clone(&self.parts), self.options.max_parts, Arc::clone(&self.runtime))
    }

    /// How many nodes queries can be divided among.
    pub fn nodes(&self) -> usize {
        self.cluster.read().count()
    }

    /// Whether queries of this node are divided among the node at an address, `host:port`, and others.
    pub fn takes_part(&self, address: &str) -> bool {
        self.cluster.read().nodes().iter().any(|node| live::address(node).as_deref() == Some(address))
    }

    /// How many parts of queries run on this node.
    pub fn parts_running(&self) -> usize {
        self.parts.running()
    }

    /// What this node does for queries, its own and others', stage by stage.
    pub fn stages_running(&self) -> Vec<StageRunning> {
        self.parts.stages()
    }

    /// Whether it is worth trying to divide a plan at all; quick.
    ///
    /// # Errors
    /// Why not.
    pub fn consider(&self, plan: &Arc<dyn ExecutionPlan>, wanted: &Wanted) -> Result<(), NotSpread> {
        if wanted.distribute == Distribute::Off {
            return Err(NotSpread::Off);
        }
        if self.nodes() < 2 {
            return Err(NotSpread::Alone);
        }
        let bytes = bytes_to_read(plan);
        match wanted.distribute {
            Distribute::Auto if bytes < wanted.min_bytes => Err(NotSpread::Small(bytes)),
            Distribute::Auto | Distribute::On | Distribute::Off => Ok(()),
        }
    }

    /// A plan for one node, divided among several. One that begins is divided among those that have room for it; one that began
    /// among those in `without` is divided among all others, which may be busy with what is left of it.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn spread(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        task: &Arc<TaskContext>,
        wanted: &Wanted,
        without: &[Url],
    ) -> Result<Spread, NotSpread> {
        self.consider(plan, wanted)?;
        let mut nodes = if without.is_empty() { self.cluster.read().free() } else { self.cluster.read().nodes() };
        nodes.retain(|node| !without.contains(node));
        if nodes.len() < 2 {
            return Err(NotSpread::Busy);
        }
        let reasons = Mutex::new(Vec::new());
        let refused = |reason| reasons.lock().push(reason);
        let cannot = |error: datafusion::error::DataFusionError| NotSpread::Cannot(error.strip_backtrace());
        let divided = planner::divide(self, Arc::clone(plan), task, wanted, &nodes, &refused).await.map_err(cannot)?;
        if !divided.exists(|node| Ok(node.is::<DistributedExec>())).map_err(cannot)? {
            return Err(NotSpread::Cannot(reasons.into_inner().join("; ")));
        }
        let task = planner::session(self, &divided, task, wanted, &nodes).map_err(cannot)?.task_ctx();
        Ok(Spread { plan: divided, task, nodes })
    }

    pub(crate) fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    pub(crate) fn base(&self) -> &ConfigOptions {
        &self.base
    }

    pub(crate) fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    pub(crate) fn channels_open(&self) -> &OpenChannels {
        &self.channels_open
    }

    pub(crate) fn filters(&self) -> &Arc<Filters> {
        &self.filters
    }

    /// A query has lost this node.
    pub(crate) fn lost(&self, node: &Url) {
        self.cluster.read().lost(node);
    }

    /// Whether it is this node.
    pub(crate) fn is_own(&self, node: &Url) -> bool {
        self.cluster.read().is_own(node)
    }

    pub(crate) fn options(&self) -> &FanoutOptions {
        &self.options
    }

    pub(crate) fn channels(&self) -> Channels {
        Channels {
            cluster: Arc::clone(&self.cluster.read()),
            codec: Arc::clone(&self.codec),
            answer_timeout: self.options.answer_timeout,
        }
    }
}
