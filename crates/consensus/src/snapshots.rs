//! Snapshots of the state machine: files of their own, the latest two.
//!
//! A file is written under a temporary name, fsynced, renamed and its folder fsynced, so whatever has a snapshot's name is whole. Its
//! header has a magic, a format version, lengths and a SHA-256 over all the rest; a file that does not match is set aside
//! (`.damaged`) in favour of the one before. For that, the log is purged only as far as the *earlier* of the two reaches.
//!
//! ```text
//! 8  magic "WHARFSNP"
//! 2  format version, big endian as all numbers
//! 4  length of the metadata
//! 8  length of the state
//! 32 SHA-256 of metadata and state
//!    metadata: JSON of openraft's snapshot metadata
//!    content: in version 2 `SnapshotContent`, in version 1 `wharf_catalog::encode_state` alone
//! ```
//! The content (without the header) is also what a leader sends to a node that is too far behind. It has a version of its own:
//! ```text
//! 2  format version
//! 8  the highest number that a node of the group ever had
//!    state: wharf_catalog::encode_state
//! ```

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use wharf_catalog::{EncodingError, State, decode_state, encode_state};

use crate::error::ConsensusError;
use crate::files::{Files, TEMPORARY};
use crate::raft_types::{LogId, NodeId, SnapshotMeta};

const MAGIC: &[u8; 8] = b"WHARFSNP";
const VERSION: u16 = 2;
/// The format of the content.
const CONTENT_VERSION: u16 = 1;
const HEADER_SIZE: usize = 8 + 2 + 4 + 8 + 32;
/// What the name of a snapshot ends with.
const EXTENSION: &str = ".snapshot";
/// What is added to the name of one that cannot be read.
const DAMAGED: &str = ".damaged";
/// How many are kept.
const KEPT: usize = 2;

/// A snapshot in memory.
#[derive(Clone)]
pub(crate) struct StoredSnapshot {
    pub(crate) meta: SnapshotMeta,
    /// [`SnapshotContent`], encoded.
    pub(crate) content: Vec<u8>,
}

/// What a snapshot says besides its metadata.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotContent {
    /// The highest number that a node of the group ever had.
    pub(crate) last_node_id: NodeId,
    pub(crate) state: Arc<State>,
}

impl SnapshotContent {
    /// The bytes of it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = CONTENT_VERSION.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.last_node_id.to_be_bytes());
        bytes.append(&mut encode_state(&self.state));
        bytes
    }

    /// Reads it; the path is for messages.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, ConsensusError> {
        let cut_off = || ConsensusError::damaged(path, "its content is cut off");
        let (version, body) = bytes.split_first_chunk().ok_or_else(cut_off)?;
        match u16::from_be_bytes(*version) {
            CONTENT_VERSION => {}
            0 => return Err(ConsensusError::damaged(path, "format version 0")),
            found => return Err(newer(path, "the content of the snapshot", found.into(), CONTENT_VERSION)),
        }
        let (last_node_id, state) = body.split_first_chunk().ok_or_else(cut_off)?;
        let state = decode(path, state)?;
        Ok(SnapshotContent { last_node_id: u64::from_be_bytes(*last_node_id), state: Arc::new(state) })
    }
}

/// How much of the log is in snapshots that are on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Covered {
    /// The last index.
    upto: Option<u64>,
    /// A snapshot could not be written: it will not be more.
    failed: bool,
}

impl Covered {
    /// Is everything up to an index in a snapshot? None while that may still come.
    pub(crate) fn has(&self, index: u64) -> Option<bool> {
        match self.upto >= Some(index) {
            true => Some(true),
            false => self.failed.then_some(false),
        }
    }

    /// Up to an index.
    #[cfg(test)]
    pub(crate) fn upto(index: u64) -> Self {
        Covered { upto: Some(index), failed: false }
    }

    /// Nothing, and no more will be.
    #[cfg(test)]
    pub(crate) fn nothing_ever() -> Self {
        Covered { upto: None, failed: true }
    }
}

/// The snapshots of a node.
pub(crate) struct SnapshotStore {
    files: Box<dyn Files>,
    /// Held while the folder is changed.
    current: Mutex<Option<SnapshotMeta>>,
    /// How far the log may be purged.
    purgeable: watch::Sender<Option<LogId>>,
    covered: watch::Sender<Covered>,
    /// The size of the newest snapshot's content.
    newest_bytes: Arc<AtomicU64>,
    /// Holds the lock of the data folder as long as someone may write here.
    _data: Arc<dyn Any + Send + Sync>,
}

