//! Read indexes: one round of the group for all readers that wait.
//!
//! A reader must not use a round that began before it came: that round may have fixed its index before a command that the reader
//! knows to be answered. So there is at most one round under way, and all readers that come meanwhile share the next.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use openraft::error::{CheckIsLeaderError, RaftError};
use parking_lot::Mutex;

use crate::error::ConsensusError;
use crate::health::Health;
use crate::raft_types::Raft;

type Round = Shared<BoxFuture<'static, Result<(), ConsensusError>>>;

/// The rounds of one node.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    raft: Raft,
    health: Arc<Health>,
    timeout: Duration,
    /// The round that has not begun yet, if someone waits for one.
    next: Arc<Mutex<Option<Round>>>,
    /// Held by the round that is under way.
    under_way: Arc<tokio::sync::Mutex<()>>,
}

impl ReadIndex {
    pub(crate) fn new(raft: Raft, health: Arc<Health>, timeout: Duration) -> Self {
        ReadIndex { raft, health, timeout, next: Arc::default(), under_way: Arc::default() }
    }

    /// Returns when this node's state has every command that was answered before the call.
    pub(crate) async fn wait(&self) -> Result<(), ConsensusError> {
        let round = {
            let mut next = self.next.lock();
            next.get_or_insert_with(|| self.clone().round().boxed().shared()).clone()
        };
        tokio::time::timeout(self.timeout, round)
            .await
            .unwrap_or(Err(ConsensusError::ReadTimeout { after: self.timeout }))
    }

    async fn round(self) -> Result<(), ConsensusError> {
        let _under_way = self.under_way.lock().await;
        // From here on it is too late to join.
        *self.next.lock() = None;
        match self.raft.ensure_linearizable().await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )) => Err(ConsensusError::NotLeader),
            Err(RaftError::Fatal(fatal)) => Err(self.health.failure_or(fatal)),
        }
    }
}
