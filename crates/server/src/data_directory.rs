//! The folder a node keeps its state in: `catalog/` (Raft log, snapshots), `warehouse/` (tables, unless they live in
//! another object store), `spill/` (what queries put aside), `authentication_secret`, `token_secret`
//! and `LOCK`.
//!
//! Always holds: one process owns the folder at a time. The lock is the operating system's, on the open `LOCK` file,
//! so it ends with the process however that ends; the process id inside is for people. It does not know what the
//! layers write into their folders.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A data folder this process owns until the value is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    root: PathBuf,
    /// Held open: closing it gives the lock back.
    _lock: File,
}

/// What may be in a folder that gets a catalog: the tables, and what is made again by itself.
const NOT_OF_A_CATALOG: [&str; 6] = ["LOCK", "warehouse", "spill", "cache", "authentication_secret", "token_secret"];
/// What a restore that was interrupted has left.
const UNFINISHED: &str = "catalog.restoring";

impl DataDirectory {
    /// Looks whether a folder can get a catalog: it is missing or empty, or the catalog alone is missing.
    ///
    /// # Errors
    /// When it has a catalog, or anything else in it.
    pub(crate) fn check_unused(path: &Path) -> Result<(), Failure> {
        let io = |error: &std::io::Error| {
            Failure::from_io("read", path, error, "choose a folder this user can write with --data")
        };
        let entries = match std::fs::read_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| io(&error))?,
        };
        for entry in entries {
            let name = entry.map_err(|error| io(&error))?.file_name();
            let name = name.to_string_lossy();
            if name == "catalog" {
                return Err(Failure::new(
                    format!("the data folder {} has a catalog already", path.display()),
                    "choose another folder with --data, or move the folder catalog in it away",
                ));
            }
            if name != UNFINISHED && !NOT_OF_A_CATALOG.contains(&name.as_ref()) {
                return Err(Failure::new(
                    format!("the data folder {} is not empty: there is {name}", path.display()),
                    "choose an empty folder, or one that is not there yet, with --data",
                ));
            }
        }
        Ok(())
    }

    /// Creates the folder when it is missing, takes its lock and proves that it can be written.
    ///
    /// # Errors
    /// When it cannot be created or written, or when another process owns it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let io = |verb, path: &Path, error: &std::io::Error| {
            Failure::from_io(verb, path, error, "choose a folder this user can write with --data")
        };
        std::fs::create_dir_all(path).map_err(|error| io("create the data folder", path, &error))?;
        // Table metadata names its files by absolute path: the folder must have one name, whatever the working
        // directory was.
        let root = path.canonicalize().map_err(|error| io("open the data folder", path, &error))?;
        let lock_path = root.join("LOCK");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| io("open", &lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(owned_by_another(&root, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(io("lock", &lock_path, &error)),
        }
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(pid.as_bytes()))
            .and_then(|()| lock.sync_all())
            .map_err(|error| io("write", &lock_path, &error))?;
        Ok(DataDirectory { root, _lock: lock })
    }

    /// The absolute path of the folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the catalog's log and snapshots are.
    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog")
    }

    /// A random secret that stays the same for the life of the folder: what clients are shown for users who do not
    /// exist is derived from it.
    ///
    /// # Errors
    /// When it can neither be read nor made.
    pub(crate) fn authentication_secret(&self) -> Result<[u8; 32], Failure> {
        self.secret("authentication_secret")
    }

    /// Likewise, what the tokens of HTTP clients are signed with.
    ///
    /// # Errors
    /// When it can neither be read nor made.
    pub(crate) fn token_secret(&self) -> Result<[u8; 32], Failure> {
        self.secret("token_secret")
    }

    fn secret(&self, file: &str) -> Result<[u8; 32], Failure> {
        let path = self.root.join(file);
        let refuse = |verb, error: &std::io::Error| {
            Failure::from_io(verb, &path, error, "give the user that runs wharf the right to read and write there")
        };
        match std::fs::read(&path) {
            // Anything else is what a crash left of the writing below.
            Ok(bytes) => {
                if let Ok(secret) = bytes.try_into() {
                    return Ok(secret);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(refuse("read", &error)),
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| {
            Failure::from_error("cannot make a secret", &error, "give the process access to the system's randomness")
        })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(&secret).and_then(|()| file.sync_all()));
        written.map_err(|error| refuse("write", &error))?;
        Ok(secret)
    }

    /// Where queries spill: an empty folder. What a process that was killed left there is of use to nobody.
    ///
    /// # Errors
    /// When it cannot be emptied or made.
    pub(crate) fn empty_spill(&self) -> Result<PathBuf, Failure> {
        let path = self.root.join("spill");
        let emptied = match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir(&path),
        };
        emptied.map_err(|error| Failure::from_io("empty", &path, &error, "remove that folder by hand"))?;
        Ok(path)
    }
}

fn owned_by_another(root: &Path, lock: &mut File) -> Failure {
    let mut text = String::new();
    // Best effort: the owner may be between taking the lock and writing its id.
    let _ = lock.read_to_string(&mut text);
    let owner = match text.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    Failure::new(
        format!("the data folder {} is locked by {owner}", root.display()),
        "stop that wharf first, or choose another folder with --data",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDirectory::open(&path).unwrap();
        let refused = DataDirectory::open(&path).unwrap_err();
        let expected = format!("is locked by process {}", std::process::id());
        assert!(refused.what().ends_with(&expected), "{refused}");
        drop(first);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn the_secret_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(folder.path()).unwrap();
        let secret = data.authentication_secret().unwrap();
        assert_eq!(data.authentication_secret().unwrap(), secret);
        std::fs::write(folder.path().join("authentication_secret"), "cut short").unwrap();
        assert_ne!(data.authentication_secret().unwrap(), secret);
    }

    #[test]
    fn what_a_killed_process_spilled_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(folder.path()).unwrap();
        let left = data.empty_spill().unwrap().join("left");
        std::fs::write(&left, "x").unwrap();
        data.empty_spill().unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = DataDirectory::open(&file.join("data")).unwrap_err();
        assert!(refused.what().starts_with("cannot create the data folder "), "{refused}");
    }
}
