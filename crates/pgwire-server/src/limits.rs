//! Every limit of the protocol that is not a setting, in one place, and the counting of connections.
//!
//! What always holds: nothing a client sends makes the server hold more than these limits and [`crate::Options`] allow.
//! This module does not read configuration: the limits an operator may change are fields of `Options`.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes of input are read ahead while a statement runs. What the client sends beyond them stays in the
/// kernel's buffers, which is what slows the client down.
pub(crate) const READ_AHEAD_BYTES: usize = 256 * 1024;

/// The room that is made before each read from an idle connection.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// The room that is made before each read while data streams in.
pub(crate) const COPY_READ_BYTES: usize = 128 * 1024;

/// Output is sent as soon as this much has been gathered.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;

/// Buffers that grew beyond this are given back when the connection falls idle.
pub(crate) const IDLE_BUFFER_BYTES: usize = 16 * 1024;

/// Small `CopyData` messages are joined up to this size before the engine sees them.
pub(crate) const COPY_GATHER_BYTES: usize = 128 * 1024;

/// How long a statement that was cancelled because its client has gone may take to tidy up before it is dropped.
pub(crate) const ABANDONED_STATEMENT_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// How long the last message to a connection that is being closed may take.
pub(crate) const FAREWELL_GRACE: std::time::Duration = std::time::Duration::from_secs(1);

/// Sockets beyond `max_connections` that may be open at once: connections that have not said yet who they are, and
/// cancel requests, which must get through when everything is taken.
const UNIDENTIFIED_CONNECTIONS: usize = 128;

/// Counts sockets and sessions.
pub(crate) struct ConnectionLimit {
    sockets: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

/// The place of one socket or session; it is free again when this is dropped.
pub(crate) struct Place(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

impl ConnectionLimit {
    /// Room for `max_connections` sessions.
    pub(crate) fn new(max_connections: usize) -> Self {
        let sessions = max_connections.min(Semaphore::MAX_PERMITS / 2);
        ConnectionLimit {
            sockets: Arc::new(Semaphore::new(sessions + UNIDENTIFIED_CONNECTIONS)),
            sessions: Arc::new(Semaphore::new(sessions)),
        }
    }

    /// A place for a socket that has just been accepted; `None` when even those are all taken.
    pub(crate) fn socket(&self) -> Option<Place> {
        self.sockets.clone().try_acquire_owned().ok().map(Place)
    }

    /// A place for a session; `None` when there are too many clients already.
    pub(crate) fn session(&self) -> Option<Place> {
        self.sessions.clone().try_acquire_owned().ok().map(Place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_sockets_outnumber_sessions() {
        let limit = ConnectionLimit::new(1);
        let session = limit.session();
        assert!(session.is_some());
        assert!(limit.session().is_none());
        drop(session);
        assert!(limit.session().is_some());
        let sockets: Vec<Place> = std::iter::from_fn(|| limit.socket()).collect();
        assert_eq!(sockets.len(), 1 + UNIDENTIFIED_CONNECTIONS);
    }
}
