//! Which session runs what, for cancel requests, which arrive on connections of their own.
//!
//! What always holds: a request is obeyed only with the session's secret, compared without telling how much of it was
//! right, and nobody is told whether it was obeyed. A session's entry goes with the session. A request that fits no
//! session here may be for one elsewhere ([`CancelElsewhere`]); one that comes from there goes no further. Stopping the
//! work is the engine's part; what makes a connection end is not known here.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::scram::same;

/// The lengths of the secrets of sessions: protocol 3.0 has room for four bytes alone.
pub(crate) const KEY_BYTES_3_0: usize = 4;
pub(crate) const KEY_BYTES_3_2: usize = 32;

/// Where the session of a cancel request may be when it is not here: a load balancer brings the request, which has a
/// connection of its own, to whatever server.
#[async_trait]
pub trait CancelElsewhere: Send + Sync + 'static {
    /// Hands a request on, and ends when it has arrived or was given up: the client waits meanwhile, so that its next
    /// statement is not hit. Nobody is told what came of it.
    async fn cancel(&self, process: i32, key: Vec<u8>);
}

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
pub struct CancelRegistry {
    sessions: Mutex<Sessions>,
    elsewhere: Option<Arc<dyn CancelElsewhere>>,
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
    /// Has no sessions yet. What fits none of them is handed on to `elsewhere`, if there is such a place.
    pub fn new(elsewhere: Option<Arc<dyn CancelElsewhere>>) -> Arc<CancelRegistry> {
        Arc::new(CancelRegistry { elsewhere, ..CancelRegistry::default() })
    }

    /// Stops what a session of this server runs, and says whether there is such a session with this secret. Asks nobody
    /// else.
    pub fn cancel(&self, process: i32, key: &[u8]) -> bool {
        let handle = {
            let sessions = self.sessions.lock();
            let entry = sessions.entries.get(&process).filter(|entry| same(&entry.key, key));
            let Some(entry) = entry else { return false };
            entry.handle.clone()
        };
        // Without a handle the session is not open yet, and runs nothing.
        if let Some(handle) = handle {
            handle.cancel();
        }
        true
    }

    /// Obeys the request of a client, or hands it on.
    pub(crate) async fn request(&self, process: i32, key: Vec<u8>) {
        if self.cancel(process, &key) {
            return;
        }
        // What fits no session of any server troubles nobody else.
        let may_fit = process > 0 && [KEY_BYTES_3_0, KEY_BYTES_3_2].contains(&key.len());
        match self.elsewhere.as_ref().filter(|_| may_fit) {
            Some(elsewhere) => elsewhere.cancel(process, key).await,
            None => tracing::info!(process, "cancel request for no session, or with the wrong key"),
        }
    }

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
        assert!(!registry.cancel(registration.process, b"secre"));
        assert!(!registry.cancel(other.process, b"secret"));
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert!(registry.cancel(registration.process, b"secret"));
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
        assert!(!registry.cancel(process, b"secret"));
        assert_eq!(count.load(Ordering::Relaxed), before);
    }

    /// Counts what is handed on.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl CancelElsewhere for Counting {
        async fn cancel(&self, _: i32, _: Vec<u8>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn only_what_may_fit_a_session_elsewhere_is_handed_on() {
        let elsewhere = Arc::new(Counting::default());
        let registry = CancelRegistry::new(Some(elsewhere.clone()));
        let here = registry.register(Box::from(*b"here"));
        registry.request(here.process, b"here".to_vec()).await;
        registry.request(0, b"four".to_vec()).await;
        registry.request(here.process, b"five!".to_vec()).await;
        registry.request(here.process, Vec::new()).await;
        assert_eq!(elsewhere.0.load(Ordering::Relaxed), 0);
        // Process ids are those of one server: another may have the same.
        registry.request(here.process, b"four".to_vec()).await;
        registry.request(here.process + 1, vec![7; KEY_BYTES_3_2]).await;
        assert_eq!(elsewhere.0.load(Ordering::Relaxed), 2);
        // What comes from elsewhere does not go back there.
        assert!(!registry.cancel(here.process, b"four"));
        assert_eq!(elsewhere.0.load(Ordering::Relaxed), 2);
    }
}
