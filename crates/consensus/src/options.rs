//! What a group is told, and what it tells about itself.

use std::path::PathBuf;
use std::time::Duration;

/// Where a group lives and how much it takes.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The data folder; made when it is missing.
    pub directory: PathBuf,
    /// A snapshot is taken after this many log entries, and the log before the snapshot before that one is removed.
    pub snapshot_every: u64,
    /// How many commands may wait for the log; more are refused.
    pub max_waiting_commands: usize,
    /// The largest command, bytes.
    pub max_command_bytes: usize,
    /// How long a command waits for its answer.
    pub propose_timeout: Duration,
    /// How long a read waits to be confirmed.
    pub read_timeout: Duration,
    /// How long the start may take.
    pub startup_timeout: Duration,
    /// What must be free on the disk for a command to be taken, besides room for two snapshots, bytes.
    pub min_free_bytes: u64,
    /// What must be free on the disk to open the folder, bytes: sled writes when it opens, and destroys its files when it cannot.
    pub min_free_bytes_to_open: u64,
    /// The only voter of a group needs no round to know that it leads. False: every read makes one.
    pub sole_voter_reads: bool,
}

impl GroupOptions {
    /// The defaults, for a folder.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        GroupOptions {
            directory: directory.into(),
            snapshot_every: 2048,
            max_waiting_commands: 1024,
            max_command_bytes: 4 << 20,
            propose_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            startup_timeout: Duration::from_secs(30),
            min_free_bytes: 16 << 20,
            min_free_bytes_to_open: 4 << 20,
            sole_voter_reads: true,
        }
    }
}

/// What a node is doing, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The node's number.
    pub node: u64,
    /// Does it lead the group?
    pub leads: bool,
    /// Raft's term.
    pub term: u64,
    /// The last index in the log.
    pub last_log_index: Option<u64>,
    /// The last index that the state has.
    pub applied_index: Option<u64>,
    /// The last index that the newest snapshot has.
    pub snapshot_index: Option<u64>,
    /// The last index that was removed from the log.
    pub purged_index: Option<u64>,
    /// What sled takes on the disk, bytes; 0 after shutdown.
    pub log_bytes_on_disk: u64,
}
