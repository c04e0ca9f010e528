//! A node at work: what it proposes, reads and tells about itself. `group.rs` starts and stops it, `handler.rs` answers its peers,
//! `keeper.rs` looks after the members.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, RaftError};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use wharf_catalog::{Envelope, State, encode_envelope};

use crate::elections::Elections;
use crate::error::ConsensusError;
use crate::files::Files;
use crate::hashes::RecentHashes;
use crate::health::Health;
use crate::identity::Identity;
use crate::log_storage::LogStorage;
use crate::options::{GroupOptions, GroupStatus, MemberStatus, Role};
use crate::peers::{CallError, Peers};
use crate::proposer::Proposer;
use crate::raft_types::{CommandAnswer, Metrics, NodeId, Raft, Vote};
use crate::read_index::{RoundResult, Rounds};
use crate::runtime::{self, Moment};
use crate::space::Space;
use crate::state_machine::SharedApplied;
use crate::transport::{Peer, TransportError};
use crate::wire::{ProposeAnswer, ProposeError, ReadIndexAnswer, Refusal, Request};

/// How long someone waits who found no leader, unless he hears of one before.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A running node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) raft: Raft,
    pub(crate) metrics: watch::Receiver<Metrics>,
    pub(crate) applied: Arc<SharedApplied>,
    pub(crate) health: Arc<Health>,
    pub(crate) options: GroupOptions,
    pub(crate) peers: Arc<Peers>,
    /// None once the group is shutting down.
    pub(crate) proposer: RwLock<Option<Arc<Proposer>>>,
    /// Does this node lead, with no other voter?
    pub(crate) sole_leader: AtomicBool,
    /// Is, or was, a voter being added? Set before that begins, so that nobody takes this node for the only voter any more.
    pub(crate) growing: AtomicBool,
    /// Is the lead being handed over? Then commands and read rounds wait.
    pub(crate) paused: watch::Sender<bool>,
    /// Held by who changes the members.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// The lead that this node had when it started, if it had one, and how far its log went then.
    pub(crate) resumed: Option<(Vote, Option<u64>)>,
    /// Whose turn it is to be asked who leads.
    pub(crate) turn: AtomicUsize,
    /// Rounds for the readers of this node.
    pub(crate) reads: Rounds,
    /// Rounds of a leader, for its own readers and those of others.
    pub(crate) confirmations: Rounds,
    pub(crate) hashes: RecentHashes,
    pub(crate) elections: Arc<Elections>,
    pub(crate) space: Space,
    pub(crate) identity: Mutex<Identity>,
    /// Where the identity is written.
    pub(crate) files: Arc<dyn Files>,
    pub(crate) storage: Weak<dyn LogStorage>,
    pub(crate) data: Weak<dyn Any + Send + Sync>,
}

/// Who leads, as far as a node knows.
pub(crate) enum Leader {
    /// The node itself.
    Me,
    Other(Peer),
    Unknown,
}

/// What came of asking one node.
enum Attempt<T> {
    Done(T),
    /// Another node may know more; which one, if that was said. It is certain that nothing was done here.
    Elsewhere(Option<Peer>),
    /// There was no answer, or none that says whether it was done.
    Unanswered,
}

impl Node {
    /// Has a command applied, wherever the leader is.
    pub(crate) async fn propose(&self, envelope: &Envelope) -> Result<CommandAnswer, ConsensusError> {
        let after = self.options.propose_timeout;
        let deadline = runtime::now() + after;
        let (format, command) = (envelope.format(), encode_envelope(envelope));
        self.proposer()?.check_size(&command)?;
        let (mut hint, mut hops) = (None, 0);
        // May someone have taken it?
        let mut sent = false;
        loop {
            let leader = hint.take().map_or_else(|| self.leader(), Leader::Other);
            let attempt = match self.propose_to(&leader, format, &command, deadline).await {
                // Who took it may have known more than who leads now.
                Err(ConsensusError::OlderMembers { .. }) if sent => Attempt::Unanswered,
                attempt => attempt?,
            };
            match attempt {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Elsewhere(next) => hint = next,
                Attempt::Unanswered => sent = true,
            }
            if runtime::left(deadline).is_zero() {
                return Err(if sent { ConsensusError::Timeout { after } } else { ConsensusError::NoLeader { after } });
            }
            self.before_retry(hint.is_some(), &mut hops, deadline).await;
        }
    }

