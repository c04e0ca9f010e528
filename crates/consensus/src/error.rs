//! What can go wrong with a node, as against with a command (that is `wharf_catalog::CatalogError`).
//!
//! Every variant says in its hint what a person can do about it. The errors are `Clone`, since one failure is told to everyone who
//! waits for the same thing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a group does not start, or a command or read was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsensusError {
    /// Another process has the folder.
    #[error("data folder \"{}\" is in use by {}", .path.display(), match .pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    })]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process, if its lock file could be read.
        pid: Option<u32>,
    },
    /// The folder was written by a newer version.
    #[error("\"{}\": {what} has format version {found}, this version of wharf reads up to {supported}", .path.display())]
    NewerVersion {
        /// The folder or file.
        path: PathBuf,
        /// What has the version.
        what: String,
        /// The version found.
        found: u64,
        /// The newest this build reads.
        supported: u64,
    },
    /// Bytes on the disk are not what was written there.
    #[error("\"{}\" is damaged: {reason}", .path.display())]
    Damaged {
        /// The folder or file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk is full, or has too little room to take a command safely.
    #[error("could not write to \"{}\": no space left on device", .path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// What must be free before commands are taken, bytes; 0 when a write has failed.
        needed_bytes: u64,
    },
    /// A file could not be read or written.
    #[error("could not access \"{}\": {reason}", .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The command is too large for the log.
    #[error("catalog command of {size_bytes} bytes exceeds the limit of {limit_bytes} bytes")]
    CommandTooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Too many commands wait already. This one was not taken.
    #[error("too many catalog commands are waiting")]
    Overloaded {
        /// How many may wait.
        limit: usize,
    },
    /// The command needs a newer format than some members read, so it was not taken.
    #[error("not all nodes of the cluster read version {format} of the catalog's format, which this needs")]
    OlderMembers {
        /// The lowest format that can say it.
        format: u16,
        /// Members that do not read it, and up to which version they do; none: they have not said so and do not answer.
        members: Vec<(u64, Option<u16>)>,
    },
    /// No answer in time. The command may still be applied; a retry with the same request id is safe.
    #[error("catalog command was not confirmed within {} ms", .after.as_millis())]
    Timeout {
        /// The time that was waited.
        after: Duration,
    },
    /// A read could not be confirmed in time.
    #[error("catalog read was not confirmed within {} ms", .after.as_millis())]
    ReadTimeout {
        /// The time that was waited.
        after: Duration,
    },
    /// This node does not lead the group.
    #[error("this node does not lead the catalog's group")]
    NotLeader,
    /// Nobody leads the group, so the command was not taken.
    #[error("the catalog's group has had no leader for {} ms", .after.as_millis())]
    NoLeader {
        /// The time that was waited.
        after: Duration,
    },
    /// The node was taken out of the group.
    #[error("node {node} is not a member of the catalog's group any more")]
    Removed {
        /// The node.
        node: u64,
    },
    /// The node could not become a member of a group.
    #[error("could not join the group through \"{contact}\": {reason}")]
    JoinFailed {
        /// The address that was asked.
        contact: String,
        /// What was answered.
        reason: String,
    },
    /// There is no member with this number.
    #[error("node {node} is not a member of the catalog's group")]
    UnknownMember {
        /// The number.
        node: u64,
    },
    /// The group cannot be changed like that, or not now.
    #[error("could not change the catalog's group: {reason}")]
    ChangeRefused {
        /// Why.
        reason: String,
    },
    /// The replicas differ.
    #[error("the catalog's state after log entry {index} is not that of the leader")]
    Diverged {
        /// The index after which the states were compared.
        index: u64,
    },
    /// The group was shut down.
    #[error("catalog is shutting down")]
    Stopped,
    /// The group stopped itself after an error that it cannot go on from.
    #[error("catalog has stopped: {reason}")]
    Failed {
        /// The error.
        reason: String,
    },
}

