//! Backups of the catalog: one file that says what it is, and a new group that begins with it.
//!
//! What always holds: a backup is one instant of the catalog, with everything that was answered before it was asked for; its bytes
//! are taken whole or not at all, since a SHA-256 covers all of them. A group that is made of a backup is a new one: it has an id of
//! its own, so that no node of the old one is let in by accident, and its only node a number that no node of the old one had.
//!
//! ```text
//! 8  magic "WHARFBAK"
//! 2  format version, big endian as all numbers
//! 4  length of the description
//! 8  length of the content
//! 32 SHA-256 of description and content
//!    description: JSON of `BackupInfo`
//!    content: that of a snapshot, see `snapshots`
//! ```
//! Data and metadata files of tables are not in it: it says where each table's metadata file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::{CommittedLeaderId, Membership};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wharf_catalog::State;

use crate::data_folder::DataFolder;
use crate::error::ConsensusError;
use crate::files::{self, FolderFiles};
use crate::identity::Identity;
use crate::log_record::encode_small;
use crate::log_storage::{LogStorage, SmallRecord};
use crate::raft_types::{LogId, Member, NodeId, SnapshotMeta, StoredMembership, Vote};
use crate::runtime;
use crate::sled_storage::SledStorage;
use crate::snapshots::{SnapshotContent, SnapshotStore, StoredSnapshot};
use crate::state_machine::Applied;

const MAGIC: &[u8; 8] = b"WHARFBAK";
const VERSION: u16 = 1;
const HEADER_SIZE: usize = 8 + 2 + 4 + 8 + 32;
/// What a folder is called while it is made.
const UNFINISHED: &str = "restoring";

/// What a backup says of itself. Fields may be added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupInfo {
    /// The group it is of; nil when it is of none.
    pub cluster: Uuid,
    /// The last entry of the log that it has.
    pub log_index: u64,
    /// The term of that entry.
    pub term: u64,
    /// When it was taken, milliseconds since 1970.
    pub taken_ms: i64,
    /// Where the tables are.
    pub warehouse: String,
    /// The version of wharf that wrote it.
    pub version: String,
}

/// The catalog at one instant.
#[derive(Clone, Debug)]
pub struct Backup {
    info: BackupInfo,
    content: SnapshotContent,
}

/// Is this the beginning of a backup?
pub fn is_backup(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

impl Backup {
    /// Of what a node has applied.
    pub(crate) fn of(applied: Applied, cluster: Uuid, taken_ms: i64, warehouse: String) -> Self {
        let (log_index, term) = applied.last.map_or((0, 0), |last| (last.index, last.leader_id.term));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = BackupInfo { cluster, log_index, term, taken_ms, warehouse, version };
        Backup { info, content: SnapshotContent { last_node_id: applied.last_node_id, state: applied.state } }
    }

    /// Of a state that no group had.
    pub fn of_state(state: State, taken_ms: i64, warehouse: String) -> Self {
        let applied = Applied { state: Arc::new(state), ..Applied::default() };
        Self::of(applied, Uuid::nil(), taken_ms, warehouse)
    }

    /// The same with another state.
    #[must_use]
    pub fn with_state(mut self, state: State) -> Self {
        self.content.state = Arc::new(state);
        self
    }

    /// What it says of itself.
    pub fn info(&self) -> &BackupInfo {
        &self.info
    }

    /// The catalog.
    pub fn state(&self) -> &Arc<State> {
        &self.content.state
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let info = serde_json::to_vec(&self.info).expect("a description has no maps");
        let content = self.content.encode();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(info.len()).expect("a description is short").to_be_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&checksum(&info, &content));
        bytes.extend_from_slice(&info);
        bytes.extend_from_slice(&content);
        bytes
    }

    /// Reads the bytes of a file and checks all of it; the path is for messages.
    ///
    /// # Errors
    /// [`ConsensusError::Damaged`] for what is not a whole backup, [`ConsensusError::NewerVersion`] for one that a newer version wrote.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, ConsensusError> {
        let damaged = |reason: &str| ConsensusError::damaged(path, reason);
        if !is_backup(bytes) {
            return Err(damaged("it is not a backup of a catalog"));
        }
        let (header, body) = bytes.split_first_chunk::<HEADER_SIZE>().ok_or_else(|| damaged("it is cut off"))?;
        let header = &header[MAGIC.len()..];
        let number =
            |range: std::ops::Range<usize>| header[range].iter().fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
        let (version, info_size, content_size) = (number(0..2), number(2..6), number(6..14));
        if version > u64::from(VERSION) {
            let what = "the backup".to_owned();
            let (path, supported) = (path.to_owned(), VERSION.into());
            return Err(ConsensusError::NewerVersion { path, what, found: version, supported });
        }
        if version == 0 || info_size.checked_add(content_size) != Some(body.len() as u64) {
            return Err(damaged("its length is not what its header says"));
        }
        let info_size = usize::try_from(info_size).map_err(|_| damaged("its header is not readable"))?;
        let (info, content) = body.split_at(info_size);
        if header[14..] != checksum(info, content) {
            return Err(damaged("its checksum does not match"));
        }
        let info = serde_json::from_slice(info).map_err(|error| damaged(&format!("its description: {error}")))?;
        Ok(Backup { info, content: SnapshotContent::decode(path, content)? })
    }
}