impl SnapshotStore {
    /// Opens the folder and reads the newest snapshot that is whole.
    pub(crate) fn open(
        files: Box<dyn Files>,
        data: Arc<dyn Any + Send + Sync>,
    ) -> Result<(Self, Option<(SnapshotMeta, SnapshotContent)>), ConsensusError> {
        let store = SnapshotStore {
            files,
            current: Mutex::new(None),
            purgeable: watch::Sender::new(None),
            covered: watch::Sender::default(),
            newest_bytes: Arc::default(),
            _data: data,
        };
        for name in store.names_ending(TEMPORARY).map_err(|error| store.failed("", &error))? {
            store.files.remove(&name).map_err(|error| store.failed(&name, &error))?;
        }
        let mut newest = None;
        for name in store.names().map_err(|error| store.failed("", &error))? {
            let path = store.path(&name);
            match store.read(&name).and_then(|read| Ok((read.meta, SnapshotContent::decode(&path, &read.content)?))) {
                Ok(found) => {
                    newest = Some(found);
                    break;
                }
                Err(error @ ConsensusError::Damaged { .. }) => {
                    tracing::error!(%error, "a snapshot is damaged and set aside, the one before it is used");
                    let aside = format!("{name}{DAMAGED}");
                    store.files.publish(&name, &aside).map_err(|error| store.failed(&name, &error))?;
                }
                Err(error) => return Err(error),
            }
        }
        *store.current.lock() = newest.as_ref().map(|(meta, _)| meta.clone());
        if let Some((meta, _)) = &newest {
            store.covers(meta);
        }
        Ok((store, newest))
    }

    /// Writes a snapshot and removes those that are not needed any more. Blocks.
    pub(crate) fn save(&self, snapshot: &StoredSnapshot) -> Result<(), ConsensusError> {
        let saved = self.try_save(snapshot);
        match &saved {
            Ok(()) => self.covers(&snapshot.meta),
            Err(_) => self.covered.send_modify(|covered| covered.failed = true),
        }
        saved
    }

    fn covers(&self, meta: &SnapshotMeta) {
        let index = meta.last_log_id.map(|last| last.index);
        self.covered.send_modify(|covered| covered.upto = covered.upto.max(index));
    }

    fn try_save(&self, snapshot: &StoredSnapshot) -> Result<(), ConsensusError> {
        let mut current = self.current.lock();
        let name = name_of(&snapshot.meta);
        self.write(&name, snapshot).map_err(|error| self.failed(&name, &error))?;
        self.newest_bytes.store(snapshot.content.len() as u64, Ordering::Relaxed);
        let before = current.replace(snapshot.meta.clone());
        for old in self.names().map_err(|error| self.failed("", &error))?.iter().skip(KEPT) {
            self.files.remove(old).map_err(|error| self.failed(old, &error))?;
        }
        // The one before this one is whole: it was read at the start, or written by us.
        let before = before.and_then(|meta| meta.last_log_id);
        if before.is_some() && before < snapshot.meta.last_log_id {
            self.purgeable.send_replace(before);
        }
        Ok(())
    }

    /// The newest snapshot, read again.
    pub(crate) fn newest(&self) -> Result<Option<StoredSnapshot>, ConsensusError> {
        let current = self.current.lock();
        let Some(meta) = current.as_ref() else {
            return Ok(None);
        };
        self.read(&name_of(meta)).map(Some)
    }

    /// How far the log may be purged, whenever that changes.
    pub(crate) fn purgeable(&self) -> watch::Receiver<Option<LogId>> {
        self.purgeable.subscribe()
    }

    /// How much of the log is in snapshots, whenever that changes.
    pub(crate) fn covered(&self) -> watch::Receiver<Covered> {
        self.covered.subscribe()
    }

    /// The size of the newest snapshot that was written since the start.
    pub(crate) fn newest_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.newest_bytes)
    }

    /// The snapshots, newest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.names_ending(EXTENSION)?;
        names.sort_unstable_by(|left, right| right.cmp(left));
        Ok(names)
    }

    fn names_ending(&self, ending: &str) -> io::Result<Vec<String>> {
        Ok(self.files.names()?.into_iter().filter(|name| name.ends_with(ending)).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.folder().join(name)
    }

    fn failed(&self, name: &str, error: &io::Error) -> ConsensusError {
        ConsensusError::io(&self.path(name), error)
    }

    fn write(&self, name: &str, snapshot: &StoredSnapshot) -> io::Result<()> {
        let meta = serde_json::to_vec(&snapshot.meta).map_err(io::Error::other)?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(&u32::try_from(meta.len()).map_err(io::Error::other)?.to_be_bytes());
        header.extend_from_slice(&(snapshot.content.len() as u64).to_be_bytes());
        header.extend_from_slice(&checksum(&meta, &snapshot.content));
        let temporary = format!("{name}{TEMPORARY}");
        self.files.write_temporary(&temporary, &[&header, &meta, &snapshot.content])?;
        fail_point!("consensus::snapshot_written_before_rename");
        self.files.publish(&temporary, name)?;
        fail_point!("consensus::snapshot_renamed");
        Ok(())
    }

    /// Reads a snapshot and checks it.
    fn read(&self, name: &str) -> Result<StoredSnapshot, ConsensusError> {
        let bytes = self.files.read(name).map_err(|error| self.failed(name, &error))?;
        parse(&self.path(name), &bytes)
    }
}

