//! Counting the parts of queries that run on a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The count of a node; in the extensions of the configuration of the sessions that parts run in.
#[derive(Debug, Default)]
pub(crate) struct Parts(AtomicUsize);

impl Parts {
    /// How many there are now.
    pub(crate) fn running(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one until it is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Part {
        self.0.fetch_add(1, Ordering::Relaxed);
        Part(Arc::clone(self))
    }
}

/// A part that runs.
#[derive(Debug)]
pub(crate) struct Part(Arc<Parts>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
