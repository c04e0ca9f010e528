//! A mark of how far the log is known to be on the disk.
//!
//! sled takes bytes it cannot read at the end of its file for a write that a crash interrupted and drops them. For damage in the
//! midst of the log that would silently lose acknowledged entries. So after every flush the index of the last entry is written
//! here, and a log that ends before the mark is damaged. It is not fsynced when it goes up: after a power failure it may be older than
//! the log, which is harmless, and it is not newer, since it is written after the flush. Before the log is cut, it goes down, and
//! that is fsynced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The bytes of a mark: the index after the last entry, and its complement to tell a torn write.
const SIZE: usize = 16;

/// Where the mark of a log is kept. All calls block.
pub(crate) trait Mark: Send + Sync + 'static {
    /// The last index that was flushed. None when nothing was, or the mark is torn: then it says nothing.
    fn read(&self) -> io::Result<Option<u64>>;

    /// Notes that the log is on the disk up to an index. Not durable itself.
    fn raise(&self, last: u64) -> io::Result<()>;

    /// Notes, durably, that the log is to be cut after an index. Must be called before: after a power failure a mark that is newer than
    /// the log would look like a loss.
    fn lower(&self, last: Option<u64>) -> io::Result<()>;
}

/// The mark of one log, in a file.
#[derive(Debug)]
pub(crate) struct FlushedMark {
    file: File,
}

impl FlushedMark {
    /// Opens the mark of a log; a new one says nothing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(FlushedMark { file })
    }

    fn write(&self, last: Option<u64>) -> io::Result<()> {
        let next = last.map_or(0, |last| last + 1);
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&next.to_be_bytes());
        bytes[8..].copy_from_slice(&(!next).to_be_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

impl Mark for FlushedMark {
    fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; SIZE];
        match self.file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let (next, complement) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        let (next, complement) = (number(next), number(complement));
        if next != !complement {
            tracing::warn!("the mark of the flushed log is torn and ignored");
            return Ok(None);
        }
        Ok(next.checked_sub(1))
    }

    fn raise(&self, last: u64) -> io::Result<()> {
        self.write(Some(last))
    }

    fn lower(&self, last: Option<u64>) -> io::Result<()> {
        self.write(last)?;
        self.file.sync_data()
    }
}
