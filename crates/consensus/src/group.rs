//! A node of the catalog's group: open or join, propose, read, change the members, shut down.
//!
//! What always holds: while a [`Group`] runs, it holds the lock of its data folder; after [`Group::shutdown`] has returned, nothing of
//! it touches the folder any more and another process may open it. Raft runs on a thread of its own, so that queries that keep
//! all others busy do not delay commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::{Config, ServerState, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use wharf_catalog::{Answer, CatalogError, Envelope, State, state_hash};

use crate::backup::Backup;
use crate::disk::Disk;
use crate::elections::Elections;
use crate::error::ConsensusError;
use crate::hashes::{HashJob, HashQueue, RecentHashes};
use crate::health::Health;
use crate::identity::Identity;
use crate::keeper::{self, member_addresses};
use crate::log_growth::LogGrowth;
use crate::log_storage::SmallRecord;
use crate::log_store::{LogStore, read_small};
use crate::network::{Network, NoTransport};
use crate::node::{Leader, Node};
use crate::options::{GroupOptions, GroupStatus};
use crate::peers::{Caller, Peers};
use crate::proposer::{Limits, Proposer};
use crate::raft_types::{LogId, Member, Metrics, NodeId, Raft, Vote};
use crate::read_index::Rounds;
use crate::runtime::{self, Task, blocking};
use crate::space::Space;
use crate::state_machine::StateMachine;
use crate::transport::Transport;
use crate::wire::{Change, Hello, Join, Request, StateHashAnswer};

/// The number of the node that founds a group.
const FOUNDER: NodeId = 1;

/// How long a shutdown waits for the folder to be left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many snapshots' worth of log is kept at most for members that lag behind.
const KEPT_FOR_MEMBERS: u64 = 4;

/// How often a follower asks for a hash that its leader does not have yet, and how long it waits in between.
const HASH_ATTEMPTS: u32 = 5;
const HASH_PAUSE: Duration = Duration::from_secs(1);

/// A running node of the catalog's group.
pub struct Group {
    node: Arc<Node>,
    tasks: Mutex<Option<Tasks>>,
    /// None when it was started on a runtime that is somebody else's.
    _runtime: Option<OwnRuntime>,
}

/// The tasks besides openraft's.
struct Tasks {
    proposer: Task,
    others: Vec<Task>,
}

