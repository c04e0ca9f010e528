//! What is checked before a node starts: that nothing it has acknowledged is missing.
//!
//! The log is read once from end to end. It must follow on from the snapshot without a hole, reach at least as far as it was ever
//! flushed, and every command in it must be readable by this version: better to hear of that now than in the midst of applying.

use std::io;
use std::path::Path;

use openraft::EntryPayload;
use wharf_catalog::{EncodingError, decode_envelope};

use crate::error::ConsensusError;
use crate::flushed::Mark;
use crate::log_record::{self, RecordError};
use crate::log_storage::{LogStorage, SmallRecord};
use crate::log_store::read_small;
use crate::raft_types::{LogId, SnapshotMeta, Vote};

/// How many entries are read at a time.
const CHUNK: u64 = 256;

/// Checks a log against the snapshot that was read; returns the index of its last entry.
pub(crate) fn check_log(
    storage: &dyn LogStorage,
    mark: &dyn Mark,
    snapshot: Option<&SnapshotMeta>,
    path: &Path,
) -> Result<Option<u64>, ConsensusError> {
    let failed = |error: io::Error| read_error(path, &error);
    let purged: Option<LogId> = read_small(storage, SmallRecord::Purged, "purged log id").map_err(failed)?;
    let covered = snapshot.and_then(|snapshot| snapshot.last_log_id);
    if purged.map(|purged| purged.index) > covered.map(|covered| covered.index) {
        let last = purged.map_or(0, |purged| purged.index);
        return Err(ConsensusError::damaged(path, format!("no readable snapshot has the log entries up to {last}")));
    }
    if let Some(purged) = purged {
        // A crash may have come between noting the purge and removing the entries.
        storage.remove(0..=purged.index).map_err(failed)?;
    }
    let last = check_entries(storage, purged.map_or(0, |purged| purged.index + 1), path)?;
    let last = last.or(purged.map(|purged| purged.index));
    let flushed = mark.read().map_err(failed)?;
    if flushed > last {
        let end = last.map_or("it is empty".to_owned(), |last| format!("it ends at entry {last}"));
        let reason = format!("{end}, though entries up to {} were acknowledged", flushed.unwrap_or_default());
        return Err(ConsensusError::damaged(path, reason));
    }
    // The very first entry, the membership, is written before the first vote.
    let vote: Option<Vote> = read_small(storage, SmallRecord::Vote, "vote").map_err(failed)?;
    if last > Some(0) && vote.is_none() {
        return Err(ConsensusError::damaged(path, "it has entries and no vote"));
    }
    Ok(last)
}

/// Reads all entries from an index on; returns the last index.
fn check_entries(storage: &dyn LogStorage, first: u64, path: &Path) -> Result<Option<u64>, ConsensusError> {
    let mut expected = first;
    loop {
        let entries = storage.entries(expected..=expected.saturating_add(CHUNK - 1));
        let entries = entries.map_err(|error| read_error(path, &error))?;
        if entries.is_empty() {
            break;
        }
        for (index, bytes) in entries {
            if index != expected {
                return Err(ConsensusError::damaged(path, format!("entry {expected} is missing")));
            }
            check_entry(index, &bytes, path)?;
            expected += 1;
        }
    }
    // Entries behind a hole that is larger than a chunk.
    if let Some((index, _)) = storage.last_entry().map_err(|error| read_error(path, &error))?
        && index >= expected
    {
        return Err(ConsensusError::damaged(path, format!("entry {expected} is missing")));
    }
    Ok(expected.checked_sub(1).filter(|last| *last >= first))
}

fn check_entry(index: u64, bytes: &[u8], path: &Path) -> Result<(), ConsensusError> {
    let entry = log_record::decode_entry(index, bytes).map_err(|error| record_error(path, &error))?;
    if let EntryPayload::Normal(proposal) = entry.payload {
        for command in &proposal.commands {
            decode_envelope(command).map_err(|error| match error {
                EncodingError::NewerVersion { what, found, supported } => ConsensusError::NewerVersion {
                    path: path.to_owned(),
                    what: what.to_owned(),
                    found: found.into(),
                    supported: supported.into(),
                },
                EncodingError::Damaged { .. } => ConsensusError::damaged(path, format!("log entry {index}: {error}")),
            })?;
        }
    }
    Ok(())
}

fn record_error(path: &Path, error: &RecordError) -> ConsensusError {
    match error {
        RecordError::NewerVersion { what, found } => ConsensusError::NewerVersion {
            path: path.to_owned(),
            what: (*what).to_owned(),
            found: (*found).into(),
            supported: RecordError::SUPPORTED.into(),
        },
        RecordError::Damaged { .. } => ConsensusError::damaged(path, error.to_string()),
    }
}

/// An error of the storage at the start. What sled cannot read is damage, unless the system says otherwise.
pub(crate) fn read_error(path: &Path, error: &io::Error) -> ConsensusError {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<RecordError>()) {
        return record_error(path, error);
    }
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ConsensusError::damaged(path, error.to_string()),
        _ => ConsensusError::io(path, error),
    }
}