    async fn propose_to(
        &self,
        leader: &Leader,
        format: u16,
        command: &[u8],
        deadline: Moment,
    ) -> Result<Attempt<CommandAnswer>, ConsensusError> {
        match leader {
            Leader::Me => match self.propose_as_leader(format, command.to_vec(), deadline).await {
                Err(ConsensusError::NotLeader) => Ok(Attempt::Unanswered),
                // The caller says how long he has waited in all.
                Err(ConsensusError::Timeout { .. }) => Ok(Attempt::Unanswered),
                answer => answer.map(Attempt::Done),
            },
            Leader::Other(peer) => {
                self.check_running()?;
                if !self.leader_reads(peer, format, deadline).await? {
                    return Ok(Attempt::Elsewhere(None));
                }
                let timeout = self.attempt_timeout(deadline);
                let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let request = Request::Propose { timeout_ms, command: Bytes::copy_from_slice(command) };
                match self.call_leader::<ProposeAnswer>(peer, &request, timeout).await {
                    Ok(Ok(answer)) => Ok(Attempt::Done(answer)),
                    // There may be time left here.
                    Ok(Err(ProposeError::Timeout { .. })) => Ok(Attempt::Unanswered),
                    Ok(Err(error)) => error.into_error().map_or(Ok(Attempt::Unanswered), Err),
                    Err(error) => self.elsewhere(peer, error),
                }
            }
            Leader::Unknown => {
                self.check_running()?;
                Ok(Attempt::Elsewhere(self.somebody()))
            }
        }
    }

    /// The state with everything that was answered before the call.
    pub(crate) async fn read(self: &Arc<Self>) -> Result<Arc<State>, ConsensusError> {
        self.proposer()?;
        // Nobody else can have answered a command, and this node applies a command before it answers.
        let sole = self.sole_leader.load(Ordering::Acquire) && !self.growing.load(Ordering::Acquire);
        // One of several that has stopped does not come to know any more what the others answer.
        if let Some(error) = self.health.failure()
            && (!sole || matches!(error, ConsensusError::Diverged { .. }))
        {
            return Err(error);
        }
        if self.options.sole_voter_reads && sole {
            return Ok(self.applied.state());
        }
        #[cfg(test)]
        if crate::simulation::has_planted(crate::simulation::PlantedBug::SkipReadIndex) {
            return Ok(self.applied.state());
        }
        // Boxed, so that what is asked by every statement of a group of one stays small.
        Box::pin(self.read_in_a_round()).await
    }

    /// The state as of a read index that is found after the call.
    async fn read_in_a_round(self: &Arc<Self>) -> Result<Arc<State>, ConsensusError> {
        let after = self.options.read_timeout;
        let read = self.reads.join(|| Arc::clone(self).read_round().boxed());
        match runtime::within(after, read).await {
            Some(round) => round.map(|_| self.applied.state()),
            None => Err(ConsensusError::ReadTimeout { after }),
        }
    }

    /// Finds a read index, wherever the leader is, and applies that far.
    async fn read_round(self: Arc<Self>) -> RoundResult {
        let after = self.options.read_timeout;
        let deadline = runtime::now() + after;
        let (mut hint, mut hops) = (None, 0);
        let index = loop {
            let leader = hint.take().map_or_else(|| self.leader(), Leader::Other);
            match self.read_index_of(&leader, deadline).await? {
                Attempt::Done(index) => break index,
                Attempt::Elsewhere(next) => hint = next,
                Attempt::Unanswered => {}
            }
            if runtime::left(deadline).is_zero() {
                return Err(ConsensusError::ReadTimeout { after });
            }
            self.before_retry(hint.is_some(), &mut hops, deadline).await;
        };
        match runtime::until(deadline, self.applied.wait_for(index)).await {
            Some(true) => Ok(index),
            Some(false) => Err(ConsensusError::Stopped),
            None => Err(ConsensusError::ReadTimeout { after }),
        }
    }

