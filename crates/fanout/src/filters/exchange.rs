//! Keys on their way between the nodes of a query.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::DistributedTaskContext;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::keys::Keys;
use super::plant::filters_of_scans;
use super::service::Told;
use crate::channels::Channels;

/// How long a task waits for its filters.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long telling may take.
const TELLING: Duration = Duration::from_secs(5);
/// For how long keys are kept for a plan that has not come.
const KEPT: Duration = Duration::from_secs(30);
/// How many hashes a node keeps for all queries; of further keys it takes the bounds.
const MOST_HASHES: usize = 16 << 20;

/// A filter that comes from another stage.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Awaited {
    /// The filter, by its id.
    pub(crate) filter: u64,
    /// The columns that it is over where its join is: names and places.
    pub(crate) keys: Vec<(String, usize)>,
}

/// What has come to a node.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<HashMap<Uuid, Known>>);

/// What is known of the filters of a query.
#[derive(Debug)]
struct Known {
    since: Instant,
    /// How many sessions here are of the query.
    sessions: usize,
    filters: HashMap<u64, watch::Sender<Coming>>,
}

/// Keys as they come from the tasks of a stage.
#[derive(Debug, Default)]
struct Coming {
    /// Known with the first that has come.
    tasks: Option<u32>,
    heard: BTreeSet<u32>,
    keys: Option<Keys>,
}

impl Coming {
    fn is_complete(&self) -> bool {
        self.tasks.is_some_and(|tasks| self.heard.len() >= tasks as usize)
    }

    fn add(&mut self, task: u32, tasks: u32, keys: Keys) {
        if !self.heard.insert(task) {
            return;
        }
        self.tasks = Some(tasks);
        match &mut self.keys {
            Some(known) => known.merge(keys),
            None => self.keys = Some(keys),
        }
    }

    fn hashes(&self) -> usize {
        self.keys.as_ref().and_then(|keys| keys.hashes.as_ref()).map_or(0, Vec::len)
    }
}

impl Filters {
    /// Takes what a node tells.
    ///
    /// # Errors
    /// What no node of ours has written.
    pub(super) fn hear(&self, told: Told) -> Result<()> {
        let (exchange, filter, task, tasks) = (told.exchange()?, told.filter, told.task, told.tasks);
        let mut keys = told.into_keys()?;
        let mut all = self.0.lock();
        all.retain(|_, known| known.sessions > 0 || known.since.elapsed() < KEPT);
        let kept: usize =
            all.values().flat_map(|known| known.filters.values()).map(|coming| coming.borrow().hashes()).sum();
        if kept > MOST_HASHES {
            keys.hashes = None;
        }
        let coming = all.entry(exchange).or_insert_with(Known::new).filters.entry(filter).or_default();
        coming.send_modify(|coming| coming.add(task, tasks, keys));
        Ok(())
    }

    /// The keys for a filter, as they come.
    fn coming(&self, exchange: Uuid, filter: u64) -> watch::Receiver<Coming> {
        let mut all = self.0.lock();
        all.entry(exchange).or_insert_with(Known::new).filters.entry(filter).or_default().subscribe()
    }

    fn begin(&self, exchange: Uuid) {
        self.0.lock().entry(exchange).or_insert_with(Known::new).sessions += 1;
    }

    fn end(&self, exchange: Uuid) {
        let mut all = self.0.lock();
        let Some(known) = all.get_mut(&exchange) else { return };
        known.sessions = known.sessions.saturating_sub(1);
        if known.sessions == 0 {
            all.remove(&exchange);
        }
    }
}

impl Known {
    fn new() -> Known {
        Known { since: Instant::now(), sessions: 0, filters: HashMap::new() }
    }
}

/// What connects the sessions of a query on its nodes: in the extensions of the configuration of each.
pub(crate) struct Exchange {
    id: Uuid,
    nodes: Vec<Url>,
    channels: Channels,
    here: Arc<Filters>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Exchange {
    /// A session's part in an exchange among nodes. What comes is kept until the last session of it on this node is gone.
    pub(crate) fn new(id: Uuid, nodes: Vec<Url>, channels: Channels, here: Arc<Filters>) -> Exchange {
        here.begin(id);
        Exchange { id, nodes, channels, here }
    }

    /// Tells all nodes the keys that a task has seen, in the background: whoever waits for them does not wait long.
    pub(super) fn tell(&self, filter: u64, task: &DistributedTaskContext, keys: &Keys) {
        let told = match Told::new(self.id, filter, task.task_index, task.task_count, keys) {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "the keys of a join stay here");
                return;
            }
        };
        for node in self.nodes.clone() {
            let (told, cluster) = (told.clone(), Arc::clone(&self.channels.cluster));
            tokio::spawn(async move {
                let sent = async {
                    let channel = cluster.channel(&node).await?;
                    told.send(channel).await.map_err(|status| status.to_string())
                };
                let sent = tokio::time::timeout(TELLING, sent).await.unwrap_or_else(|_| Err("no answer".to_owned()));
                if let Err(reason) = sent {
                    tracing::debug!(%node, reason, "the keys of a join did not arrive");
                }
            });
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.here.end(self.id);
    }
}

/// The filters that a task waits for, with their copies in its scans.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    filters: Vec<(Awaited, Vec<Arc<dyn PhysicalExpr>>)>,
    done: OnceCell<()>,
}

impl Arrivals {
    /// Those of the scans of a plan.
    pub(crate) fn new(awaited: &[Awaited], plan: &Arc<dyn ExecutionPlan>) -> Arrivals {
        let mut copies: HashMap<u64, Vec<Arc<dyn PhysicalExpr>>> = HashMap::new();
        filters_of_scans(plan, &mut |found| {
            if let Some(id) = found.expression_id() {
                copies.entry(id).or_default().push(Arc::clone(found));
            }
        });
        let filters = awaited.iter().filter_map(|awaited| Some((awaited.clone(), copies.remove(&awaited.filter)?)));
        Arrivals { filters: filters.collect(), done: OnceCell::new() }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Waits until all filters are there, or for as long as one may.
    pub(crate) async fn wait(&self, exchange: &Exchange) {
        let arrive = async {
            for (awaited, copies) in &self.filters {
                let mut coming = exchange.here.coming(exchange.id, awaited.filter);
                // The sender is kept as long as this session's part in the exchange.
                let Ok(come) = coming.wait_for(Coming::is_complete).await else { continue };
                let Some(keys) = come.keys.clone() else { continue };
                drop(come);
                if let Err(error) = update(copies, &awaited.keys, keys) {
                    tracing::warn!(%error, "a filter of a join is left out");
                }
            }
        };
        let waited = || async {
            if tokio::time::timeout(LONGEST_WAIT, arrive).await.is_err() {
                tracing::debug!("the keys of a join have not come in time");
            }
        };
        self.done.get_or_init(waited).await;
    }
}

/// Makes the copies of a filter, each over other columns, what the keys say.
fn update(copies: &[Arc<dyn PhysicalExpr>], columns: &[(String, usize)], keys: Keys) -> Result<()> {
    let columns: Vec<Arc<dyn PhysicalExpr>> =
        columns.iter().map(|(name, index)| Arc::new(Column::new(name, *index)) as _).collect();
    let filter = keys.filter(&columns);
    for copy in copies {
        // Of all copies, this one alone is over the columns where the join is, as the filter is: the others follow it.
        let original = Arc::clone(copy).with_new_children(columns.clone())?;
        if let Some(original) = original.downcast_ref::<DynamicFilterPhysicalExpr>() {
            original.update(Arc::clone(&filter))?;
            original.mark_complete();
        }
    }
    Ok(())
}