fn checksum(info: &[u8], content: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(info).chain_update(content).finalize().into()
}

/// A group that was made of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its id.
    pub cluster: Uuid,
    /// The number of its only node.
    pub node: u64,
}

/// Makes a data folder, which must not be there, for the only node of a new group that begins with a backup. The folder gets its name
/// when all of it is on the disk, so one that a crash interrupts is not there. Blocks.
///
/// # Errors
/// [`ConsensusError::Io`], [`ConsensusError::DiskFull`].
pub fn restore(directory: &Path, backup: &Backup) -> Result<Restored, ConsensusError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| ConsensusError::io(&path, &error)
    };
    if directory.exists() {
        return Err(failed(directory)(io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    let unfinished = unfinished(directory);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&unfinished)(error)),
        _ => {}
    }
    let restored = write(&unfinished, backup)?;
    fs::rename(&unfinished, directory).and_then(|()| files::sync_parent(directory)).map_err(failed(directory))?;
    Ok(restored)
}

/// Where a folder is made.
fn unfinished(directory: &Path) -> PathBuf {
    directory.with_extension(UNFINISHED)
}

fn write(folder: &Path, backup: &Backup) -> Result<Restored, ConsensusError> {
    let failed = |error: io::Error| ConsensusError::io(folder, &error);
    let data = Arc::new(DataFolder::open(folder)?);
    let node: NodeId = backup.content.last_node_id + 1;
    let instance = runtime::unique_id();
    let cluster = runtime::unique_id();

    // An entry of an earlier term than any that the node will write: its first vote is for a later one.
    let last = LogId::new(CommittedLeaderId::new(backup.info.term, node), backup.info.log_index.max(1));
    let snapshots = data.snapshots();
    files::create_folder(&snapshots).map_err(failed)?;
    let (store, _) = SnapshotStore::open(Box::new(FolderFiles::new(snapshots)), Arc::clone(&data) as _)?;
    let members = BTreeMap::from([(node, Member { addr: String::new(), instance })]);
    let membership = Membership::new(vec![BTreeSet::from([node])], members);
    let last_membership = StoredMembership::new(Some(last), membership);
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership, snapshot_id: last.to_string() };
    let content = SnapshotContent { last_node_id: node, state: Arc::clone(backup.state()) }.encode();
    store.save(&StoredSnapshot { meta, content })?;

    // The log is empty: the snapshot has all of it.
    let storage = SledStorage::open(data.log(), Arc::clone(&data)).map_err(failed)?;
    storage
        .write_small(SmallRecord::Vote, encode_small(&Vote::new(backup.info.term, node)))
        .and_then(|()| storage.write_small(SmallRecord::Purged, encode_small(&last)))
        .and_then(|()| storage.flush())
        .map_err(failed)?;
    drop(storage);

    let mut identity = Identity::new(instance);
    (identity.cluster, identity.node, identity.members) = (cluster, node, vec![(node, String::new())]);
    identity.write(&FolderFiles::new(folder.to_owned()))?;
    Ok(Restored { cluster, node })
}
