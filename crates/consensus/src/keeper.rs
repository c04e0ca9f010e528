//! Looks after the members: who joins, votes, is replaced, leaves, leads.
//!
//! What always holds: one change at a time; numbers are never used again, since they come from a counter that every replica has; a
//! node votes only when its log is nearly that of the leader. openraft changes voters by joint consensus, so that the old and the
//! new majority agree; what a leader leaves half done, the next completes.
//!
//! openraft 0.9 cannot hand the lead over. Its nodes support no other node as long as they hear of a leader (the lease, as long
//! as the longest election timeout). So a leader that hands over is silent for that long, takes no commands meanwhile, and
//! then has the other node stand for election, before the timeouts of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};

use crate::error::ConsensusError;
use crate::node::{Leader, Node, lag};
use crate::raft_types::{Member, Metrics, NodeId};
use crate::runtime::{self, Moment};
use crate::transport::Peer;
use crate::wire::{Change, ChangeAnswer, ChangeError, Join, Joined, Refusal, Request};

/// Up to so many entries behind the leader, a node counts as caught up.
const CAUGHT_UP: u64 = 64;

/// How long to wait before a change is tried again while another is under way.
const CHANGE_PAUSE: Duration = Duration::from_millis(50);

/// So many election timeouts a leader without room on its disk waits before it hands over again: the others may have none either.
const HAND_OVER_PAUSE: u32 = 20;

