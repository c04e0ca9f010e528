//! A node's answers.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_consensus::{ConsensusError, Group, Role};
use wharf_peers::MessageService;

use super::{Answer, ClusterStatus, NodeStatus, Request};

/// Answers for a node of the catalog's group.
pub(crate) struct Service {
    group: Arc<Group>,
}

impl Service {
    /// Answers for this one.
    pub(crate) fn new(group: Arc<Group>) -> Service {
        Service { group }
    }

    async fn respond(&self, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(self.status()),
            Request::Remove { node } => done(self.group.remove(node).await),
            Request::TransferLeader { node } => done(self.group.transfer_leader(node).await),
        }
    }

    fn status(&self) -> ClusterStatus {
        let status = self.group.status();
        let nodes = status.members.iter().map(|member| NodeStatus {
            node: member.node,
            address: member.address.clone(),
            role: match member.role {
                Role::Leader => "leader",
                Role::Voter => "voter",
                Role::Learner => "learner",
            }
            .to_owned(),
            last_contact_ms: member.last_contact.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            lag: member.lag,
        });
        ClusterStatus {
            cluster: status.cluster,
            node: status.node,
            term: status.term,
            leader: status.leader,
            nodes: nodes.collect(),
        }
    }
}

/// The catalog's errors know what to do about them.
fn done(result: Result<(), ConsensusError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed {
            what: error.to_string(),
            remedy: error.hint().unwrap_or_else(|| "see the log of the node".to_owned()),
        },
    }
}

#[async_trait]
impl MessageService for Service {
    async fn answer(&self, request: Bytes) -> Bytes {
        let answer = match serde_json::from_slice(&request) {
            Ok(request) => self.respond(request).await,
            Err(error) => Answer::Failed {
                what: format!("the node cannot read the message: {error}"),
                remedy: "use a wharf of the same version as the node's".to_owned(),
            },
        };
        // What is made of plain numbers and texts can be written.
        Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
    }
}
