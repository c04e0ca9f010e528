//! A Raft group of one node: open, propose, read, shut down.
//!
//! What always holds: while a [`Group`] runs, it holds the lock of its data folder; after [`Group::shutdown`] has returned, nothing of
//! it touches the folder any more and another process may open it. Raft runs on a thread of its own, so that queries that keep
//! all others busy do not delay commits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::{BasicNode, Config, RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wharf_catalog::{Answer, CatalogError, Envelope, State};

use crate::data_folder::DataFolder;
use crate::error::ConsensusError;
use crate::files;
use crate::flushed::FlushedMark;
use crate::health::Health;
use crate::log_storage::LogStorage;
use crate::log_store::LogStore;
use crate::network::NoNetwork;
use crate::options::{GroupOptions, GroupStatus};
use crate::proposer::{Limits, Proposer};
use crate::raft_types::{LogId, NodeId, Raft, SnapshotMeta};
use crate::read_index::ReadIndex;
use crate::rehearsal;
use crate::sled_storage::SledStorage;
use crate::snapshots::SnapshotStore;
use crate::startup;
use crate::state_machine::{SharedApplied, StateMachine};

/// The number of the only node.
const NODE: NodeId = 1;

/// How long a shutdown waits for the folder to be left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A running node of the catalog's group.
pub struct Group {
    raft: Raft,
    applied: SharedApplied,
    /// None once the group is shutting down.
    proposer: RwLock<Option<Arc<Proposer>>>,
    read_index: ReadIndex,
    metrics: watch::Receiver<RaftMetrics<NodeId, BasicNode>>,
    /// Does this node lead, with no other voter?
    sole_leader: Arc<AtomicBool>,
    sole_voter_reads: bool,
    storage: Weak<dyn LogStorage>,
    data: Weak<DataFolder>,
    propose_timeout: Duration,
    tasks: Mutex<Option<Tasks>>,
    _runtime: OwnRuntime,
}