impl Node {
    /// Takes a node in, or tells a member that asks again who it is. For the leader.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`], or why it was not possible in time: asking again is safe.
    pub(crate) async fn admit_member(self: &Arc<Self>, join: &Join) -> Result<Joined, ConsensusError> {
        let deadline = runtime::now() + self.options.propose_timeout;
        let _changing = self.changing.lock().await;
        // Everything that an earlier leader has given out is applied after this.
        let index = self.confirm().await?;
        if runtime::until(deadline, self.applied.wait_for(index)).await != Some(true) {
            return Err(ConsensusError::Timeout { after: self.options.propose_timeout });
        }
        let member = Member { addr: join.address.clone(), instance: join.instance };
        let known = self.member_of(join);
        let node = match known {
            Some((node, found)) if found == member => node,
            Some((node, _)) => {
                tracing::info!(node, address = join.address, "member has a new address");
                self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, member)])), deadline).await?;
                node
            }
            None => {
                self.check_joiner_reads(join)?;
                let node = self.next_node_id();
                tracing::info!(node, address = join.address, "node joins the group");
                self.change(ChangeMembers::AddNodes(BTreeMap::from([(node, member)])), deadline).await?;
                node
            }
        };
        Ok(Joined { cluster: self.peers.caller().cluster, node, members: member_addresses(&self.metrics.borrow()) })
    }

    fn member_of(&self, join: &Join) -> Option<(NodeId, Member)> {
        let metrics = self.metrics.borrow();
        let mut nodes = metrics.membership_config.membership().nodes();
        nodes.find(|(_, member)| member.instance == join.instance).map(|(id, member)| (*id, member.clone()))
    }

    /// A number that no node ever had. Those in a membership that is not applied yet count too.
    fn next_node_id(&self) -> NodeId {
        let metrics = self.metrics.borrow();
        let highest = metrics.membership_config.membership().nodes().map(|(id, _)| *id).max().unwrap_or_default();
        self.applied.get().last_node_id.max(highest) + 1
    }

    /// Makes a change, wherever the leader is.
    pub(crate) async fn request_change(self: &Arc<Self>, change: Change) -> Result<(), ConsensusError> {
        let after = self.options.propose_timeout;
        let deadline = runtime::now() + after;
        loop {
            self.proposer()?;
            match self.leader() {
                Leader::Me => match self.change_as_leader(change).await {
                    Err(ConsensusError::NotLeader) => {}
                    changed => return changed,
                },
                Leader::Other(peer) => {
                    let request = Request::Change(change);
                    match self.peers.call::<ChangeAnswer>(&peer, &request, runtime::left(deadline)).await {
                        Ok(changed) => return changed.map_err(ChangeError::into_error),
                        Err(error) => tracing::debug!(%error, "the leader was not reached"),
                    }
                }
                Leader::Unknown => {}
            }
            if runtime::left(deadline).is_zero() {
                return Err(ConsensusError::NoLeader { after });
            }
            runtime::sleep(CHANGE_PAUSE).await;
        }
    }

    /// Makes a change as the leader.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`] when another node has to make it; why it cannot be made.
    pub(crate) async fn change_as_leader(self: &Arc<Self>, change: Change) -> Result<(), ConsensusError> {
        let deadline = runtime::now() + self.options.propose_timeout;
        let _changing = self.changing.lock().await;
        match change {
            Change::Remove(node) => self.remove(node, deadline).await,
            Change::Transfer(node) => self.transfer(node, deadline).await,
        }
    }

    async fn remove(&self, node: NodeId, deadline: Moment) -> Result<(), ConsensusError> {
        let (voters, members) = {
            let metrics = self.metrics.borrow();
            let membership = metrics.membership_config.membership();
            let members = membership.nodes().map(|(id, _)| *id).collect::<BTreeSet<_>>();
            (membership.voter_ids().collect::<BTreeSet<_>>(), members)
        };
        if !members.contains(&node) {
            return Err(ConsensusError::UnknownMember { node });
        }
        if voters.len() == 1 && voters.contains(&node) {
            return Err(ConsensusError::ChangeRefused { reason: format!("node {node} is the only voter") });
        }
        if node == self.id {
            // The next leader removes this node; who asked for it asks again there.
            let successor = self.best_successor().ok_or_else(|| ConsensusError::ChangeRefused {
                reason: "no other voter is up to date to take the lead".to_owned(),
            })?;
            self.transfer(successor, deadline).await?;
            return Err(ConsensusError::NotLeader);
        }
        tracing::info!(node, "node leaves the group");
        if voters.contains(&node) {
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node])), deadline).await
        } else {
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node])), deadline).await
        }
    }

    fn best_successor(&self) -> Option<NodeId> {
        let metrics = self.metrics.borrow();
        let voters = metrics.membership_config.membership().voter_ids();
        let others = voters.filter(|voter| *voter != self.id && self.is_live(*voter));
        others.min_by_key(|voter| (lag(&metrics, *voter).unwrap_or(u64::MAX), *voter))
    }

    /// Hands the lead over to a voter.
    async fn transfer(&self, target: NodeId, deadline: Moment) -> Result<(), ConsensusError> {
        let refused = |reason: String| ConsensusError::ChangeRefused { reason };
        if target == self.id {
            return Ok(());
        }
        let peer = self.peer(target).ok_or(ConsensusError::UnknownMember { node: target })?;
        let is_voter = self.metrics.borrow().membership_config.membership().voter_ids().any(|voter| voter == target);
        if !is_voter {
            return Err(refused(format!("node {target} has no vote")));
        }
        let _silence = Silence::begin(self);
        // What is in flight gets to the target first.
        let mut metrics = self.metrics.clone();
        let caught_up = metrics.wait_for(|metrics| lag(metrics, target) == Some(0) || !leads(metrics));
        let caught_up = runtime::until(deadline, caught_up).await;
        if !matches!(caught_up, Some(Ok(_))) {
            return Err(refused(format!("node {target} is not up to date")));
        }
        drop(caught_up);
        self.raft.runtime_config().heartbeat(false);
        runtime::sleep(self.options.election_timeout.1).await;
        loop {
            if !leads(&self.metrics.borrow()) {
                break;
            }
            if runtime::left(deadline).is_zero() {
                return Err(refused(format!("node {target} was not elected")));
            }
            if let Err(error) = self.peers.call::<()>(&peer, &Request::Elect, self.options.heartbeat).await {
                tracing::debug!(%error, "the next leader did not answer");
            }
            let lost = metrics.wait_for(|metrics| !leads(metrics));
            drop(runtime::within(self.options.heartbeat, lost).await);
        }
        let elected = metrics.wait_for(|metrics| metrics.current_leader.is_some_and(|leader| leader != self.id));
        match runtime::until(deadline, elected).await {
            Some(Ok(metrics)) if metrics.current_leader == Some(target) => Ok(()),
            _ => Err(refused(format!("another node than {target} was elected"))),
        }
    }

    /// Changes the membership; waits for a change that is under way.
    async fn change(&self, change: ChangeMembers<NodeId, Member>, deadline: Moment) -> Result<(), ConsensusError> {
        if matches!(change, ChangeMembers::AddVoterIds(_) | ChangeMembers::ReplaceAllVoters(_)) {
            self.growing.store(true, Ordering::Release);
        }
        // Of a voter that is removed nothing is kept; who loses its vote to another stays.
        let retain = !matches!(change, ChangeMembers::RemoveVoters(_));
        loop {
            match runtime::until(deadline, self.raft.change_membership(change.clone(), retain)).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                    return Err(ConsensusError::NotLeader);
                }
                Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                )))) => runtime::sleep(CHANGE_PAUSE).await,
                Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                    return Err(ConsensusError::ChangeRefused { reason: error.to_string() });
                }
                Some(Err(RaftError::Fatal(fatal))) => return Err(self.health.failure_or(fatal)),
                None => return Err(ConsensusError::Timeout { after: self.options.propose_timeout }),
            }
            if !leads(&self.metrics.borrow()) {
                return Err(ConsensusError::NotLeader);
            }
        }
    }

    /// The task that keeps the members as they should be.
    pub(crate) async fn keep(self: Arc<Self>) {
        // Since when this node leads: before that it could not know who answers.
        let mut leads_since = None;
        let mut handed_over = None;
        let pause = self.options.election_timeout.1 * HAND_OVER_PAUSE;
        loop {
            runtime::sleep(self.options.heartbeat * 2).await;
            let metrics = self.metrics.borrow().clone();
            if metrics.running_state.is_err() {
                return;
            }
            let kept = if leads(&metrics) {
                let since = *leads_since.get_or_insert_with(runtime::now);
                if handed_over.is_none_or(|at| runtime::now() - at > pause) && self.hand_over_if_full().await {
                    handed_over = Some(runtime::now());
                }
                self.keep_as_leader(&metrics, since).await
            } else {
                leads_since = None;
                self.stand_if_quiet().await;
                self.keep_own_address(&metrics).await
            };
            if let Err(error) = kept {
                tracing::warn!(%error, "the members could not be kept as they should be");
            }
        }
    }

    /// Lets another voter lead while this node takes no commands for want of room on its disk. Whether it was tried.
    async fn hand_over_if_full(self: &Arc<Self>) -> bool {
        let Err(error) = self.space.check() else { return false };
        let Some(successor) = self.best_successor() else { return false };
        tracing::warn!(%error, successor, "another node has to lead");
        if let Err(error) = self.change_as_leader(Change::Transfer(successor)).await {
            tracing::warn!(%error, successor, "the lead could not be handed over");
        }
        true
    }

    async fn keep_as_leader(&self, metrics: &Metrics, since: Moment) -> Result<(), ConsensusError> {
        // Who changes the members on request goes first.
        let Ok(_changing) = self.changing.try_lock() else { return Ok(()) };
        let deadline = runtime::now() + self.options.propose_timeout;
        let Some(change) = self.wanted_change(metrics, since) else { return Ok(()) };
        tracing::info!(?change, "the group's members change");
        match self.change(change, deadline).await {
            Err(ConsensusError::NotLeader) => Ok(()),
            changed => changed,
        }
    }

    /// The next change that makes the group as it should be.
    fn wanted_change(&self, metrics: &Metrics, since: Moment) -> Option<ChangeMembers<NodeId, Member>> {
        let membership = metrics.membership_config.membership();
        if let [_, wanted] = membership.get_joint_config().as_slice() {
            // An earlier leader left it half done.
            return Some(ChangeMembers::ReplaceAllVoters(wanted.clone()));
        }
        let me = membership.get_node(&self.id)?;
        let mine = Member { addr: self.options.address.clone(), instance: self.identity.lock().instance };
        if !mine.addr.is_empty() && *me != mine {
            return Some(ChangeMembers::SetNodes(BTreeMap::from([(self.id, mine)])));
        }
        let voters = membership.voter_ids().collect::<BTreeSet<_>>();
        let ready = |node: &NodeId| self.is_live(*node) && lag(metrics, *node).is_some_and(|lag| lag <= CAUGHT_UP);
        let spare = membership.learner_ids().find(ready)?;
        let leads_for = runtime::now() - since;
        let is_dead = |node: &NodeId| {
            let silent = self.peers.last_answer(*node).unwrap_or(leads_for).min(leads_for);
            *node != self.id && silent >= self.options.replace_after
        };
        if let Some(dead) = voters.iter().find(|node| is_dead(node)) {
            tracing::warn!(dead, spare, "a voter that does not answer is replaced");
            let wanted = voters.iter().copied().filter(|node| node != dead).chain([spare]);
            return Some(ChangeMembers::ReplaceAllVoters(wanted.collect()));
        }
        (voters.len() < self.options.max_voters).then(|| ChangeMembers::AddVoterIds(BTreeSet::from([spare])))
    }

    /// Has a node answered lately?
    fn is_live(&self, node: NodeId) -> bool {
        self.peers.last_answer(node).is_some_and(|answer| answer < self.options.election_timeout.1 * 2)
    }

    /// Tells the leader when this node is not where the group thinks.
    async fn keep_own_address(&self, metrics: &Metrics) -> Result<(), ConsensusError> {
        let instance = self.identity.lock().instance;
        let catalog = self.peers.caller().hello.catalog;
        let join = Join { instance, address: self.options.address.clone(), catalog };
        let membership = metrics.membership_config.membership();
        let Some(me) = membership.get_node(&self.id) else { return Ok(()) };
        if join.address.is_empty() || me.addr == join.address || me.instance != join.instance {
            return Ok(());
        }
        let Leader::Other(leader) = self.leader() else { return Ok(()) };
        let told = self.peers.call::<Joined>(&leader, &Request::Join(join), self.options.propose_timeout).await;
        told.map(drop).map_err(|error| ConsensusError::ChangeRefused { reason: error.to_string() })
    }
}

