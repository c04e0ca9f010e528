//! The types that openraft is used with.

use std::io::Cursor;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharf_catalog::{Answer, CatalogError};

/// A node's number in the group: never used again for another node.
pub(crate) type NodeId = u64;

/// What one log entry asks for: several commands that waited at the same time, so that they share one flush of the disk. openraft
/// flushes entry after entry, so this is where flushes are batched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// Each the encoding of a `wharf_catalog::Envelope`, applied in this order.
    pub(crate) commands: Vec<Vec<u8>>,
}

/// What a command was answered.
pub(crate) type CommandAnswer = Result<Answer, CatalogError>;

/// What the group knows of a member. Its JSON is in log entries and snapshots: fields may be added, with a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `host:port` of its peer port; empty for the only node of a group that no other can join.
    pub(crate) addr: String,
    /// Made up once for each data folder: by it a node that asks to join again is known to be the same.
    #[serde(default, skip_serializing_if = "Uuid::is_nil")]
    pub(crate) instance: Uuid,
}

openraft::declare_raft_types!(
    /// Our choice of types.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Vec<CommandAnswer>,
        NodeId = NodeId,
        Node = Member,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, Member>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, Member>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type StorageIoError = openraft::StorageIOError<NodeId>;
