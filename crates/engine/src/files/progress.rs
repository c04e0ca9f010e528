//! What loads and maintenance under way have done: `wharf.progress`.
//!
//! What always holds: work is listed from its beginning to its end, however it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::engine::now_us;

/// All work of a node that takes long.
#[derive(Debug, Default)]
pub(crate) struct Progresses {
    listed: Mutex<BTreeMap<u64, Progress>>,
    next: AtomicU64,
}

/// Some work. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    work: Work,
    start_us: i64,
    files: AtomicU64,
    files_total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
}

/// What is done, to what, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The session; none: the server by itself.
    pub(crate) process: Option<u32>,
    pub(crate) database: u32,
    pub(crate) command: &'static str,
    pub(crate) table: String,
}

/// Work as it is now.
pub(crate) struct Shown {
    pub(crate) work: Work,
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
        Progress::new(Work { process: None, database: 0, command: "", table: String::new() })
    }

    fn new(work: Work) -> Progress {
        Progress(Arc::new(Counts {
            work,
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

/// Lists work until it is dropped.
pub(crate) struct Listed {
    all: Arc<Progresses>,
    number: u64,
    pub(crate) progress: Progress,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.all.listed.lock().remove(&self.number);
    }
}

impl Progresses {
    /// Lists work that begins.
    pub(crate) fn begin(self: &Arc<Self>, work: Work) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Progress::new(work);
        self.listed.lock().insert(number, progress.clone());
        Listed { all: Arc::clone(self), number, progress }
    }

    /// The work in a database, in the order in which they began.
    pub(crate) fn shown(&self, database: u32) -> Vec<Shown> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let listed = self.listed.lock();
        let own = listed.values().filter(|progress| progress.0.work.database == database);
        own.map(|Progress(counts)| Shown {
            work: counts.work.clone(),
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
