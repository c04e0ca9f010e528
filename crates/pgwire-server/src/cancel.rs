//! Which session runs what, for cancel requests, which arrive on connections of their own.
//!
//! What always holds: a request is obeyed only with the session's secret, compared without telling how much of it was
//! right, and nobody is told whether it was obeyed. A session's entry goes with the session. Stopping the work is the
//! engine's part; what makes a connection end is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::scram::same;

/// Stops what one session runs.
pub(crate) struct CancelHandle {
    /// The engine's own, for whatever it knows to be running.
    engine: Arc<dyn Fn() + Send + Sync>,
    /// The token of the rows being sent: the engine may not know that a suspended portal runs again.
    rows: Mutex<Option<CancellationToken>>,
}

impl CancelHandle {
    /// A handle over the engine's own.
    pub(crate) fn new(engine: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(CancelHandle { engine, rows: Mutex::new(None) })
    }

    /// Stops what runs now; does nothing to an idle session.
    pub(crate) fn cancel(&self) {
        (self.engine)();
        if let Some(token) = self.rows.lock().as_ref() {
            token.cancel();
        }
    }

    /// Says that the rows of the token's statement are being sent, until the guard goes.
    pub(crate) fn sending(&self, token: CancellationToken) -> Sending<'_> {
        *self.rows.lock() = Some(token);
        Sending { handle: self }
    }
}

/// Rows are being sent.
pub(crate) struct Sending<'a> {
    handle: &'a CancelHandle,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        *self.handle.rows.lock() = None;
    }
}

/// The sessions of the server by process id.
#[derive(Default)]
pub(crate) struct CancelRegistry {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    entries: HashMap<i32, Entry>,
    last_process: i32,
}

struct Entry {
    key: Box<[u8]>,
    handle: Option<Arc<CancelHandle>>,
}

/// A session's place in the registry; dropping it removes the session.
pub(crate) struct Registration {
    registry: Arc<CancelRegistry>,
    pub(crate) process: i32,
    pub(crate) key: Box<[u8]>,
}

impl CancelRegistry {
    /// Chooses a process id and keeps it with a secret of the session.
    pub(crate) fn register(self: &Arc<Self>, key: Box<[u8]>) -> Registration {
        let mut sessions = self.sessions.lock();
        let process = loop {
            sessions.last_process = sessions.last_process.checked_add(1).unwrap_or(1);
            if !sessions.entries.contains_key(&sessions.last_process) {
                break sessions.last_process;
            }
        };
        sessions.entries.insert(process, Entry { key: key.clone(), handle: None });
        Registration { registry: self.clone(), process, key }
    }

    /// Stops what the session runs, if the secret is right.
    pub(crate) fn cancel(&self, process: i32, key: &[u8]) {
        let handle = {
            let sessions = self.sessions.lock();
            let entry = sessions.entries.get(&process).filter(|entry| same(&entry.key, key));
            entry.and_then(|entry| entry.handle.clone())
        };
        match handle {
            Some(handle) => handle.cancel(),
            None => tracing::info!(process, "cancel request for no session, or with the wrong key"),
        }
    }
}

impl CancelRegistry {
    /// Stops what every session runs.
    pub(crate) fn cancel_all(&self) {
        let handles: Vec<_> = self.sessions.lock().entries.values().filter_map(|entry| entry.handle.clone()).collect();
        handles.iter().for_each(|handle| handle.cancel());
    }
}

impl Registration {
    /// From now on the session can be cancelled.
    pub(crate) fn attach(&self, handle: Arc<CancelHandle>) {
        if let Some(entry) = self.registry.sessions.lock().entries.get_mut(&self.process) {
            entry.handle = Some(handle);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().entries.remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_the_right_secret_of_a_living_session_cancels() {
        let registry = Arc::new(CancelRegistry::default());
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let handle = CancelHandle::new(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let registration = registry.register(Box::from(*b"secret"));
        registration.attach(handle.clone());
        let other = registry.register(Box::from(*b"other"));
        assert_ne!(registration.process, other.process);
        registry.cancel(registration.process, b"secre");
        registry.cancel(other.process, b"secret");
        assert_eq!(count.load(Ordering::Relaxed), 0);
        registry.cancel(registration.process, b"secret");
        assert_eq!(count.load(Ordering::Relaxed), 1);

        let token = CancellationToken::new();
        let sending = handle.sending(token.clone());
        drop(sending);
        handle.cancel();
        assert!(!token.is_cancelled());
        let _sending = handle.sending(token.clone());
        handle.cancel();
        assert!(token.is_cancelled());

        let process = registration.process;
        let before = count.load(Ordering::Relaxed);
        drop(registration);
        registry.cancel(process, b"secret");
        assert_eq!(count.load(Ordering::Relaxed), before);
    }
}
