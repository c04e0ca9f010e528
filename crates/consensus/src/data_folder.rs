//! The folder of a node: who may use it, and which version wrote it.
//!
//! What always holds: while a [`DataFolder`] lives, no other process has one for the same folder (an OS lock on `LOCK`, which goes
//! when the process goes, however it goes), and nothing else in the folder is touched before that and before `FORMAT` was found to
//! be one we know. The version here is that of the layout; log records and snapshots have versions of their own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::ConsensusError;
use crate::files;

/// The version of the layout that is written. Version 1 had no `IDENTITY`: its folders are those of groups of one.
const FORMAT_VERSION: u64 = 2;
/// What a `FORMAT` file begins with.
const FORMAT_NAME: &str = "wharf-consensus ";

/// How long to wait for a lock that this process itself had.
const OWN_LOCK_WAIT: Duration = Duration::from_millis(500);
/// How long between two attempts.
const OWN_LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A folder that is ours.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// The version that was found.
    version: u64,
    /// Holds the lock until it is dropped.
    _lock: File,
}

impl DataFolder {
    /// Locks a folder, which is made when it is missing, and checks its format.
    pub(crate) fn open(path: &Path) -> Result<Self, ConsensusError> {
        files::create_folder(path).map_err(|error| ConsensusError::io(path, &error))?;
        let lock = lock(path)?;
        let mut folder = DataFolder { path: path.to_owned(), version: FORMAT_VERSION, _lock: lock };
        folder.version = folder.check_format()?;
        Ok(folder)
    }

    /// Was the folder written by a version that knew no members but the node itself?
    pub(crate) fn is_of_first_version(&self) -> bool {
        self.version == 1
    }

    /// Gives a folder of an earlier version today's: that version must not open it any more.
    pub(crate) fn upgrade(&self) -> Result<(), ConsensusError> {
        if self.version == FORMAT_VERSION {
            return Ok(());
        }
        self.replace_format(&self.path.join("FORMAT"))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled is.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where a copy of the log is opened and checked before the log itself.
    pub(crate) fn rehearsal(&self) -> PathBuf {
        self.path.join("rehearsal")
    }

    /// The highest index that is known to be on the disk.
    pub(crate) fn flushed(&self) -> PathBuf {
        self.path.join("FLUSHED")
    }

    /// Where snapshots are.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    fn check_format(&self) -> Result<u64, ConsensusError> {
        let path = self.path.join("FORMAT");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.write_format(&path).map(|()| FORMAT_VERSION);
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(ConsensusError::io(&path, &error)),
        };
        let version = text.strip_prefix(FORMAT_NAME).and_then(|version| version.trim_end().parse::<u64>().ok());
        match version {
            Some(found @ 1..=FORMAT_VERSION) => Ok(found),
            Some(found) if found > FORMAT_VERSION => Err(ConsensusError::NewerVersion {
                path: self.path.clone(),
                what: "the data folder".to_owned(),
                found,
                supported: FORMAT_VERSION,
            }),
            _ => Err(ConsensusError::damaged(&path, "it does not name a format version")),
        }
    }

    /// The first thing that is written into a new folder, so a folder with anything else and without it is not ours.
    fn write_format(&self, path: &Path) -> Result<(), ConsensusError> {
        for used in [self.log(), self.snapshots(), self.flushed()] {
            if used.exists() {
                let reason = "the file FORMAT is missing, though the folder has been used";
                return Err(ConsensusError::damaged(&self.path, reason));
            }
        }
        self.replace_format(path)
    }

    fn replace_format(&self, path: &Path) -> Result<(), ConsensusError> {
        let temporary = path.with_extension("tmp");
        files::write_temporary(&temporary, &[format!("{FORMAT_NAME}{FORMAT_VERSION}\n").as_bytes()])
            .and_then(|()| files::publish(&temporary, path))
            .map_err(|error| ConsensusError::io(path, &error))
    }
}

/// Takes the lock, or says who has it.
fn lock(folder: &Path) -> Result<File, ConsensusError> {
    let path = folder.join("LOCK");
    let failed = |error: io::Error| ConsensusError::io(&path, &error);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let asked = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.rewind().map_err(failed)?;
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                // A child of this process has a copy of every open file, and so of a lock that was given back here,
                // until it has become another program.
                if pid != Some(std::process::id()) || asked.elapsed() > OWN_LOCK_WAIT {
                    return Err(ConsensusError::Locked { path: folder.to_owned(), pid });
                }
                std::thread::sleep(OWN_LOCK_PAUSE);
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    // For people and for the message above; the lock itself is the operating system's.
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}