/// Number and address of all members.
pub(crate) fn member_addresses(metrics: &Metrics) -> Vec<(NodeId, String)> {
    metrics.membership_config.membership().nodes().map(|(id, member)| (*id, member.addr.clone())).collect()
}

fn leads(metrics: &Metrics) -> bool {
    metrics.running_state.is_ok() && metrics.state == ServerState::Leader
}

/// Asks for a place in the group that a contact belongs to, until there is an answer or it is too late.
///
/// # Errors
/// [`ConsensusError::JoinFailed`] with the last reason.
pub(crate) async fn join(
    peers: &crate::peers::Peers,
    contact: &str,
    join: &Join,
    deadline: Moment,
) -> Result<Joined, ConsensusError> {
    let mut asked = Peer { id: 0, address: contact.to_owned() };
    loop {
        let request = Request::Join(join.clone());
        let reason = match peers.call::<Joined>(&asked, &request, runtime::left(deadline)).await {
            Ok(joined) => return Ok(joined),
            Err(crate::peers::CallError::Refused(Refusal::NotLeader { leader: Some((_, address)) }))
                if address != asked.address =>
            {
                asked.address = address;
                continue;
            }
            Err(error) => error.to_string(),
        };
        contact.clone_into(&mut asked.address);
        if runtime::left(deadline) <= CHANGE_PAUSE {
            return Err(ConsensusError::JoinFailed { contact: contact.to_owned(), reason });
        }
        tracing::info!(contact, reason, "the group has not answered yet");
        runtime::sleep(CHANGE_PAUSE).await;
    }
}

/// While it lives, a leader takes no commands and, once its heartbeats are off, is not heard of.
struct Silence<'node>(&'node Node);

impl<'node> Silence<'node> {
    fn begin(node: &'node Node) -> Self {
        node.paused.send_replace(true);
        Silence(node)
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.raft.runtime_config().heartbeat(true);
        self.0.paused.send_replace(false);
    }
}
