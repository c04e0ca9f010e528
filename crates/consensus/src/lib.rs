//! Consensus: the catalog's commands in one order, on disk before anyone is told, the same on every node.
//!
//! [`Group`] is a node of a Raft group (openraft) that replicates `wharf-catalog`; the group has one node or several. How bytes get
//! from one to the other is left to a [`Transport`]. What always holds:
//! - **An answer means durable and applied.** A command is answered after its log entry is on the disks (fsync) of more than half of
//!   the voters and the leader's state has it. When the answer did not come (a crash, a timeout), the command is there whole
//!   or not at all, and a retry with the same request id is safe, at whatever node.
//! - **A read sees every command that was answered before it began**, by whatever node.
//! - **Replicas are the same.** They compare the hashes of their states, and one that differs from its leader stops.
//! - **A damaged disk is an error that says what to do**, at the start and never by guessing: entries that were acknowledged are
//!   there, or the node does not start.
//! - The state machine itself is kept in memory; on disk are the log and snapshots, and nothing but this crate writes there.
//!
//! What a folder holds:
//! ```text
//! IDENTITY      the node's number and cluster, and where the members are
//! LOCK          held by the process that uses the folder, with its pid
//! FORMAT        the version of this layout
//! log/          sled: vote, log, committed and purged ids
//! rehearsal/    while the node starts: a copy of the log, to be opened first
//! FLUSHED       the highest log index that is known to be on the disk
//! snapshots/    the latest two snapshots
//! ```
//!
//! **Invariant:** only this crate knows Raft and sled.

mod backup;
mod data_folder;
mod disk;
mod elections;
mod error;
mod files;
mod flushed;
mod formats;
#[cfg(test)]
mod formats_tests;
mod group;
mod handler;
mod hashes;
mod health;
mod identity;
mod keeper;
mod log_growth;
mod log_record;
mod log_storage;
mod log_store;
mod network;
mod node;
mod options;
mod peers;
mod proposer;
mod raft_types;
mod read_index;
mod rehearsal;
mod runtime;
#[cfg(test)]
mod simulation;
mod sled_storage;
mod snapshots;
mod space;
mod startup;
mod state_machine;
#[cfg(test)]
mod storage_tests;
#[cfg(test)]
mod test_commands;
mod transport;
mod wire;

pub use backup::{Backup, BackupInfo, Restored, is_backup, restore};
pub use error::ConsensusError;
pub use group::Group;
pub use options::{GroupOptions, GroupStatus, MemberStatus, Role};
pub use transport::{Peer, Transport, TransportError};

/// The points on a commit's way at which a test can stop the process (crate `fail`), in the order they are passed.
pub const FAILPOINTS: &[&str] = &[
    "consensus::before_append",
    "consensus::after_append_before_flush",
    "consensus::after_flush",
    "consensus::before_apply",
    "consensus::after_apply",
    "consensus::snapshot_written_before_rename",
    "consensus::snapshot_renamed",
    "consensus::before_purge",
];
