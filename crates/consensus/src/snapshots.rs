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
//!    state: wharf_catalog::encode_state
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fail::fail_point;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use wharf_catalog::{EncodingError, State, decode_state};

use crate::data_folder::DataFolder;
use crate::error::ConsensusError;
use crate::files;
use crate::raft_types::{LogId, SnapshotMeta};

const MAGIC: &[u8; 8] = b"WHARFSNP";
const VERSION: u16 = 1;
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
    /// `wharf_catalog::encode_state`.
    pub(crate) state: Vec<u8>,
}

/// The snapshots of a node.
pub(crate) struct SnapshotStore {
    folder: PathBuf,
    /// Held while the folder is changed.
    current: Mutex<Option<SnapshotMeta>>,
    /// How far the log may be purged.
    purgeable: watch::Sender<Option<LogId>>,
    /// The size of the newest snapshot's state.
    newest_bytes: Arc<AtomicU64>,
    /// Holds the lock of the data folder as long as someone may write here.
    _data: Arc<DataFolder>,
}

impl SnapshotStore {
    /// Opens the folder and reads the newest snapshot that is whole.
    pub(crate) fn open(data: Arc<DataFolder>) -> Result<(Self, Option<(SnapshotMeta, State)>), ConsensusError> {
        let folder = data.snapshots();
        let failed = |error: io::Error| ConsensusError::io(&folder, &error);
        files::create_folder(&folder).map_err(failed)?;
        let store = SnapshotStore {
            folder: folder.clone(),
            current: Mutex::new(None),
            purgeable: watch::Sender::new(None),
            newest_bytes: Arc::default(),
            _data: data,
        };
        store.remove_temporary().map_err(failed)?;
        let mut newest = None;
        for path in store.paths().map_err(failed)? {
            match read(&path).and_then(|stored| Ok((stored.meta, decode(&path, &stored.state)?))) {
                Ok(found) => {
                    newest = Some(found);
                    break;
                }
                Err(error @ ConsensusError::Damaged { .. }) => {
                    tracing::error!(%error, "a snapshot is damaged and set aside, the one before it is used");
                    let aside = PathBuf::from(format!("{}{DAMAGED}", path.display()));
                    files::publish(&path, &aside).map_err(|error| ConsensusError::io(&path, &error))?;
                }
                Err(error) => return Err(error),
            }
        }
        *store.current.lock() = newest.as_ref().map(|(meta, _)| meta.clone());
        Ok((store, newest))
    }

    /// Writes a snapshot and removes those that are not needed any more. Blocks.
    pub(crate) fn save(&self, snapshot: &StoredSnapshot) -> Result<(), ConsensusError> {
        let mut current = self.current.lock();
        let path = self.folder.join(format!("{:020}{EXTENSION}", next_index(snapshot.meta.last_log_id)));
        write(&path, snapshot).map_err(|error| ConsensusError::io(&path, &error))?;
        self.newest_bytes.store(snapshot.state.len() as u64, Ordering::Relaxed);
        let before = current.replace(snapshot.meta.clone());
        for old in self.paths().map_err(|error| ConsensusError::io(&self.folder, &error))?.iter().skip(KEPT) {
            fs::remove_file(old).map_err(|error| ConsensusError::io(old, &error))?;
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
        read(&self.folder.join(format!("{:020}{EXTENSION}", next_index(meta.last_log_id)))).map(Some)
    }

    /// How far the log may be purged, whenever that changes.
    pub(crate) fn purgeable(&self) -> watch::Receiver<Option<LogId>> {
        self.purgeable.subscribe()
    }

    /// The size of the newest snapshot that was written since the start.
    pub(crate) fn newest_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.newest_bytes)
    }

    /// The snapshots, newest first.
    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.files_ending(EXTENSION)?;
        paths.sort_unstable_by(|left, right| right.cmp(left));
        Ok(paths)
    }

    fn remove_temporary(&self) -> io::Result<()> {
        self.files_ending(files::TEMPORARY)?.into_iter().try_for_each(fs::remove_file)
    }

    fn files_ending(&self, ending: &str) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.as_os_str().as_encoded_bytes().ends_with(ending.as_bytes()) {
                paths.push(path);
            }
        }
        Ok(paths)
    }
}

/// The number in a snapshot's name: that of the first log entry it does not have.
fn next_index(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

/// A state out of a snapshot.
pub(crate) fn decode(path: &Path, state: &[u8]) -> Result<State, ConsensusError> {
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

fn write(path: &Path, snapshot: &StoredSnapshot) -> io::Result<()> {
    let meta = serde_json::to_vec(&snapshot.meta).map_err(io::Error::other)?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_be_bytes());
    header.extend_from_slice(&u32::try_from(meta.len()).map_err(io::Error::other)?.to_be_bytes());
    header.extend_from_slice(&(snapshot.state.len() as u64).to_be_bytes());
    header.extend_from_slice(&checksum(&meta, &snapshot.state));
    let temporary = PathBuf::from(format!("{}{}", path.display(), files::TEMPORARY));
    files::write_temporary(&temporary, &[&header, &meta, &snapshot.state])?;
    fail_point!("consensus::snapshot_written_before_rename");
    files::publish(&temporary, path)?;
    fail_point!("consensus::snapshot_renamed");
    Ok(())
}

fn checksum(meta: &[u8], state: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(meta).chain_update(state).finalize().into()
}

/// Reads a snapshot and checks it.
fn read(path: &Path) -> Result<StoredSnapshot, ConsensusError> {
    let bytes = fs::read(path).map_err(|error| ConsensusError::io(path, &error))?;
    let damaged = |reason: &str| ConsensusError::damaged(path, reason);
    let (header, body) = bytes.split_first_chunk::<HEADER_SIZE>().ok_or_else(|| damaged("it is too short"))?;
    let (magic, header) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(damaged("it is not a snapshot"));
    }
    let number =
        |range: std::ops::Range<usize>| header[range].iter().fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    let (version, meta_size, state_size) = (number(0..2), number(2..6), number(6..14));
    if version > u64::from(VERSION) {
        return Err(ConsensusError::NewerVersion {
            path: path.to_owned(),
            what: "the snapshot".to_owned(),
            found: version,
            supported: VERSION.into(),
        });
    }
    if version == 0 || meta_size.checked_add(state_size) != Some(body.len() as u64) {
        return Err(damaged("its length is not what its header says"));
    }
    let (meta, state) = body.split_at(usize::try_from(meta_size).map_err(|_| damaged("its header is not readable"))?);
    if header[14..] != checksum(meta, state) {
        return Err(damaged("its checksum does not match"));
    }
    let meta = serde_json::from_slice(meta).map_err(|error| damaged(&format!("its metadata: {error}")))?;
    Ok(StoredSnapshot { meta, state: state.to_vec() })
}