    async fn read_index_of(
        self: &Arc<Self>,
        leader: &Leader,
        deadline: Moment,
    ) -> Result<Attempt<Option<u64>>, ConsensusError> {
        match leader {
            Leader::Me => match self.confirm().await {
                Err(ConsensusError::NotLeader) => Ok(Attempt::Elsewhere(None)),
                index => index.map(Attempt::Done),
            },
            Leader::Other(peer) => {
                let timeout = self.attempt_timeout(deadline);
                match self.call_leader::<ReadIndexAnswer>(peer, &Request::ReadIndex, timeout).await {
                    Ok(index) => Ok(Attempt::Done(index)),
                    Err(error) => self.elsewhere(peer, error),
                }
            }
            Leader::Unknown => {
                self.check_running()?;
                Ok(Attempt::Elsewhere(self.somebody()))
            }
        }
    }

    /// The read index of this node as the leader: a round that begins after this call has found that it still leads.
    pub(crate) async fn confirm(self: &Arc<Self>) -> RoundResult {
        self.confirmations.join(|| Arc::clone(self).confirmation().boxed()).await
    }

    async fn confirmation(self: Arc<Self>) -> RoundResult {
        // While the lead is handed over, a round would make the others hold on to this leader.
        drop(self.paused.subscribe().wait_for(|paused| !paused).await);
        match self.raft.get_read_log_id().await {
            Ok((read, _)) => Ok(read.map(|read| read.index).max(self.resumed_index())),
            Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )) => Err(ConsensusError::NotLeader),
            Err(RaftError::Fatal(fatal)) => Err(self.health.failure_or(fatal)),
        }
    }

    /// A leader that starts again leads on without an election when nobody else was elected meanwhile. What it knows to be committed
    /// may then be less than what it answered before; openraft's read index knows no better. All that it answered is in the log that
    /// it started with.
    fn resumed_index(&self) -> Option<u64> {
        #[cfg(test)]
        if crate::simulation::has_planted(crate::simulation::PlantedBug::TrustCommittedMark) {
            return None;
        }
        let (vote, last_log_index) = self.resumed?;
        if self.metrics.borrow().vote == vote { last_log_index } else { None }
    }

    /// Asks a node that leads, until it is known that another does: one that is gone without a word would not answer before the timeout.
    async fn call_leader<T: DeserializeOwned + Send>(
        &self,
        peer: &Peer,
        request: &Request,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let mut metrics = self.metrics.clone();
        let known = metrics.borrow().current_leader;
        let another = async {
            let is_another = |leader: Option<NodeId>| leader != known && leader.is_some_and(|leader| leader != peer.id);
            if metrics.wait_for(|metrics| is_another(metrics.current_leader)).await.is_err() {
                // The node has stopped; the call ends by itself.
                std::future::pending::<()>().await;
            }
        };
        match select(std::pin::pin!(self.peers.call(peer, request, timeout)), std::pin::pin!(another)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(TransportError::Timeout.into()),
        }
    }

    /// What follows from a call that was not answered.
    fn elsewhere<T>(&self, peer: &Peer, error: CallError) -> Result<Attempt<T>, ConsensusError> {
        tracing::debug!(node = peer.id, address = peer.address, %error, "call not answered");
        match error {
            CallError::Refused(Refusal::NotMember(node)) if node == self.id => Err(ConsensusError::Removed { node }),
            CallError::Refused(Refusal::NotLeader { leader: Some((id, address)) })
                if id != self.id && id != peer.id =>
            {
                Ok(Attempt::Elsewhere(Some(Peer { id, address })))
            }
            CallError::Refused(Refusal::Failed(_)) | CallError::Transport(_) => Ok(Attempt::Unanswered),
            CallError::Refused(_) => Ok(Attempt::Elsewhere(None)),
        }
    }

    /// How long one call to a leader may take: not so long that a leader's death takes all the time there is.
    fn attempt_timeout(&self, deadline: Moment) -> Duration {
        runtime::left(deadline).min(self.options.election_timeout.1 * 2)
    }

    /// Waits until another leads, or nobody, a moment at most: what else changes in a group is no reason to ask again. Who was told where
    /// the leader is does not wait, but two nodes that each take the other for the leader must not keep him going.
    async fn before_retry(&self, has_hint: bool, hops: &mut u32, deadline: Moment) {
        *hops += 1;
        if has_hint && !hops.is_multiple_of(2) {
            return;
        }
        let pause = RETRY_PAUSE.min(runtime::left(deadline));
        let mut metrics = self.metrics.clone();
        let lead = |metrics: &Metrics| (metrics.current_leader, metrics.state);
        let known = lead(&metrics.borrow());
        drop(runtime::within(pause, metrics.wait_for(|metrics| lead(metrics) != known)).await);
        // Changes may come thick and fast.
        runtime::sleep(Duration::from_millis(5).min(pause)).await;
    }

    /// Who leads.
    pub(crate) fn leader(&self) -> Leader {
        let metrics = self.metrics.borrow();
        if metrics.state == ServerState::Leader {
            return Leader::Me;
        }
        let other = metrics.current_leader.filter(|leader| *leader != self.id);
        let member = other.and_then(|id| Some((id, metrics.membership_config.membership().get_node(&id)?)));
        match member {
            Some((id, member)) => Leader::Other(Peer { id, address: member.addr.clone() }),
            None => Leader::Unknown,
        }
    }

    /// A member who may know who leads: each in turn. A node that was taken out of the group hears of it only so.
    fn somebody(&self) -> Option<Peer> {
        let metrics = self.metrics.borrow();
        let nodes = metrics.membership_config.membership().nodes().filter(|(id, _)| **id != self.id);
        let others = nodes.collect::<Vec<_>>();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(others.len())?;
        let (id, member) = others[turn];
        Some(Peer { id: *id, address: member.addr.clone() })
    }

    /// Number and address of the leader, for those who asked the wrong node.
    pub(crate) fn leader_hint(&self) -> Option<(NodeId, String)> {
        match self.leader() {
            Leader::Other(peer) => Some((peer.id, peer.address)),
            Leader::Me | Leader::Unknown => None,
        }
    }

    /// A member that is not this node.
    pub(crate) fn peer(&self, node: NodeId) -> Option<Peer> {
        let metrics = self.metrics.borrow();
        let member = metrics.membership_config.membership().get_node(&node)?;
        Some(Peer { id: node, address: member.addr.clone() })
    }

    /// Takes commands, until the node stops.
    pub(crate) fn proposer(&self) -> Result<Arc<Proposer>, ConsensusError> {
        self.proposer.read().clone().ok_or(ConsensusError::Stopped)
    }

    /// The error that has stopped the node.
    fn check_running(&self) -> Result<(), ConsensusError> {
        self.proposer()?;
        match (self.health.failure(), &self.metrics.borrow().running_state) {
            (Some(failure), _) => Err(failure),
            (None, Err(fatal)) => Err(ConsensusError::Failed { reason: fatal.to_string() }),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Stops for good after an error.
    pub(crate) async fn fail(&self, error: ConsensusError) {
        self.health.fail(error);
        drop(self.raft.shutdown().await);
    }

    /// What the node is doing.
    pub(crate) fn status(&self) -> GroupStatus {
        let storage = self.storage.upgrade();
        let cluster = self.identity.lock().cluster;
        let metrics = self.metrics.borrow();
        GroupStatus {
            node: self.id,
            cluster,
            leads: metrics.state == ServerState::Leader,
            leader: metrics.current_leader,
            members: self.members(&metrics),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index,
            applied_index: self.applied.index(),
            snapshot_index: metrics.snapshot.map(|last| last.index),
            purged_index: metrics.purged.map(|last| last.index),
            log_bytes_on_disk: storage.and_then(|storage| storage.size_on_disk().ok()).unwrap_or(0),
        }
    }

    fn members(&self, metrics: &Metrics) -> Vec<MemberStatus> {
        let membership = metrics.membership_config.membership();
        let voters = membership.voter_ids().collect::<std::collections::BTreeSet<_>>();
        let members = membership.nodes().map(|(id, member)| MemberStatus {
            node: *id,
            address: member.addr.clone(),
            role: match voters.contains(id) {
                _ if metrics.current_leader == Some(*id) => Role::Leader,
                true => Role::Voter,
                false => Role::Learner,
            },
            last_contact: self.peers.last_contact(*id),
            lag: lag(metrics, *id),
        });
        members.collect()
    }
}

/// How many entries a member lacks, as its leader knows.
pub(crate) fn lag(metrics: &Metrics, node: NodeId) -> Option<u64> {
    let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
    let matched = match metrics.replication.as_ref()?.get(&node) {
        Some(matched) => matched.map(|matched| matched.index),
        None if node == metrics.id => metrics.last_log_index,
        None => return None,
    };
    Some(next(metrics.last_log_index).saturating_sub(next(matched)))
}
