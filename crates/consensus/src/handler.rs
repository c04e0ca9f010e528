//! What a node answers its peers.
//!
//! What always holds: a node of another cluster, or one that takes this node for another, changes nothing here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::error::RaftError;
use serde::Serialize;
use wharf_catalog::{decode_envelope, encode_envelope};

use crate::error::ConsensusError;
use crate::node::Node;
use crate::runtime;
use crate::wire::{
    self, ChangeAnswer, ChangeError, Head, ProposeAnswer, ProposeError, Refusal, Request, SnapshotAnswer,
};

/// An answer in bytes, or why there is none.
type Answer = Result<Bytes, Refusal>;

impl Node {
    /// Answers what has arrived for consensus.
    pub(crate) async fn handle(self: &Arc<Self>, request: Bytes) -> Bytes {
        let (head, request) = wire::decode_request(self.peers.caller().hello.versions, &request);
        let answer = match request {
            Ok(request) => match self.admit(head, &request) {
                Ok(()) => self.answer(head, request).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| {
            tracing::debug!(from = head.from, %refusal, "peer refused");
            wire::encode_refusal(head.version, &refusal)
        })
    }

    /// May this node be asked that by the sender?
    fn admit(&self, head: Head, request: &Request) -> Result<(), Refusal> {
        let me = self.peers.caller();
        let joins = matches!(request, Request::Join(_) | Request::Hello(_)) && head.cluster.is_nil();
        if head.cluster != me.cluster && !joins {
            return Err(Refusal::Cluster(me.cluster));
        }
        if head.to != 0 && head.to != self.id {
            return Err(Refusal::Node(self.id));
        }
        if self.proposer().is_err() {
            return Err(Refusal::Failed("the node is shutting down".to_owned()));
        }
        self.peers.note_heard(head.from);
        Ok(())
    }

    async fn answer(self: &Arc<Self>, head: Head, request: Request) -> Answer {
        let version = head.version;
        match request {
            Request::Hello(hello) => {
                let me = self.peers.caller();
                if head.cluster == me.cluster {
                    self.peers.note_hello(head.from, hello);
                }
                Ok(wire::encode_hello(version, me.hello))
            }
            Request::Vote(request) => answered(version, self.vote(request).await),
            Request::Append(request) => answered(version, self.follow(request).await),
            Request::Snapshot(request) => {
                let answer: SnapshotAnswer = match self.take_snapshot(request).await {
                    Ok(answer) => Ok(answer),
                    Err(RaftError::APIError(error)) => Err(error),
                    Err(RaftError::Fatal(fatal)) => return Err(Refusal::Failed(fatal.to_string())),
                };
                Ok(wire::encode_answer(version, &answer))
            }
            Request::Propose { timeout_ms, command } => {
                self.check_leads(head)?;
                let answer = self.propose_for(Duration::from_millis(timeout_ms), command).await;
                Ok(wire::encode_answer(version, &answer))
            }
            Request::ReadIndex => {
                self.check_leads(head)?;
                let index = self.confirm().await.map_err(|error| self.refusal(&error))?;
                Ok(wire::encode_answer(version, &index))
            }
            Request::Join(join) => {
                let joined = self.admit_member(&join).await.map_err(|error| self.refusal(&error))?;
                Ok(wire::encode_answer(version, &joined))
            }
            Request::StateHash { index, catalog } => {
                let hash = catalog.and_then(|_| self.hashes.get(index));
                Ok(wire::encode_answer(version, &hash))
            }
            Request::Elect => {
                let elected = self.raft.trigger().elect().await;
                answered(version, elected.map_err(RaftError::<_, openraft::error::Infallible>::Fatal))
            }
            Request::Change(change) => {
                self.check_leads(head)?;
                let changed = self.change_as_leader(change).await;
                match changed {
                    Err(error @ ConsensusError::NotLeader) => Err(self.refusal(&error)),
                    changed => {
                        let answer: ChangeAnswer = changed.map_err(|error| ChangeError::of(&error));
                        Ok(wire::encode_answer(version, &answer))
                    }
                }
            }
        }
    }

    /// The answer to a command that another node was given.
    async fn propose_for(&self, timeout: Duration, command: Bytes) -> ProposeAnswer {
        let deadline = runtime::now() + timeout.min(self.options.propose_timeout);
        // It will be applied by every replica: what this version cannot read must not get into the log.
        let envelope = decode_envelope(&command).map_err(|error| {
            tracing::error!(%error, "a node has sent a command that is not readable");
            ProposeError::Elsewhere
        })?;
        let format = envelope.format();
        let command = match command.starts_with(&format.to_be_bytes()) {
            true => command.to_vec(),
            // Another build has written it in a higher format than it needs.
            false => encode_envelope(&envelope),
        };
        let proposed = self.propose_as_leader(format, command, deadline).await;
        proposed.map_err(|error| ProposeError::of(&error))
    }

    /// Refuses what only a leader can answer, and those who are not members any more.
    fn check_leads(&self, head: Head) -> Result<(), Refusal> {
        let metrics = self.metrics.borrow().clone();
        if metrics.state != ServerState::Leader {
            return Err(Refusal::NotLeader { leader: self.leader_hint() });
        }
        if metrics.membership_config.membership().get_node(&head.from).is_none() {
            return Err(Refusal::NotMember(head.from));
        }
        Ok(())
    }

    fn refusal(&self, error: &ConsensusError) -> Refusal {
        match error {
            ConsensusError::NotLeader => Refusal::NotLeader { leader: self.leader_hint() },
            error => Refusal::Failed(error.to_string()),
        }
    }
}

fn answered<T: Serialize, E: std::fmt::Display>(version: u16, answer: Result<T, E>) -> Answer {
    match answer {
        Ok(answer) => Ok(wire::encode_answer(version, &answer)),
        Err(error) => Err(Refusal::Failed(error.to_string())),
    }
}
