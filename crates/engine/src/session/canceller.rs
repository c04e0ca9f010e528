//! Stops what a session runs, from another connection.

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Holds the token of the statement that runs now.
#[derive(Default)]
pub struct Canceller {
    current: Mutex<CancellationToken>,
}

impl Canceller {
    /// Stops what runs at the moment of the call; what begins later is not touched.
    pub fn cancel(&self) {
        self.current.lock().cancel();
    }

    /// The token of the statement that runs now.
    pub(crate) fn current(&self) -> CancellationToken {
        self.current.lock().clone()
    }

    /// A statement begins.
    pub(crate) fn begin(&self) {
        *self.current.lock() = CancellationToken::new();
    }
}
