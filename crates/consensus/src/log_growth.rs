//! How much log a node has behind its last snapshot.
//!
//! openraft counts entries. But one entry has one command or hundreds, and all of the log is read and applied when a node starts: so a snapshot
//! is also due when the commands have too many bytes. What always holds: between two snapshots are no fewer bytes of commands than
//! the first of them has itself, so that snapshots cost no more than the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The commands since the last snapshot.
pub(crate) struct LogGrowth {
    bytes: u64,
    limit_bytes: u64,
    /// The size of the newest snapshot.
    snapshot_bytes: Arc<AtomicU64>,
    due: Arc<Notify>,
}

impl LogGrowth {
    /// Of a node that starts; and who is told when a snapshot is due.
    pub(crate) fn new(limit_bytes: u64, snapshot_bytes: Arc<AtomicU64>) -> (Self, Arc<Notify>) {
        let due = Arc::new(Notify::new());
        (LogGrowth { bytes: 0, limit_bytes, snapshot_bytes, due: Arc::clone(&due) }, due)
    }

    /// Commands were applied. While a snapshot is being written openraft does not begin another, so it is said again each time.
    pub(crate) fn applied(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= self.limit_bytes.max(self.snapshot_bytes.load(Ordering::Relaxed)) {
            self.due.notify_one();
        }
    }

    /// A snapshot of what was applied so far is taken, or has come from the leader.
    pub(crate) fn covered(&mut self) {
        self.bytes = 0;
    }
}
