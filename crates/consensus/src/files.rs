//! Small files that are there whole or not at all, and room for them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::ConsensusError;

/// What a temporary file's name ends with; one that is found at the start was not finished and is removed.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes a file under a temporary name and makes it durable; [`publish`] gives it its name.
pub(crate) fn write_temporary(temporary: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Gives a file its name, durably. Whoever opens the name sees the old file whole or the new one whole.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    sync_parent(path)
}

/// Makes what happened to a name in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        // A relative path of one part has the empty path for a parent.
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder and those above it, durably.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_parent(path)
}

/// An error when a disk has less room than is needed.
pub(crate) fn check_free_space(folder: &Path, needed_bytes: u64) -> Result<(), ConsensusError> {
    let free = fs2::available_space(folder).map_err(|error| ConsensusError::io(folder, &error))?;
    if free < needed_bytes {
        return Err(ConsensusError::DiskFull { path: folder.to_owned(), needed_bytes });
    }
    Ok(())
}
