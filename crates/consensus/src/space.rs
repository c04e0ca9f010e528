//! Room on the disk of a node.
//!
//! A disk that gets full in the midst of a write stops the node (see `log_store`). So commands are refused while there is still room for
//! the log and the next snapshots, and taken again when there is more; and a leader that refuses them lets another node lead, if
//! there is one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ConsensusError;
use crate::files;

/// What must be free.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Where.
    pub(crate) folder: PathBuf,
    /// How much, besides two snapshots.
    pub(crate) free_bytes: u64,
    /// The size of the newest snapshot.
    pub(crate) snapshot_bytes: Arc<AtomicU64>,
}

impl Space {
    /// Whether there is room.
    ///
    /// # Errors
    /// [`ConsensusError::DiskFull`], or what the system says when it is asked.
    pub(crate) fn check(&self) -> Result<(), ConsensusError> {
        let snapshots = self.snapshot_bytes.load(Ordering::Relaxed).saturating_mul(2);
        files::check_free_space(&self.folder, self.free_bytes.saturating_add(snapshots))
    }
}
