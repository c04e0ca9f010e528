//! What loads under way have done: `wharf.progress`.
//!
//! What always holds: a load is listed from its beginning to its end, however it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::engine::now_us;

/// All loads of a node.
#[derive(Debug, Default)]
pub(crate) struct Progresses {
    loads: Mutex<BTreeMap<u64, Progress>>,
    next: AtomicU64,
}

/// One load. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    process: u32,
    database: u32,
    table: String,
    start_us: i64,
    files: AtomicU64,
    files_total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
}

/// A load as it is now.
pub(crate) struct Shown {
    pub(crate) process: u32,
    pub(crate) table: String,
    pub(crate) start_us: i64,
    pub(crate) files: u64,
    pub(crate) files_total: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_total: u64,
    pub(crate) rows: u64,
}

impl Progress {
    /// Of reading that nobody lists.
    pub(crate) fn unlisted() -> Progress {
        Progress::new(0, 0, "")
    }

    fn new(process: u32, database: u32, table: &str) -> Progress {
        Progress(Arc::new(Counts {
            process,
            database,
            table: table.to_owned(),
            start_us: now_us(),
            files: AtomicU64::new(0),
            files_total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        }))
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn file_done(&self) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// What there is to do.
    pub(crate) fn total(&self, files: u64, bytes: u64) {
        self.0.files_total.store(files, Ordering::Relaxed);
        self.0.bytes_total.store(bytes, Ordering::Relaxed);
    }
}

/// Lists a load until it is dropped.
pub(crate) struct Listed {
    all: Arc<Progresses>,
    number: u64,
    pub(crate) progress: Progress,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.all.loads.lock().remove(&self.number);
    }
}

impl Progresses {
    /// Lists a load that begins.
    pub(crate) fn begin(self: &Arc<Self>, process: u32, database: u32, table: &str) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Progress::new(process, database, table);
        self.loads.lock().insert(number, progress.clone());
        Listed { all: Arc::clone(self), number, progress }
    }

    /// The loads of a database, in the order in which they began.
    pub(crate) fn shown(&self, database: u32) -> Vec<Shown> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let loads = self.loads.lock();
        let own = loads.values().filter(|progress| progress.0.database == database);
        own.map(|Progress(counts)| Shown {
            process: counts.process,
            table: counts.table.clone(),
            start_us: counts.start_us,
            files: value(&counts.files),
            files_total: value(&counts.files_total),
            bytes: value(&counts.bytes),
            bytes_total: value(&counts.bytes_total),
            rows: value(&counts.rows),
        })
        .collect()
    }
}
