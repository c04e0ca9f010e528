//! Stops what a session runs, or the session, from another connection.

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Holds the token of the statement that runs now, and that of the session.
#[derive(Default)]
pub struct Canceller {
    current: Mutex<CancellationToken>,
    ended: CancellationToken,
}

impl Canceller {
    /// Stops what runs at the moment of the call; what begins later is not touched.
    pub fn cancel(&self) {
        self.current.lock().cancel();
    }

    /// Stops what runs, and wants the session to end: whoever serves it waits for [`ended`](Self::ended).
    pub fn end(&self) {
        self.ended.cancel();
        self.cancel();
    }

    /// Cancelled when the session is to end.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
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
