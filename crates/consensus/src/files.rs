//! Small files that are there whole or not at all, and room for them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::ConsensusError;

/// What a temporary file's name ends with; one that is found at the start was not finished and is removed.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A folder of small files. All calls block.
pub(crate) trait Files: Send + Sync + 'static {
    /// Where it is, for messages.
    fn folder(&self) -> &Path;

    /// The names there are, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Writes a file under a temporary name, durably but for its name.
    fn write_temporary(&self, name: &str, parts: &[&[u8]]) -> io::Result<()>;

    /// Gives a file another name, durably: whoever reads that name sees what was there before or all of the new.
    fn publish(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub(crate) struct FolderFiles {
    folder: PathBuf,
}

impl FolderFiles {
    /// A folder that is there.
    pub(crate) fn new(folder: PathBuf) -> Self {
        FolderFiles { folder }
    }
}

impl Files for FolderFiles {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(name))
    }

    fn write_temporary(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        write_temporary(&self.folder.join(name), parts)
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        publish(&self.folder.join(from), &self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }
}

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