/// The name of a snapshot begins with the number of the first log entry that it does not have.
fn name_of(meta: &SnapshotMeta) -> String {
    format!("{:020}{EXTENSION}", meta.last_log_id.map_or(0, |last| last.index + 1))
}

/// A state out of a snapshot.
fn decode(path: &Path, state: &[u8]) -> Result<State, ConsensusError> {
    decode_state(state).map_err(|error| match error {
        EncodingError::NewerVersion { what, found, supported } => ConsensusError::NewerVersion {
            path: path.to_owned(),
            what: what.to_owned(),
            found: found.into(),
            supported: supported.into(),
        },
        EncodingError::Damaged { .. } => ConsensusError::damaged(path, error.to_string()),
    })
}

fn newer(path: &Path, what: &str, found: u64, supported: u16) -> ConsensusError {
    ConsensusError::NewerVersion { path: path.to_owned(), what: what.to_owned(), found, supported: supported.into() }
}

fn checksum(meta: &[u8], state: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(meta).chain_update(state).finalize().into()
}

/// Reads the bytes of a snapshot and checks them.
fn parse(path: &Path, bytes: &[u8]) -> Result<StoredSnapshot, ConsensusError> {
    let damaged = |reason: &str| ConsensusError::damaged(path, reason);
    let (header, body) = bytes.split_first_chunk::<HEADER_SIZE>().ok_or_else(|| damaged("it is too short"))?;
    let (magic, header) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(damaged("it is not a snapshot"));
    }
    let number =
        |range: std::ops::Range<usize>| header[range].iter().fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    let (version, meta_size, content_size) = (number(0..2), number(2..6), number(6..14));
    if version > u64::from(VERSION) {
        return Err(newer(path, "the snapshot", version, VERSION));
    }
    if version == 0 || meta_size.checked_add(content_size) != Some(body.len() as u64) {
        return Err(damaged("its length is not what its header says"));
    }
    let meta_size = usize::try_from(meta_size).map_err(|_| damaged("its header is not readable"))?;
    let (meta, content) = body.split_at(meta_size);
    if header[14..] != checksum(meta, content) {
        return Err(damaged("its checksum does not match"));
    }
    let meta: SnapshotMeta =
        serde_json::from_slice(meta).map_err(|error| damaged(&format!("its metadata: {error}")))?;
    let content = match version {
        // The state alone, of a group of one.
        1 => {
            let last_node_id = meta.last_membership.nodes().map(|(id, _)| *id).max().unwrap_or_default();
            SnapshotContent { last_node_id, state: Arc::new(decode(path, content)?) }.encode()
        }
        _ => content.to_vec(),
    };
    Ok(StoredSnapshot { meta, content })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::files::FolderFiles;

    /// The bytes of a snapshot as version 1 of the format had them.
    fn first_version(meta: &SnapshotMeta, state: &State) -> Vec<u8> {
        let (meta, state) = (serde_json::to_vec(meta).unwrap(), encode_state(state));
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&1_u16.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(meta.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&(state.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&checksum(&meta, &state));
        [bytes, meta, state].concat()
    }

    #[test]
    fn a_snapshot_of_the_first_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let meta = SnapshotMeta { snapshot_id: "first".to_owned(), ..SnapshotMeta::default() };
        std::fs::write(folder.path().join(name_of(&meta)), first_version(&meta, &State::default())).unwrap();
        let files = || Box::new(FolderFiles::new(folder.path().to_owned()));
        let (store, newest) = SnapshotStore::open(files(), Arc::new(())).unwrap();
        let (found, content) = newest.unwrap();
        assert_eq!((found.snapshot_id.as_str(), content.last_node_id), ("first", 0));
        // And written again in the version of today.
        let content = SnapshotContent { last_node_id: 9, ..content }.encode();
        store.save(&StoredSnapshot { meta: found, content }).unwrap();
        let (_, newest) = SnapshotStore::open(files(), Arc::new(())).unwrap();
        assert_eq!(newest.unwrap().1.last_node_id, 9);
    }
}
