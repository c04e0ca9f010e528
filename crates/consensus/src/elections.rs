//! Elections that openraft 0.9 would hold too late.
//!
//! A node whose candidacy was refused since another had more of the log waits twice the longest election timeout longer than others. That
//! is to let the other come first; but openraft forgets it only when the node stands again by its own timer, so it may be long ago when
//! a leader dies, and the others may wait for the same reason. And who refuses a candidate for that reason waits for its own timer,
//! although nobody else can be elected. So a node stands at once when it has refused a candidate that has less of the log, and when
//! it has heard of no leader for longer than any timer but that one.
//!
//! What always holds: nobody stands here while it hears of a leader, so a leader that works is not disturbed.

use std::time::Duration;

use openraft::error::RaftError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use parking_lot::Mutex;

use crate::node::Node;
use crate::raft_types::{NodeId, TypeConfig};
use crate::runtime::{self, Moment};

/// When a node last heard of a leader, gave its vote, or stood for election.
pub(crate) struct Elections {
    quiet_since: Mutex<Moment>,
}

impl Elections {
    /// Of a node that starts.
    pub(crate) fn new() -> Self {
        Elections { quiet_since: Mutex::new(runtime::now()) }
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
        let theirs = request.last_log_id;
        let answer = self.raft.vote(request).await?;
        if answer.vote_granted {
            self.elections.note();
        } else if answer.last_log_id > theirs && self.elections.quiet_for() > self.options.election_timeout.1 {
            self.stand().await;
        }
        Ok(answer)
    }

    /// Stands for election when it has been quiet for longer than it can be.
    pub(crate) async fn stand_if_quiet(&self) {
        let (_, longest) = self.options.election_timeout;
        if self.elections.quiet_for() > longest * 2 {
            self.stand().await;
        }
    }

    async fn stand(&self) {
        self.elections.note();
        // One that has no vote, or leads, does nothing then; one that has stopped says so elsewhere.
        drop(self.raft.trigger().elect().await);
    }
}