/// The tasks besides openraft's.
struct Tasks {
    proposer: JoinHandle<()>,
    watcher: JoinHandle<()>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Group {
    /// Opens a data folder and starts a group of one on it: when this returns, the node leads and has applied everything that was
    /// ever answered.
    ///
    /// # Errors
    /// [`ConsensusError::Locked`] when another process has the folder, [`ConsensusError::NewerVersion`] when a newer version wrote it,
    /// [`ConsensusError::Damaged`] when something that was acknowledged cannot be read, [`ConsensusError::DiskFull`] and
    /// [`ConsensusError::Io`] as the system says, [`ConsensusError::Failed`] when it takes longer than it may.
    pub async fn open(options: GroupOptions) -> Result<Arc<Group>, ConsensusError> {
        let runtime = OwnRuntime::new(&options)?;
        let (timeout, starting) = (options.startup_timeout, runtime.get().spawn(start(options)));
        let (abort, started) = (starting.abort_handle(), tokio::time::timeout(timeout, starting).await);
        let started = match started {
            Ok(Ok(started)) => started?,
            Ok(Err(panicked)) => {
                return Err(ConsensusError::Failed { reason: panicked.to_string() });
            }
            Err(_) => {
                abort.abort();
                let reason = format!("the group did not start within {} s", timeout.as_secs());
                return Err(ConsensusError::Failed { reason });
            }
        };
        Ok(Arc::new(started.into_group(runtime)))
    }

    /// Has a command applied; returns after it is durable and applied. A retry with the same request id is safe after any error.
    ///
    /// # Errors
    /// The outer error is the node's: the command was not taken ([`ConsensusError::Overloaded`], [`ConsensusError::DiskFull`],
    /// [`ConsensusError::CommandTooLarge`], [`ConsensusError::NotLeader`]), or it is not known whether it will be applied
    /// ([`ConsensusError::Timeout`], [`ConsensusError::Stopped`], [`ConsensusError::Failed`]). The inner error is the catalog's
    /// answer.
    pub async fn propose(&self, envelope: Envelope) -> Result<Result<Answer, CatalogError>, ConsensusError> {
        let proposer = self.proposer.read().clone().ok_or(ConsensusError::Stopped)?;
        proposer.propose(&envelope).await
    }

    /// The state with everything that was answered before the call.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`] or [`ConsensusError::ReadTimeout`] when that cannot be confirmed, [`ConsensusError::Stopped`]
    /// after shutdown, or the error that has stopped the node.
    pub async fn read(&self) -> Result<Arc<State>, ConsensusError> {
        if self.proposer.read().is_none() {
            return Err(ConsensusError::Stopped);
        }
        // Nobody else can have answered a command, and this node applies a command before it answers.
        if !(self.sole_voter_reads && self.sole_leader.load(Ordering::Acquire)) {
            self.read_index.wait().await?;
        }
        Ok(self.local())
    }

    /// The state as far as this node has applied it.
    pub fn local(&self) -> Arc<State> {
        Arc::clone(&self.applied.read().state)
    }

    /// What the node is doing.
    pub fn status(&self) -> GroupStatus {
        let storage = self.storage.upgrade();
        let metrics = self.metrics.borrow();
        GroupStatus {
            node: metrics.id,
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index,
            applied_index: self.applied.read().last.map(|last| last.index),
            snapshot_index: metrics.snapshot.map(|last| last.index),
            purged_index: metrics.purged.map(|last| last.index),
            log_bytes_on_disk: storage.and_then(|storage| storage.size_on_disk().ok()).unwrap_or(0),
        }
    }

    /// Asks for a snapshot now, whatever `snapshot_every` says; it is written in the background.
    ///
    /// # Errors
    /// The error that has stopped the node.
    pub async fn trigger_snapshot(&self) -> Result<(), ConsensusError> {
        let triggered = self.raft.trigger().snapshot().await;
        triggered.map_err(|fatal| ConsensusError::Failed { reason: fatal.to_string() })
    }

    /// Answers what was taken, takes nothing more, and leaves the folder. A second call does nothing.
    ///
    /// # Errors
    /// [`ConsensusError::Failed`] when the folder is not left within some ten seconds.
    pub async fn shutdown(&self) -> Result<(), ConsensusError> {
        self.proposer.write().take();
        let Some(tasks) = self.tasks.lock().take() else {
            return Ok(());
        };
        // The task ends when everything in the queue has been answered.
        let abort = tasks.proposer.abort_handle();
        if tokio::time::timeout(self.propose_timeout, tasks.proposer).await.is_err() {
            abort.abort();
        }
        tasks.watcher.abort();
        self.sole_leader.store(false, Ordering::Release);
        // A disk that hangs must not hang the shutdown.
        let stopped = tokio::time::timeout(CLOSE_TIMEOUT, self.raft.shutdown()).await;
        stopped
            .map_err(|_| "the log is still being written".to_owned())
            .and_then(|stopped| stopped.map_err(|error| error.to_string()))
            .map_err(|reason| ConsensusError::Failed { reason })?;
        let left = async {
            while self.data.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let left = tokio::time::timeout(CLOSE_TIMEOUT, left).await;
        left.map_err(|_| ConsensusError::Failed { reason: "the data folder is still in use".to_owned() })
    }
}

/// A node that has started.
struct Started {
    raft: Raft,
    applied: SharedApplied,
    health: Arc<Health>,
    storage: Weak<dyn LogStorage>,
    data: Weak<DataFolder>,
    purgeable: watch::Receiver<Option<LogId>>,
    snapshot_bytes: Arc<AtomicU64>,
    options: GroupOptions,
}

/// What was read from the disk.
struct Opened {
    data: Arc<DataFolder>,
    storage: Arc<dyn LogStorage>,
    mark: FlushedMark,
    snapshots: SnapshotStore,
    newest: Option<(SnapshotMeta, State)>,
    last_log_index: Option<u64>,
}

/// Opens and checks everything on the disk. Blocks.
fn open_folder(options: &GroupOptions) -> Result<Opened, ConsensusError> {
    let data = Arc::new(DataFolder::open(&options.directory)?);
    files::check_free_space(data.path(), options.min_free_bytes_to_open)?;
    let path = data.log();
    let mark = FlushedMark::open(&data.flushed()).map_err(|error| ConsensusError::io(&data.flushed(), &error))?;
    let (snapshots, newest) = SnapshotStore::open(Arc::clone(&data))?;
    let covered = newest.as_ref().map(|(meta, _)| meta);
    rehearsal::check(&data, &mark, covered)?;
    let storage =
        SledStorage::open(path.clone(), Arc::clone(&data)).map_err(|error| startup::read_error(&path, &error))?;
    let last_log_index = startup::check_log(&storage, &mark, covered, &path)?;
    Ok(Opened { data, storage: Arc::new(storage), mark, snapshots, newest, last_log_index })
}

async fn start(options: GroupOptions) -> Result<Started, ConsensusError> {
    let opening = options.clone();
    let opened = tokio::task::spawn_blocking(move || open_folder(&opening)).await;
    let opened = opened.unwrap_or_else(|error| Err(ConsensusError::damaged(&options.directory, error.to_string())))?;
    let health = Arc::new(Health::default());
    let (storage, data) = (Arc::downgrade(&opened.storage), Arc::downgrade(&opened.data));
    let log = LogStore::new(opened.storage, opened.mark, Arc::clone(&health), &opened.data.log());
    let log = log.map_err(|error| ConsensusError::io(opened.data.path(), &error))?;
    drop(opened.data);
    let (purgeable, snapshot_bytes) = (opened.snapshots.purgeable(), opened.snapshots.newest_bytes());
    let (machine, applied) = StateMachine::new(Arc::new(opened.snapshots), opened.newest, Arc::clone(&health));
    let config = Arc::new(raft_config(&options)?);
    let raft = Raft::new(NODE, config, NoNetwork, log, machine).await;
    let raft = raft.map_err(|fatal| health.failure_or(fatal))?;
    lead(&raft, opened.last_log_index).await.map_err(|error| health.failure_or(error))?;
    Ok(Started { raft, applied, health, storage, data, purgeable, snapshot_bytes, options })
}

fn raft_config(options: &GroupOptions) -> Result<Config, ConsensusError> {
    let config = Config {
        cluster_name: "wharf".to_owned(),
        // The only voter is elected when it asks to be, so these are not waited for.
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every.max(1)),
        // Never by itself: the log is purged only as far as the snapshot before the newest reaches (see `snapshots`).
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    config.validate().map_err(|error| ConsensusError::Failed { reason: error.to_string() })
}

/// Makes a node lead its group of one and apply its log.
async fn lead(raft: &Raft, last_log_index: Option<u64>) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if raft.is_initialized().await.map_err(|error| text(&error))? {
        // Does nothing when this node led before: it has come back as the leader.
        raft.trigger().elect().await.map_err(|error| text(&error))?;
    } else {
        let members = BTreeMap::from([(NODE, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| text(&error))?;
    }
    // The caller has a limit on the time this takes.
    let leads = |metrics: &RaftMetrics<NodeId, BasicNode>| {
        metrics.running_state.is_err()
            || metrics.state == ServerState::Leader && metrics.last_applied.map(|last| last.index) >= last_log_index
    };
    raft.wait(None).metrics(leads, "to lead with all of the log applied").await.map_err(|error| text(&error))?;
    raft.ensure_linearizable().await.map_err(|error| text(&error))?;
    Ok(())
}

impl Started {
    fn into_group(self, runtime: OwnRuntime) -> Group {
        let Started { raft, applied, health, storage, data, purgeable, snapshot_bytes, options } = self;
        let metrics = raft.metrics();
        let sole_leader = Arc::new(AtomicBool::new(is_sole_leader(&metrics.borrow())));
        let limits = Limits {
            waiting_commands: options.max_waiting_commands.max(1),
            command_bytes: options.max_command_bytes,
            timeout: options.propose_timeout,
            free_bytes: options.min_free_bytes,
        };
        let (proposer, task) =
            Proposer::new(raft.clone(), Arc::clone(&health), options.directory.clone(), snapshot_bytes, limits);
        let watcher = watch_node(raft.clone(), metrics.clone(), purgeable, Arc::clone(&sole_leader));
        let tasks = Tasks { proposer: runtime.get().spawn(task), watcher: runtime.get().spawn(watcher) };
        Group {
            read_index: ReadIndex::new(raft.clone(), health, options.read_timeout),
            raft,
            applied,
            proposer: RwLock::new(Some(Arc::new(proposer))),
            metrics,
            sole_leader,
            sole_voter_reads: options.sole_voter_reads,
            storage,
            data,
            propose_timeout: options.propose_timeout,
            tasks: Mutex::new(Some(tasks)),
            _runtime: runtime,
        }
    }
}

/// Does this node lead, with no other voter? (Who adds a voter has to make this false first.)
fn is_sole_leader(metrics: &RaftMetrics<NodeId, BasicNode>) -> bool {
    let mut voters = metrics.membership_config.membership().voter_ids();
    metrics.running_state.is_ok()
        && metrics.state == ServerState::Leader
        && voters.next() == Some(metrics.id)
        && voters.next().is_none()
}

/// Follows what openraft and the snapshots do.
async fn watch_node(
    raft: Raft,
    mut metrics: watch::Receiver<RaftMetrics<NodeId, BasicNode>>,
    mut purgeable: watch::Receiver<Option<LogId>>,
    sole_leader: Arc<AtomicBool>,
) {
    loop {
        tokio::select! {
            changed = metrics.changed() => {
                // A node that has failed answers no command any more. What it has answered is applied, so it goes on to serve reads.
                if changed.is_err() || metrics.borrow().running_state.is_err() {
                    return;
                }
                sole_leader.store(is_sole_leader(&metrics.borrow_and_update()), Ordering::Release);
            }
            Ok(()) = purgeable.changed() => {
                let upto = *purgeable.borrow_and_update();
                if let Some(upto) = upto && raft.trigger().purge_log(upto.index).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A runtime with one thread that may be dropped anywhere.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new(options: &GroupOptions) -> Result<Self, ConsensusError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("wharf-consensus")
            .enable_all()
            .build();
        runtime.map(|runtime| OwnRuntime(Some(runtime))).map_err(|error| ConsensusError::io(&options.directory, &error))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime is there until it is dropped")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The plain drop would wait, which tokio does not allow in a task.
            runtime.shutdown_background();
        }
    }
}
