//! What an operator asks a cluster, and what its nodes answer: messages to the port for peers.
//!
//! Always holds: whoever has a node's certificate may ask, and nobody else; a message is JSON, and a field that one side does not
//! know is passed over, so that the nodes and the command line need not be of one version. A refusal says what to do about it,
//! as every [`Failure`] does.

mod client;
mod service;
mod table;

use serde::{Deserialize, Serialize};

pub(crate) use client::{ask, call, is_in_one, read};
pub(crate) use service::Service;
pub(crate) use table::table;

/// The name of the service.
pub(crate) const SERVICE: &str = "cluster";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Which nodes are there, and how are they?
    Status,
    /// Take a node out of the cluster.
    Remove {
        /// Its number.
        node: u64,
    },
    /// Let another node lead.
    TransferLeader {
        /// Its number.
        node: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To [`Request::Status`].
    Status(ClusterStatus),
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// What went wrong.
        what: String,
        /// What to do about it.
        remedy: String,
    },
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    /// The cluster.
    pub(crate) cluster: uuid::Uuid,
    /// The node that answers.
    pub(crate) node: u64,
    /// Raft's term.
    pub(crate) term: u64,
    /// The node that leads, if one does.
    pub(crate) leader: Option<u64>,
    /// All nodes, by number.
    pub(crate) nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// Its number.
    pub(crate) node: u64,
    /// Where other nodes reach it.
    pub(crate) address: String,
    /// `leader`, `voter` or `learner`.
    pub(crate) role: String,
    /// How long ago it answered the node that was asked, milliseconds; none for that node itself, and for one that never did.
    pub(crate) last_contact_ms: Option<u64>,
    /// How many entries of the log it lacks; known by the leader alone.
    pub(crate) lag: Option<u64>,
}