impl ConsensusError {
    /// The SQLSTATE for a client.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            ConsensusError::Locked { .. } => "55006",
            ConsensusError::NewerVersion { .. } => "58000",
            ConsensusError::Damaged { .. } => "XX001",
            ConsensusError::DiskFull { .. } => "53100",
            ConsensusError::Io { .. } => "58030",
            ConsensusError::CommandTooLarge { .. } => "54000",
            ConsensusError::Overloaded { .. } => "53400",
            ConsensusError::Timeout { .. } => "08007",
            ConsensusError::ReadTimeout { .. }
            | ConsensusError::NotLeader
            | ConsensusError::NoLeader { .. }
            | ConsensusError::Removed { .. } => "57P03",
            ConsensusError::JoinFailed { .. } => "08001",
            ConsensusError::UnknownMember { .. } => "42704",
            ConsensusError::ChangeRefused { .. } | ConsensusError::OlderMembers { .. } => "55000",
            ConsensusError::Diverged { .. } => "XX001",
            ConsensusError::Stopped => "57P01",
            ConsensusError::Failed { .. } => "58000",
        }
    }

    /// More about it.
    pub fn detail(&self) -> Option<String> {
        match self {
            ConsensusError::DiskFull { needed_bytes: 0, .. } => None,
            ConsensusError::DiskFull { needed_bytes, .. } => {
                Some(format!("At least {needed_bytes} bytes must be free for the catalog's log and snapshots."))
            }
            ConsensusError::Timeout { .. } => Some("It may still be applied.".to_owned()),
            ConsensusError::Overloaded { limit } => Some(format!("{limit} commands may wait at a time.")),
            ConsensusError::OlderMembers { members, .. } => {
                let sentences = members.iter().map(|(node, reads)| match reads {
                    Some(reads) => format!("Node {node} reads up to version {reads}."),
                    None => format!("Node {node} does not answer and has not said what it reads."),
                });
                Some(sentences.collect::<Vec<_>>().join(" "))
            }
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ConsensusError::Locked { .. } => "Stop the other process, or give this one a data folder of its own.",
            ConsensusError::NewerVersion { .. } => "Start the version of wharf that wrote it, or a newer one.",
            ConsensusError::Damaged { .. } => {
                "Restore the catalog: move the folder away and make it anew with `wharf restore` from a backup, or from the \
                 warehouse; see docs/backup.md."
            }
            ConsensusError::DiskFull { .. } => "Free some space.",
            ConsensusError::Io { .. } => "Check that the folder exists and that this user may read and write it.",
            ConsensusError::Overloaded { .. } => "Try again.",
            ConsensusError::NoLeader { .. } => {
                "Check that more than half of the group's voters run and can reach each other."
            }
            ConsensusError::Removed { .. } => "Start the node with an empty data folder to let it join again.",
            ConsensusError::JoinFailed { .. } => "Check that a member of the group runs at this address.",
            ConsensusError::UnknownMember { .. } => "The status of the group lists its members.",
            ConsensusError::ChangeRefused { .. } => "Try again when the members are up to date.",
            ConsensusError::Diverged { .. } => {
                "Stop the node, keep its data folder for a report, and let it join again with an empty one."
            }
            ConsensusError::Failed { .. } => "See the server's log; restart the server when the cause is removed.",
            ConsensusError::OlderMembers { members, .. } => return Some(how_to_upgrade(members)),
            ConsensusError::CommandTooLarge { .. }
            | ConsensusError::Timeout { .. }
            | ConsensusError::ReadTimeout { .. }
            | ConsensusError::NotLeader
            | ConsensusError::Stopped => return None,
        };
        Some(hint.to_owned())
    }

    /// An error of the file system; a full disk has its own variant.
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ConsensusError::DiskFull { path: path.to_owned(), needed_bytes: 0 }
            }
            _ => ConsensusError::Io { path: path.to_owned(), reason: error.to_string() },
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        ConsensusError::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

/// What to do about members of earlier builds, and about those of which it is not known.
fn how_to_upgrade(members: &[(u64, Option<u16>)]) -> String {
    let nodes = |known: bool| {
        let those =
            members.iter().filter(|(_, reads)| reads.is_some() == known).map(|(node, _)| format!("node {node}"));
        those.collect::<Vec<_>>().join(", ")
    };
    let (older, silent) = (nodes(true), nodes(false));
    let upgrade = (!older.is_empty()).then(|| format!("Upgrade {older}."));
    let start = (!silent.is_empty()).then(|| format!("Start {silent}, or remove what does not come back."));
    let retry = "Then try again.".to_owned();
    upgrade.into_iter().chain(start).chain([retry]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn who_has_to_be_upgraded_is_named() {
        let error = ConsensusError::OlderMembers { format: 2, members: vec![(2, Some(1)), (3, Some(1)), (4, None)] };
        assert_eq!(error.sqlstate(), "55000");
        assert_eq!(
            error.to_string(),
            "not all nodes of the cluster read version 2 of the catalog's format, which this needs"
        );
        assert_eq!(
            error.detail().unwrap(),
            "Node 2 reads up to version 1. Node 3 reads up to version 1. Node 4 does not answer and has not said what it reads."
        );
        assert_eq!(
            error.hint().unwrap(),
            "Upgrade node 2, node 3. Start node 4, or remove what does not come back. Then try again."
        );
    }
}
