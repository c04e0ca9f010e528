//! A data file that is finished and that nobody has claimed yet.
//!
//! What always holds: it is removed when it is dropped unclaimed, whoever drops it and when: the writer that gives up, or the task
//! that ends a file for which nobody waits any more. For that, whatever makes a file visible runs in a task of its own and ends
//! with a [`Finished`]: a future that is dropped would leave the store at work on a file of which nobody knows.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::WrittenFile;
use crate::store::Store;

/// A file that is removed unless it is claimed.
pub(super) struct Finished {
    file: WrittenFile,
    guard: Guard,
}

impl Finished {
    pub(super) fn new(file: WrittenFile, guard: Guard) -> Finished {
        Finished { file, guard }
    }

    pub(super) fn file(&self) -> &WrittenFile {
        &self.file
    }

    /// The file, which is its taker's to remove from now on.
    pub(super) fn claim(self) -> WrittenFile {
        let Finished { file, mut guard } = self;
        guard.location = None;
        file
    }

    /// Removes the file, and waits until it is.
    pub(super) async fn discard(self) {
        let mut guard = self.guard;
        if let Some(location) = &guard.location {
            guard.store.discard([location.clone()]).await;
        }
        guard.location = None;
    }
}

/// Removes a file in the background when it is dropped.
pub(super) struct Guard {
    store: Arc<Store>,
    /// None once there is nothing to do.
    location: Option<String>,
    runtime: Handle,
}

impl Guard {
    /// Of a file that is about to become visible. Only within a runtime.
    pub(super) fn new(store: &Arc<Store>, location: &str) -> Guard {
        Guard { store: Arc::clone(store), location: Some(location.to_owned()), runtime: Handle::current() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(location) = self.location.take() {
            let store = Arc::clone(&self.store);
            drop(self.runtime.spawn(async move { store.discard([location]).await }));
        }
    }
}
