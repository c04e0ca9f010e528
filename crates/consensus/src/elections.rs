//! Elections that openraft 0.9 would hold too late.
//!
//! A node whose candidacy was refused since another had more of the log waits twice the longest election timeout longer than others. That
//! is to let the other come first; but openraft forgets it only when the node stands again by its own timer, so it may be long ago when
//! a leader dies, and the others may wait for the same reason. And who refuses a candidate for that reason waits for its own timer,
//! although nobody else can be elected. So a node stands at once when it has refused a candidate that has less of the log, and when
//! it has heard of no leader for longer than any timer but that one.
//!
//! Two things keep that from going on for ever. In openraft 0.9 a candidate of the same term and a greater number stands above a leader,
//! and has it step down: so who stands against a candidate takes a term in which that one is beaten. And a node that was refused
//! for what it lacks leaves it to the others for a while, instead of standing as often as they do.
//!
//! What always holds: nobody stands here while it hears of a leader, so a leader that works is not disturbed.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use parking_lot::Mutex;

use crate::node::Node;
use crate::raft_types::{NodeId, TypeConfig, Vote};
use crate::runtime::{self, Moment};

/// A node that lacks entries waits for so many times the longest election timeout.
const PATIENCE_BEHIND: u32 = 8;
/// Others wait for so many.
const PATIENCE: u32 = 2;

/// When a node last heard of a leader, gave its vote, or stood for election.
pub(crate) struct Elections {
    quiet_since: Mutex<Moment>,
    /// When it was last refused for what it lacks.
    behind_at: Mutex<Option<Moment>>,
}

impl Elections {
    /// Of a node that starts.
    pub(crate) fn new() -> Self {
        Elections { quiet_since: Mutex::new(runtime::now()), behind_at: Mutex::new(None) }
    }

    /// Another node has more of the log, and has refused this one for that.
    pub(crate) fn is_behind(&self) {
        *self.behind_at.lock() = Some(runtime::now());
    }

    /// How long it waits for others.
    fn patience(&self, longest: Duration) -> Duration {
        let quiet_since = *self.quiet_since.lock();
        let behind = self.behind_at.lock().is_some_and(|at| at >= quiet_since);
        longest * if behind { PATIENCE_BEHIND } else { PATIENCE }
    }

    fn note(&self) {
        *self.quiet_since.lock() = runtime::now();
    }

    fn quiet_for(&self) -> Duration {
        runtime::now() - *self.quiet_since.lock()
    }
}

impl Node {
    /// Answers one who says that it leads.
    pub(crate) async fn follow(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<NodeId>, RaftError<NodeId>> {
        let answer = self.raft.append_entries(request).await;
        // A leader of the past is none.
        if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
            self.elections.note();
        }
        answer
    }

    /// Answers one who wants to lead.
    pub(crate) async fn vote(&self, request: VoteRequest<NodeId>) -> Result<VoteResponse<NodeId>, RaftError<NodeId>> {
        let (vote, theirs) = (request.vote, request.last_log_id);
        let answer = self.raft.vote(request).await?;
        if answer.vote_granted {
            self.elections.note();
        } else if answer.last_log_id > theirs && self.elections.quiet_for() > self.options.election_timeout.1 {
            for _ in 0..elections_to_beat(vote, answer.vote, self.id) {
                self.stand().await;
            }
        }
        Ok(answer)
    }

    /// Takes a snapshot, or a part of it, from one who says that it leads.
    pub(crate) async fn take_snapshot(
        &self,
        request: InstallSnapshotRequest<TypeConfig>,
    ) -> Result<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>> {
        let vote = request.vote;
        let answer = self.raft.install_snapshot(request).await;
        if answer.as_ref().is_ok_and(|answer| answer.vote == vote) {
            self.elections.note();
        }
        answer
    }

    /// Stands for election when it has been quiet for longer than it can be.
    pub(crate) async fn stand_if_quiet(&self) {
        let (_, longest) = self.options.election_timeout;
        if self.elections.quiet_for() > self.elections.patience(longest) {
            self.stand().await;
        }
    }

    async fn stand(&self) {
        self.elections.note();
        // One that has no vote, or leads, does nothing then; one that has stopped says so elsewhere.
        drop(self.raft.trigger().elect().await);
    }
}

/// How often a node with this vote has to stand, each time in the next term, until it is above a candidate: once or twice, as long as the
/// candidate is not terms ahead; then nobody hears of this node yet, and it will be told.
fn elections_to_beat(candidate: Vote, own: Vote, id: NodeId) -> u32 {
    let next = Vote::new(own.leader_id.term + 1, id);
    if next < candidate && next.leader_id.term == candidate.leader_id.term { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_against_a_candidate_beats_it() {
        let own = Vote::new_committed(73, 2);
        assert_eq!(elections_to_beat(Vote::new(74, 3), own, 2), 2, "74 of node 3 is above 74 of node 2");
        assert_eq!(elections_to_beat(Vote::new(74, 1), own, 2), 1);
        assert_eq!(elections_to_beat(Vote::new(73, 3), own, 2), 1);
        assert_eq!(elections_to_beat(Vote::new(90, 3), own, 2), 1);
    }

    #[test]
    fn who_was_refused_for_what_it_lacks_waits_until_it_hears_of_a_leader() {
        let elections = Elections::new();
        let longest = Duration::from_millis(700);
        assert_eq!(elections.patience(longest), longest * PATIENCE);
        elections.is_behind();
        assert_eq!(elections.patience(longest), longest * PATIENCE_BEHIND);
        std::thread::sleep(Duration::from_millis(2));
        elections.note();
        assert_eq!(elections.patience(longest), longest * PATIENCE);
    }
}