/// How a node comes to its group.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// It has one, or founds one.
    Open,
    /// It has one, or joins that of a node at this address.
    Join(String),
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Group {
    /// Opens a data folder and starts a node on it that calls no others. A new folder becomes a group of one. When this returns for
    /// a group of one, the node leads and has applied everything that was ever answered.
    ///
    /// # Errors
    /// [`ConsensusError::Locked`] when another process has the folder, [`ConsensusError::NewerVersion`] when a newer version wrote it,
    /// [`ConsensusError::Damaged`] when something that was acknowledged cannot be read, [`ConsensusError::DiskFull`] and
    /// [`ConsensusError::Io`] as the system says, [`ConsensusError::Failed`] when it takes longer than it may.
    pub async fn open(options: GroupOptions) -> Result<Arc<Group>, ConsensusError> {
        Self::start(options, Entrance::Open, Arc::new(NoTransport)).await
    }

    /// As [`Group::open`], with a way to the other nodes: for a group that others join at `options.address`, and for a member of such
    /// a group that starts again. A member of several does not wait here for the others, since they cannot reach it before
    /// [`Group::handle`] is served.
    ///
    /// # Errors
    /// As for [`Group::open`].
    pub async fn open_with(options: GroupOptions, transport: Arc<dyn Transport>) -> Result<Arc<Group>, ConsensusError> {
        Self::start(options, Entrance::Open, transport).await
    }

    /// Starts a node on a data folder that joins the group of the node at `contact` (`host:port`), if it has not joined before. When
    /// this returns, the group knows it and calls it at `options.address`; it catches up as soon as [`Group::handle`] is
    /// served there, and then gets a vote if there is one to give.
    ///
    /// # Errors
    /// As for [`Group::open`]; [`ConsensusError::JoinFailed`] when the group does not take it in within `startup_timeout`, or the folder
    /// has a catalog of its own.
    pub async fn join(
        options: GroupOptions,
        transport: Arc<dyn Transport>,
        contact: &str,
    ) -> Result<Arc<Group>, ConsensusError> {
        Self::start(options, Entrance::Join(contact.to_owned()), transport).await
    }

    async fn start(
        options: GroupOptions,
        entrance: Entrance,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<Group>, ConsensusError> {
        let runtime = OwnRuntime::new(&options)?;
        let timeout = options.startup_timeout;
        let starting = runtime.get().spawn(async move {
            let opening = options.clone();
            let opened = tokio::task::spawn_blocking(move || Disk::open(&opening)).await;
            let disk =
                opened.unwrap_or_else(|error| Err(ConsensusError::damaged(&options.directory, error.to_string())))?;
            Self::start_on(disk, options, entrance, transport, Hello::OURS).await
        });
        let (abort, started) = (starting.abort_handle(), tokio::time::timeout(timeout, starting).await);
        let mut group = match started {
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
        group._runtime = Some(runtime);
        Ok(Arc::new(group))
    }

    /// Starts a node on a disk, on the runtime that this is called on.
    pub(crate) async fn start_on(
        disk: Disk,
        options: GroupOptions,
        entrance: Entrance,
        transport: Arc<dyn Transport>,
        hello: Hello,
    ) -> Result<Group, ConsensusError> {
        let identity = identify(&disk, &options, &entrance, &transport, hello).await?;
        let caller = Caller { cluster: identity.cluster, node: identity.node, hello };
        let peers = Arc::new(Peers::new(transport, caller));
        let health = Arc::new(Health::default());
        let (storage, data) = (Arc::downgrade(&disk.storage), Arc::downgrade(&disk.data));
        let vote = read_small::<Vote>(disk.storage.as_ref(), SmallRecord::Vote, "vote");
        let vote = vote.map_err(|error| ConsensusError::io(&disk.folder, &error))?;
        let resumed = vote.filter(|vote| vote.is_committed() && vote.leader_id.node_id == identity.node);
        let resumed = resumed.map(|vote| (vote, disk.last_log_index));
        let (path, covered) = (disk.folder.join("log"), disk.snapshots.covered());
        let log = LogStore::new(disk.storage, disk.mark, covered, Arc::clone(&health), &path);
        let log = log.map_err(|error| ConsensusError::io(&disk.folder, &error))?;
        drop(disk.data);
        let (purgeable, snapshot_bytes) = (disk.snapshots.purgeable(), disk.snapshots.newest_bytes());
        let (hash_queue, hash_jobs) = HashQueue::new(options.compare_every);
        let (growth, snapshot_due) = LogGrowth::new(options.snapshot_log_bytes, Arc::clone(&snapshot_bytes));
        let (machine, applied) =
            StateMachine::new(Arc::new(disk.snapshots), disk.newest, Arc::clone(&health), hash_queue, growth);
        let config = Arc::new(raft_config(&options)?);
        let elections = Arc::new(Elections::new());
        let network = Network { peers: Arc::clone(&peers), elections: Arc::clone(&elections) };
        let raft = Raft::new(identity.node, config, network, log, machine).await;
        let raft = raft.map_err(|fatal| health.failure_or(fatal))?;
        found_or_lead(&raft, &identity, &options, disk.last_log_index).await.map_err(|error| match error {
            damaged @ ConsensusError::Damaged { .. } => damaged,
            error => health.failure().unwrap_or(error),
        })?;

        let paused = watch::Sender::new(false);
        let limits =
            Limits { waiting_commands: options.max_waiting_commands.max(1), command_bytes: options.max_command_bytes };
        let space = Space { folder: disk.folder, free_bytes: options.min_free_bytes, snapshot_bytes };
        let (proposer, batcher) =
            Proposer::new(raft.clone(), Arc::clone(&health), space.clone(), limits, paused.subscribe());
        let metrics = raft.metrics();
        let sole_leader = AtomicBool::new(is_sole_leader(&metrics.borrow()));
        let node = Arc::new(Node {
            id: identity.node,
            raft,
            metrics,
            applied,
            health,
            options,
            peers,
            proposer: RwLock::new(Some(Arc::new(proposer))),
            sole_leader,
            growing: AtomicBool::new(false),
            paused,
            changing: tokio::sync::Mutex::new(()),
            resumed,
            turn: AtomicUsize::new(0),
            reads: Rounds::default(),
            confirmations: Rounds::default(),
            hashes: RecentHashes::default(),
            elections,
            space,
            identity: Mutex::new(identity),
            files: disk.files,
            storage,
            data,
        });
        let others = vec![
            Task::spawn(watch_node(Arc::clone(&node), purgeable, snapshot_due)),
            Task::spawn(Arc::clone(&node).keep()),
            Task::spawn(compare_states(Arc::clone(&node), hash_jobs)),
        ];
        let tasks = Tasks { proposer: Task::spawn(batcher), others };
        Ok(Group { node, tasks: Mutex::new(Some(tasks)), _runtime: None })
    }

    /// Has a command applied, wherever the leader is; returns after it is durable on more than half of the voters and applied by the
    /// leader. While there is no leader, or another, it waits. A retry with the same request id is safe after any error.
    ///
    /// # Errors
    /// The outer error is the node's: the command was not taken ([`ConsensusError::Overloaded`], [`ConsensusError::DiskFull`],
    /// [`ConsensusError::CommandTooLarge`], [`ConsensusError::OlderMembers`], [`ConsensusError::NoLeader`]), or it is not known whether it
    /// will be applied ([`ConsensusError::Timeout`], [`ConsensusError::Stopped`], [`ConsensusError::Failed`]). The inner error
    /// is the catalog's answer.
    pub async fn propose(&self, envelope: Envelope) -> Result<Result<Answer, CatalogError>, ConsensusError> {
        self.node.propose(&envelope).await
    }

    /// The state with everything that was answered before the call, by any node.
    ///
    /// # Errors
    /// [`ConsensusError::ReadTimeout`] when that cannot be confirmed in time, [`ConsensusError::Stopped`] after shutdown, or the
    /// error that has stopped the node.
    pub async fn read(&self) -> Result<Arc<State>, ConsensusError> {
        self.node.read().await
    }

    /// A backup of the catalog with everything that was answered before the call, by any node. The time, milliseconds since 1970, and
    /// where the tables are, are noted in it.
    ///
    /// # Errors
    /// As for [`Group::read`].
    pub async fn backup(&self, taken_ms: i64, warehouse: String) -> Result<Backup, ConsensusError> {
        self.node.read().await?;
        let cluster = self.node.identity.lock().cluster;
        Ok(Backup::of(self.node.applied.get(), cluster, taken_ms, warehouse))
    }

    /// The state as far as this node has applied it.
    pub fn local(&self) -> Arc<State> {
        self.node.applied.state()
    }

    /// Answers what has arrived on the peer port for consensus. Always gives an answer, if only one that says why not.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        self.node.handle(request).await
    }

    /// Takes a node out of the group; its number is never used again. If it leads, another voter takes the lead first.
    ///
    /// # Errors
    /// [`ConsensusError::UnknownMember`], [`ConsensusError::ChangeRefused`], or [`ConsensusError::NoLeader`] when nobody could make
    /// the change in time.
    pub async fn remove(&self, node: u64) -> Result<(), ConsensusError> {
        self.node.request_change(Change::Remove(node)).await
    }

    /// Hands the lead over to a voter. Takes somewhat longer than the longest election timeout; commands wait meanwhile.
    ///
    /// # Errors
    /// As for [`Group::remove`].
    pub async fn transfer_leader(&self, node: u64) -> Result<(), ConsensusError> {
        self.node.request_change(Change::Transfer(node)).await
    }

    /// What the node is doing.
    pub fn status(&self) -> GroupStatus {
        self.node.status()
    }

    /// The error that has stopped the node, if there was one: then it serves what it has applied, and nothing else.
    pub fn failure(&self) -> Option<ConsensusError> {
        self.node.health.failure()
    }

    /// Asks for a snapshot now, whatever `snapshot_every` says; it is written in the background.
    ///
    /// # Errors
    /// The error that has stopped the node.
    pub async fn trigger_snapshot(&self) -> Result<(), ConsensusError> {
        let triggered = self.node.raft.trigger().snapshot().await;
        triggered.map_err(|fatal| ConsensusError::Failed { reason: fatal.to_string() })
    }

    /// Answers what was taken, takes nothing more, and leaves the folder. A second call does nothing.
    ///
    /// # Errors
    /// [`ConsensusError::Failed`] when the folder is not left within some ten seconds.
    pub async fn shutdown(&self) -> Result<(), ConsensusError> {
        self.node.proposer.write().take();
        let Some(tasks) = self.tasks.lock().take() else {
            return Ok(());
        };
        // The task ends when everything in the queue has been answered.
        tasks.proposer.end_within(self.node.options.propose_timeout).await;
        tasks.others.iter().for_each(Task::abort);
        self.node.sole_leader.store(false, Ordering::Release);
        // A disk that hangs must not hang the shutdown.
        let stopped = runtime::within(CLOSE_TIMEOUT, self.node.raft.shutdown()).await;
        stopped
            .ok_or_else(|| "the log is still being written".to_owned())
            .and_then(|stopped| stopped.map_err(|error| error.to_string()))
            .map_err(|reason| ConsensusError::Failed { reason })?;
        let left = async {
            while self.node.data.strong_count() > 0 {
                runtime::sleep(Duration::from_millis(1)).await;
            }
        };
        let left = runtime::within(CLOSE_TIMEOUT, left).await;
        left.ok_or_else(|| ConsensusError::Failed { reason: "the data folder is still in use".to_owned() })
    }

    /// The node, for the simulation.
    #[cfg(test)]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

/// Who the node is; written down when that was not known before.
async fn identify(
    disk: &Disk,
    options: &GroupOptions,
    entrance: &Entrance,
    transport: &Arc<dyn Transport>,
    hello: Hello,
) -> Result<Identity, ConsensusError> {
    let known = disk.identity.clone();
    if let Some(identity) = known.as_ref().filter(|identity| identity.has_joined()) {
        return Ok(identity.clone());
    }
    let mut identity = known.unwrap_or_else(|| Identity::new(runtime::unique_id()));
    match entrance {
        Entrance::Open => {
            (identity.cluster, identity.node) = (runtime::unique_id(), FOUNDER);
            identity.members = vec![(FOUNDER, options.address.clone())];
        }
        Entrance::Join(contact) => {
            let refused =
                |reason: &str| ConsensusError::JoinFailed { contact: contact.clone(), reason: reason.to_owned() };
            if disk.last_log_index.is_some() || disk.newest.is_some() {
                return Err(refused("the data folder has a catalog of its own"));
            }
            if options.address.is_empty() {
                return Err(refused("this node has no address at which the others could reach it"));
            }
            // Before anybody hears of it.
            write_identity(disk, &identity).await?;
            let nobody = Caller { cluster: uuid::Uuid::nil(), node: 0, hello };
            let peers = Peers::new(Arc::clone(transport), nobody);
            let (instance, address) = (identity.instance, options.address.clone());
            let join = Join { instance, address, catalog: hello.catalog };
            // A little earlier than the start itself, whose error would say less.
            let deadline = runtime::now() + options.startup_timeout.mul_f64(0.9);
            let joined = keeper::join(&peers, contact, &join, deadline).await?;
            tracing::info!(node = joined.node, cluster = %joined.cluster, "joined the group");
            (identity.cluster, identity.node, identity.members) = (joined.cluster, joined.node, joined.members);
        }
    }
    write_identity(disk, &identity).await?;
    Ok(identity)
}

async fn write_identity(disk: &Disk, identity: &Identity) -> Result<(), ConsensusError> {
    let (files, identity) = (Arc::clone(&disk.files), identity.clone());
    blocking(move || identity.write(files.as_ref())).await?;
    (disk.upgrade)()
}

fn raft_config(options: &GroupOptions) -> Result<Config, ConsensusError> {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    let (shortest, longest) = options.election_timeout;
    let config = Config {
        cluster_name: "wharf".to_owned(),
        // The only voter is elected when it asks to be, so these are not waited for.
        heartbeat_interval: milliseconds(options.heartbeat),
        election_timeout_min: milliseconds(shortest),
        election_timeout_max: milliseconds(longest),
        install_snapshot_timeout: milliseconds(options.propose_timeout),
        snapshot_max_chunk_size: options.snapshot_chunk_bytes.max(1),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every.max(1)),
        // Never by itself: the log is purged only as far as the snapshot before the newest reaches (see `snapshots`).
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    config.validate().map_err(|error| ConsensusError::Failed { reason: error.to_string() })
}

/// Founds a group on a new folder, and has the only voter of a group lead with all of its log applied.
async fn found_or_lead(
    raft: &Raft,
    identity: &Identity,
    options: &GroupOptions,
    last_log_index: Option<u64>,
) -> Result<(), ConsensusError> {
    let failed = |error: &dyn std::fmt::Display| ConsensusError::Failed { reason: error.to_string() };
    let initialized = raft.is_initialized().await.map_err(|error| failed(&error))?;
    if !initialized && identity.node == FOUNDER {
        if identity.members.len() > 1 {
            let reason = "it has no log, though the node is a member of a group of several";
            return Err(ConsensusError::damaged(&options.directory, reason));
        }
        let founder = Member { addr: options.address.clone(), instance: identity.instance };
        let members = BTreeMap::from([(FOUNDER, founder)]);
        raft.initialize(members).await.map_err(|error| failed(&error))?;
    }
    let mut voters = raft.metrics().borrow().membership_config.membership().voter_ids().collect::<Vec<_>>();
    voters.dedup();
    if initialized && voters != [identity.node] || !initialized && identity.node != FOUNDER {
        // The others cannot reach this node yet.
        return Ok(());
    }
    if initialized {
        // Does nothing when this node led before: it has come back as the leader.
        raft.trigger().elect().await.map_err(|error| failed(&error))?;
    }
    // The caller has a limit on the time this takes.
    let leads = |metrics: &Metrics| {
        metrics.running_state.is_err()
            || metrics.state == ServerState::Leader && metrics.last_applied.map(|last| last.index) >= last_log_index
    };
    raft.wait(None).metrics(leads, "to lead with all of the log applied").await.map_err(|error| failed(&error))?;
    raft.ensure_linearizable().await.map_err(|error| failed(&error))?;
    Ok(())
}

/// Does this node lead, with no other voter? (Who adds a voter sets `growing` first.)
fn is_sole_leader(metrics: &Metrics) -> bool {
    let mut voters = metrics.membership_config.membership().voter_ids();
    metrics.running_state.is_ok()
        && metrics.state == ServerState::Leader
        && voters.next() == Some(metrics.id)
        && voters.all(|voter| voter == metrics.id)
}

/// Follows what openraft and the snapshots do.
async fn watch_node(node: Arc<Node>, mut purgeable: watch::Receiver<Option<LogId>>, snapshot_due: Arc<Notify>) {
    let mut metrics = node.metrics.clone();
    // openraft purges what it was asked to as soon as nothing uses it any more, so it is asked once. (Asking changes the metrics.)
    let mut asked = None;
    loop {
        tokio::select! {
            biased;
            () = snapshot_due.notified() => {
                if node.raft.trigger().snapshot().await.is_err() {
                    return;
                }
                continue;
            }
            changed = metrics.changed() => {
                // A node that has failed answers no command any more. What it has answered is applied, so it goes on to serve reads.
                if changed.is_err() || metrics.borrow().running_state.is_err() {
                    return;
                }
            }
            Ok(()) = purgeable.changed() => {}
        }
        let now = metrics.borrow_and_update().clone();
        node.sole_leader.store(is_sole_leader(&now), Ordering::Release);
        let upto = purge_upto(&node, &now, *purgeable.borrow_and_update());
        if upto > asked {
            asked = upto;
            if let Some(upto) = upto
                && node.raft.trigger().purge_log(upto).await.is_err()
            {
                return;
            }
        }
        if let Err(error) = note_members(&node, &now).await {
            tracing::warn!(%error, "the members' addresses could not be written");
        }
    }
}

/// How far the log can be purged now: as far as the snapshots allow, but what members lack who are in touch stays a while, since
/// entries cost them less than a snapshot.
fn purge_upto(node: &Node, metrics: &Metrics, purgeable: Option<LogId>) -> Option<u64> {
    let allowed = purgeable?.index;
    let in_touch = |member: &NodeId| {
        node.peers.last_answer(*member).is_some_and(|answer| answer < node.options.election_timeout.1 * 2)
    };
    let matched = metrics.replication.iter().flatten().filter(|(member, _)| in_touch(member));
    let needed = matched.map(|(_, matched)| matched.map_or(0, |matched| matched.index)).min();
    let oldest_kept = allowed.saturating_sub(node.options.snapshot_every.saturating_mul(KEPT_FOR_MEMBERS));
    let needed = needed.filter(|needed| *needed >= allowed || log_has_room(node));
    let upto = needed.map_or(allowed, |needed| needed.min(allowed).max(oldest_kept));
    (metrics.purged.map(|purged| purged.index) < Some(upto)).then_some(upto)
}

/// May the log be longer for the sake of members that lag behind?
fn log_has_room(node: &Node) -> bool {
    let limit_bytes = node.options.snapshot_log_bytes.saturating_mul(KEPT_FOR_MEMBERS);
    let taken = node.storage.upgrade().and_then(|storage| storage.size_on_disk().ok());
    taken.is_some_and(|bytes| bytes < limit_bytes)
}

/// Writes the members down when they have changed.
async fn note_members(node: &Node, metrics: &Metrics) -> Result<(), ConsensusError> {
    let members = member_addresses(metrics);
    let identity = {
        let mut identity = node.identity.lock();
        if members.is_empty() || identity.members == members {
            return Ok(());
        }
        identity.members = members;
        identity.clone()
    };
    let files = Arc::clone(&node.files);
    blocking(move || identity.write(files.as_ref())).await
}

/// Hashes states whose index has its turn, and compares them with the leader's.
async fn compare_states(node: Arc<Node>, mut jobs: mpsc::Receiver<HashJob>) {
    while let Some((index, state)) = jobs.recv().await {
        let Ok(hash) = blocking(move || Ok(state_hash(&state))).await else { continue };
        node.hashes.put(index, hash);
        let mut differed = false;
        for _ in 0..HASH_ATTEMPTS {
            // Whoever leads is compared with by the others.
            let Leader::Other(leader) = node.leader() else { break };
            let request = Request::StateHash { index, catalog: node.peers.caller().hello.catalog };
            match node.peers.call::<StateHashAnswer>(&leader, &request, HASH_PAUSE).await {
                Ok(Some(theirs)) if theirs == hash => break,
                Ok(Some(_)) => match node.peers.hello(&leader, HASH_PAUSE).await {
                    // It may write an equal state in other bytes.
                    Ok(hello) if hello.catalog.is_none() => break,
                    // The hash may have come from the build before, which ran in its place until now.
                    Ok(_) if !differed => differed = true,
                    Ok(_) => {
                        let error = ConsensusError::Diverged { index };
                        tracing::error!(node = node.id, leader = leader.id, index, "the states of two replicas differ");
                        node.fail(error).await;
                        return;
                    }
                    Err(_) => runtime::sleep(HASH_PAUSE).await,
                },
                Ok(None) | Err(_) => runtime::sleep(HASH_PAUSE).await,
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
