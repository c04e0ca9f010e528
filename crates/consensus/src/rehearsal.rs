//! A start that is tried on a copy first.
//!
//! sled repairs what it opens: where it finds damage it cuts its file off, and what was acknowledged behind that place is gone
//! before anyone could have refused to start. So a copy of the log is opened and checked, and only when nothing is missing in that
//! is the log itself opened. A log is short (snapshots purge it), so the copy is a few megabytes and needs no fsync: whatever a crash
//! leaves of it is removed at the next start.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::data_folder::DataFolder;
use crate::error::ConsensusError;
use crate::files;
use crate::flushed::Mark;
use crate::raft_types::SnapshotMeta;
use crate::sled_storage::SledStorage;
use crate::startup;

/// Checks the log of a data folder without changing it.
///
/// # Errors
/// As [`startup::check_log`], about the log itself; and when there is no room for the copy.
pub(crate) fn check(
    data: &Arc<DataFolder>,
    mark: &dyn Mark,
    snapshot: Option<&SnapshotMeta>,
) -> Result<(), ConsensusError> {
    let (log, copy) = (data.log(), data.rehearsal());
    let failed = |error: io::Error| ConsensusError::io(&copy, &error);
    remove(&copy).map_err(failed)?;
    files::check_free_space(data.path(), size_bytes(&log).map_err(failed)?)?;
    copy_folder(&log, &copy).map_err(failed)?;
    let opened = SledStorage::open(copy.clone(), Arc::clone(data));
    let checked = match opened {
        Ok(storage) => startup::check_log(&storage, mark, snapshot, &log).map(drop),
        Err(error) => Err(startup::read_error(&log, &error)),
    };
    // What is wrong with the log says more than what is wrong with removing its copy.
    checked.and(remove(&copy).map_err(failed))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Copies a folder with everything in it; a missing one is an empty one.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for_each(from, |entry, is_folder| {
        let target = to.join(entry.file_name().unwrap_or_default());
        if is_folder { copy_folder(entry, &target) } else { fs::copy(entry, &target).map(drop) }
    })
}

fn size_bytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for_each(folder, |entry, is_folder| {
        sum += if is_folder { size_bytes(entry)? } else { fs::metadata(entry)?.len() };
        Ok(())
    })?;
    Ok(sum)
}

fn for_each(folder: &Path, mut run: impl FnMut(&Path, bool) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        run(&entry.path(), entry.file_type()?.is_dir())?;
    }
    Ok(())
}
