//! What a group is told, and what it tells about itself.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

/// Where a group lives and how much it takes.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The data folder; made when it is missing.
    pub directory: PathBuf,
    /// A snapshot is taken after this many log entries, and the log before the snapshot before that one is removed.
    pub snapshot_every: u64,
    /// A snapshot is also taken when the commands since the last one have so many bytes, and no fewer than the last one itself. An entry may
    /// have hundreds of commands, and all of the log is read when the node starts.
    pub snapshot_log_bytes: u64,
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
    /// `host:port` at which the other nodes reach this one; empty for a node that stays alone.
    pub address: String,
    /// How often the leader calls the other nodes when there is nothing to send; also how long one append may take.
    pub heartbeat: Duration,
    /// The shortest and the longest time after which a node that hears of no leader stands for election; and how long it
    /// supports no other while it hears of one (the longest).
    pub election_timeout: (Duration, Duration),
    /// At most so many nodes vote; the others only follow.
    pub max_voters: usize,
    /// A voter that has not answered for so long loses its place to a node that does, if there is one.
    pub replace_after: Duration,
    /// A snapshot goes to another node in pieces of at most so many bytes.
    pub snapshot_chunk_bytes: u64,
    /// After each so many log entries the replicas compare their states; 0: never.
    pub compare_every: u64,
    /// The only voter of a group needs no round to know that it leads. False: every read makes one.
    pub sole_voter_reads: bool,
}

impl GroupOptions {
    /// The defaults, for a folder.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        GroupOptions {
            directory: directory.into(),
            snapshot_every: 2048,
            snapshot_log_bytes: 16 << 20,
            max_waiting_commands: 1024,
            max_command_bytes: 4 << 20,
            propose_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            startup_timeout: Duration::from_secs(30),
            min_free_bytes: 16 << 20,
            min_free_bytes_to_open: 4 << 20,
            address: String::new(),
            heartbeat: Duration::from_millis(200),
            election_timeout: (Duration::from_millis(350), Duration::from_millis(700)),
            max_voters: 5,
            replace_after: Duration::from_secs(60),
            snapshot_chunk_bytes: 1 << 20,
            compare_every: 1024,
            sole_voter_reads: true,
        }
    }
}

/// What a member is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes and leads.
    Leader,
    /// It votes.
    Voter,
    /// It follows without a vote.
    Learner,
}

/// A member as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub node: u64,
    /// `host:port` of its peer port.
    pub address: String,
    /// What it is to the group.
    pub role: Role,
    /// How long ago it answered this node or called it; none when it has not since the start, and for the node itself.
    pub last_contact: Option<Duration>,
    /// How many log entries it lacks, as the leader knows it; none on other nodes.
    pub lag: Option<u64>,
}

/// What a node is doing, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The node's number.
    pub node: u64,
    /// The group it belongs to.
    pub cluster: Uuid,
    /// Does it lead the group?
    pub leads: bool,
    /// Who leads, as far as this node knows.
    pub leader: Option<u64>,
    /// The members, by number; among them is this node.
    pub members: Vec<MemberStatus>,
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
