//! The way of a command into the log: a bounded queue, and batches that share a flush.
//!
//! openraft flushes one log entry after the other. So there is one entry in flight, and the commands that come meanwhile wait and
//! become the next entry together: the more come, the more share a flush. What always holds: a command that was refused here (too
//! large, queue full, disk full) is not in the log; one that was not answered in time may be, and a retry with the same request
//! id is safe. Who loses the lead does not wait for what it has in flight: openraft tells its fate only when the entry is applied or
//! cut off by a later leader, and never when a snapshot covers it. The retry with the next leader finds out.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use openraft::ServerState;
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ConsensusError;
use crate::health::Health;
use crate::raft_types::{CommandAnswer, Metrics, Proposal, Raft};
use crate::runtime::{self, Moment};
use crate::space::Space;

/// How many commands one entry has at most.
const BATCH_COMMANDS: usize = 256;
/// How many bytes one entry has at most, if it has more than one command.
const BATCH_BYTES: usize = 256 << 10;
/// How long an answer may still come after the lead was lost.
const LATE_ANSWER: Duration = Duration::from_millis(20);

/// Limits, from the options of the group.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) waiting_commands: usize,
    pub(crate) command_bytes: usize,
}

/// Takes commands.
pub(crate) struct Proposer {
    queue: mpsc::Sender<Waiting>,
    limits: Limits,
}

/// A command and who waits for its answer.
struct Waiting {
    command: Vec<u8>,
    answer: oneshot::Sender<Result<CommandAnswer, ConsensusError>>,
}

impl Proposer {
    /// A proposer, and the task that has to run for it; the task ends when the proposer is dropped.
    pub(crate) fn new(
        raft: Raft,
        health: Arc<Health>,
        space: Space,
        limits: Limits,
        paused: watch::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(limits.waiting_commands);
        let task = Batcher { raft, health, space, waiting, next: None, paused };
        (Proposer { queue, limits }, task.run())
    }

    /// The error of a command that is too large.
    pub(crate) fn check_size(&self, command: &[u8]) -> Result<(), ConsensusError> {
        let (size_bytes, limit_bytes) = (command.len(), self.limits.command_bytes);
        if size_bytes > limit_bytes {
            return Err(ConsensusError::CommandTooLarge { size_bytes, limit_bytes });
        }
        Ok(())
    }

    /// Has a command applied, and returns what it was answered. Only a leader can; any other says so.
    pub(crate) async fn propose(&self, command: Vec<u8>, deadline: Moment) -> Result<CommandAnswer, ConsensusError> {
        self.check_size(&command)?;
        let after = runtime::left(deadline);
        let (answer, answered) = oneshot::channel();
        match runtime::until(deadline, self.queue.send(Waiting { command, answer })).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(ConsensusError::Stopped),
            None => {
                return Err(ConsensusError::Overloaded { limit: self.limits.waiting_commands });
            }
        }
        match runtime::until(deadline, answered).await {
            Some(Ok(answer)) => answer,
            // The task was stopped with the group.
            Some(Err(_)) => Err(ConsensusError::Stopped),
            None => Err(ConsensusError::Timeout { after }),
        }
    }
}

/// The task that makes entries of commands.
struct Batcher {
    raft: Raft,
    health: Arc<Health>,
    space: Space,
    waiting: mpsc::Receiver<Waiting>,
    /// What did not fit into the batch before.
    next: Option<Waiting>,
    /// Does the leader hand over to another node? Then commands wait.
    paused: watch::Receiver<bool>,
}

impl Batcher {
    async fn run(mut self) {
        while let Some(batch) = self.batch().await {
            let (commands, waiting): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.command, waiting.answer)).unzip();
            let answers = match self.write(Proposal { commands }).await {
                Ok(answers) => answers.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
            };
            assert_eq!(answers.len(), waiting.len(), "an entry answers each of its commands");
            for (waiting, answer) in waiting.into_iter().zip(answers) {
                // Who does not wait any more does not need to know.
                drop(waiting.send(answer));
            }
        }
    }

    /// All that waits, up to the limits of an entry; at least one command. None at the end.
    async fn batch(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.next.take() {
            Some(next) => next,
            None => self.waiting.recv().await?,
        };
        let mut bytes = first.command.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_COMMANDS
            && let Ok(waiting) = self.waiting.try_recv()
        {
            bytes += waiting.command.len();
            if bytes > BATCH_BYTES {
                self.next = Some(waiting);
                break;
            }
            batch.push(waiting);
        }
        Some(batch)
    }

    async fn write(&mut self, proposal: Proposal) -> Result<Vec<CommandAnswer>, ConsensusError> {
        self.space.check()?;
        // Its other end lives as long as the node.
        drop(self.paused.wait_for(|paused| !paused).await);
        let metrics = self.raft.metrics();
        let term = metrics.borrow().current_term;
        let written = std::pin::pin!(self.raft.client_write(proposal));
        let lost = std::pin::pin!(lost_lead(metrics, term));
        let written = match select(written, lost).await {
            Either::Left((written, _)) => Some(written),
            Either::Right(((), written)) => runtime::within(LATE_ANSWER, written).await,
        };
        match written {
            Some(Ok(response)) => Ok(response.data),
            None => match self.health.failure() {
                Some(failure) => Err(failure),
                None => Err(ConsensusError::NotLeader),
            },
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(ConsensusError::NotLeader),
            Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(ConsensusError::Failed { reason: error.to_string() })
            }
            Some(Err(RaftError::Fatal(fatal))) => Err(self.health.failure_or(fatal)),
        }
    }
}

/// Returns when a node does not lead any more as it did in a term.
async fn lost_lead(mut metrics: watch::Receiver<Metrics>, term: u64) {
    let lost = |metrics: &Metrics| {
        metrics.running_state.is_err() || metrics.state != ServerState::Leader || metrics.current_term != term
    };
    // The other end is gone when the node has stopped.
    drop(metrics.wait_for(lost).await);
}
