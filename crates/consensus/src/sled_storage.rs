//! The log's storage on sled 0.34.
//!
//! What one has to know about sled, and what is done about it here:
//! - Its flush on Linux is `sync_file_range`, which does not make a file's length durable, and large values are files of their own that
//!   it does not sync at all. So [`LogStorage::flush`] syncs its files itself.
//! - It panics where it should give errors, above all on damaged files. Every call is guarded and a panic becomes an error.
//! - It flushes every 500 ms by default, and takes up to 1 GB of cache: the former is off, the latter small.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data_folder::DataFolder;
use crate::files;
use crate::log_storage::{LogStorage, SmallRecord};

/// sled's page cache. The whole log is a few megabytes.
const CACHE_BYTES: u64 = 16 << 20;

/// How many entries are removed in one batch.
const REMOVE_BATCH: usize = 1024;

/// A sled database as the log's storage.
pub(crate) struct SledStorage {
    db: sled::Db,
    log: sled::Tree,
    small: sled::Tree,
    folder: PathBuf,
    /// A handle of our own to sled's file, to sync it.
    file: File,
    /// Has sled given an error?
    failed: AtomicBool,
    /// The lock of the data folder goes after the database has closed: fields are dropped in this order.
    _data: Arc<DataFolder>,
}

impl SledStorage {
    /// Opens or makes the database in a folder inside of a data folder.
    pub(crate) fn open(folder: PathBuf, data: Arc<DataFolder>) -> io::Result<Self> {
        let config = sled::Config::new().path(&folder).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let (db, log, small) = guard(|| {
            let db = config.open()?;
            let (log, small) = (db.open_tree("log")?, db.open_tree("small")?);
            Ok((db, log, small))
        })?;
        let file = File::open(folder.join("db"))?;
        // The names of what sled has just made must outlive a power failure too.
        files::sync_parent(&folder)?;
        File::open(&folder)?.sync_all()?;
        Ok(SledStorage { db, log, small, folder, file, failed: AtomicBool::new(false), _data: data })
    }
}

impl SledStorage {
    /// [`guard`], and after a failure sled is not trusted any more.
    fn guarded<T>(&self, run: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
        let result = guard(run);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// After an error, sled may wait for ever when it is closed. So it is left as it is: the process has to be started again anyway.
impl Drop for SledStorage {
    fn drop(&mut self) {
        if self.failed.load(Ordering::Relaxed) {
            std::mem::forget((self.db.clone(), self.log.clone(), self.small.clone()));
        }
    }
}

impl LogStorage for SledStorage {
    fn read_small(&self, record: SmallRecord) -> io::Result<Option<Vec<u8>>> {
        self.guarded(|| Ok(self.small.get(key_of(record))?.map(|bytes| bytes.to_vec())))
    }

    fn write_small(&self, record: SmallRecord, bytes: Vec<u8>) -> io::Result<()> {
        self.guarded(|| self.small.insert(key_of(record), bytes).map(|_| ()))
    }

    fn entries(&self, range: RangeInclusive<u64>) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let keys = range.start().to_be_bytes()..=range.end().to_be_bytes();
        self.guarded(|| {
            self.log.range(keys).map(|entry| entry.map(|(key, value)| (index_of(&key), value.to_vec()))).collect()
        })
    }

    fn last_entry(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.guarded(|| Ok(self.log.last()?.map(|(key, value)| (index_of(&key), value.to_vec()))))
    }

    fn append(&self, entries: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (index, bytes) in entries {
            batch.insert(&index.to_be_bytes(), bytes);
        }
        self.guarded(|| self.log.apply_batch(batch))
    }

    fn remove(&self, range: RangeInclusive<u64>) -> io::Result<()> {
        let keys = range.start().to_be_bytes()..=range.end().to_be_bytes();
        loop {
            let removed = self.guarded(|| {
                let mut batch = sled::Batch::default();
                let mut count = 0;
                for entry in self.log.range(keys.clone()).take(REMOVE_BATCH) {
                    batch.remove(entry?.0);
                    count += 1;
                }
                self.log.apply_batch(batch)?;
                Ok(count)
            })?;
            if removed < REMOVE_BATCH {
                return Ok(());
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.guarded(|| self.db.flush())?;
        let blobs = self.folder.join("blobs");
        let mut any = false;
        for blob in fs::read_dir(&blobs)? {
            match File::open(blob?.path()) {
                Ok(file) => file.sync_all()?,
                // sled removes those that are not needed any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            any = true;
        }
        if any {
            File::open(&blobs)?.sync_all()?;
        }
        self.file.sync_data()
    }

    fn size_on_disk(&self) -> io::Result<u64> {
        self.guarded(|| self.db.size_on_disk())
    }
}

fn key_of(record: SmallRecord) -> &'static str {
    match record {
        SmallRecord::Vote => "vote",
        SmallRecord::Committed => "committed",
        SmallRecord::Purged => "purged",
    }
}

/// A key that is not an index sorts behind all: the check at the start then finds the log to be damaged.
fn index_of(key: &[u8]) -> u64 {
    key.try_into().map_or(u64::MAX, u64::from_be_bytes)
}

/// Runs something of sled's; its errors and its panics are errors.
fn guard<T>(run: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(error),
        Ok(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("sled panicked: {text}")))
        }
    }
}
