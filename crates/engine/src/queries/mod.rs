//! What runs now: the sessions of this node, their statements, and what the other nodes of the cluster say of theirs.
//!
//! What always holds:
//! - A statement is on the list until it ends, however it ends: what lists it takes it off when it is dropped.
//! - A query comes on the list when it first waits for something. One that never waits is over before anybody could look, and pays
//!   nothing.
//! - Other nodes are asked within a second, and one that does not answer is told of ([`gather`]).
//!
//! Who may see what is decided where it is shown (`pg_catalog`).

mod gather;
mod listing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;
use wharf_fanout::QueryTag;

use crate::engine::now_us;
use crate::session::{Canceller, TransactionStatus};

pub(crate) use gather::{NodeReport, Report, Request, StageReport, StatementReport};
pub use gather::{Peers, Question};
pub(crate) use listing::{Listing, has_secrets};

/// How much of a statement's text is shown, in characters.
const MAX_TEXT: usize = 1024;

/// The list of a node.
#[derive(Default)]
pub(crate) struct Queries {
    next: AtomicU64,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    statements: Mutex<BTreeMap<Uuid, Arc<Running>>>,
    peers: RwLock<Option<Arc<dyn Peers>>>,
}

/// A session as others see it.
pub(crate) struct Client {
    queries: Arc<Queries>,
    /// No other session of this node has it.
    pub(crate) number: u64,
    pub(crate) process: u32,
    pub(crate) role: u32,
    pub(crate) database: u32,
    /// The client's address.
    pub(crate) peer: String,
    /// In microseconds since 1970.
    pub(crate) started_us: i64,
    application: Mutex<String>,
    /// Stops it.
    pub(crate) canceller: Arc<Canceller>,
    /// Where it stands between statements, as [`Between`].
    between: AtomicU8,
    /// What it asked for last waits for its turn.
    queued: AtomicBool,
}

/// Where a session stands that runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// Outside of a transaction.
    Idle = 0,
    /// In one.
    Open = 1,
    /// In one that has failed.
    Failed = 2,
}

/// What a statement does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It computes, or waits for files, other nodes or the catalog.
    Running = 0,
    /// It has given rows, and the client has not asked for more.
    Sending = 1,
    /// It waits for the client's data.
    Receiving = 2,
    /// It waits for its turn.
    Queued = 3,
}

/// A statement on the list.
pub(crate) struct Running {
    pub(crate) id: Uuid,
    pub(crate) client: Arc<Client>,
    pub(crate) kind: &'static str,
    /// None: it may have secrets.
    text: Option<Arc<str>>,
    started: Instant,
    pub(crate) started_us: i64,
    doing: AtomicU8,
    rows: AtomicU64,
}

/// Keeps a session on the list until it is dropped.
pub(crate) struct Connected(Arc<Client>);

/// Keeps a statement on the list until it is dropped.
pub(crate) struct Listed(Arc<Running>);

impl Queries {
    /// A session begins.
    pub(crate) fn connect(
        self: &Arc<Self>,
        process: u32,
        role: u32,
        database: u32,
        peer: &str,
        application: String,
        canceller: &Arc<Canceller>,
    ) -> Connected {
        let client = Arc::new(Client {
            queries: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            process,
            role,
            database,
            peer: peer.to_owned(),
            started_us: now_us(),
            application: Mutex::new(application),
            canceller: Arc::clone(canceller),
            between: AtomicU8::new(Between::Idle as u8),
            queued: AtomicBool::new(false),
        });
        self.clients.lock().insert(client.number, Arc::clone(&client));
        Connected(client)
    }

    /// The sessions of this node in the order in which they began, each with what it runs.
    pub(crate) fn clients(&self) -> Vec<(Arc<Client>, Option<Arc<Running>>)> {
        let clients: Vec<_> = self.clients.lock().values().cloned().collect();
        let statements = self.statements();
        let runs = |client: &Arc<Client>| {
            // The latest of several is the one at work; the others are portals that nobody reads.
            statements.iter().rev().find(|running| Arc::ptr_eq(&running.client, client)).cloned()
        };
        clients.into_iter().map(|client| (Arc::clone(&client), runs(&client))).collect()
    }

    /// The session of a process of this node.
    pub(crate) fn client(&self, process: u32) -> Option<Arc<Client>> {
        self.clients.lock().values().find(|client| client.process == process).cloned()
    }

    /// The statements of this node in the order in which they began.
    pub(crate) fn statements(&self) -> Vec<Arc<Running>> {
        self.statements.lock().values().cloned().collect()
    }
}

impl Client {
    /// What `application_name` is.
    pub(crate) fn application(&self) -> String {
        self.application.lock().clone()
    }

    /// Where it stands when it runs nothing.
    pub(crate) fn between(&self) -> Between {
        match self.between.load(Ordering::Relaxed) {
            value if value == Between::Open as u8 => Between::Open,
            value if value == Between::Failed as u8 => Between::Failed,
            _ => Between::Idle,
        }
    }

    /// What it asked for waits for its turn from now on, or does so no longer.
    pub(crate) fn is_queued(&self, queued: bool) {
        self.queued.store(queued, Ordering::Relaxed);
    }

    /// Lists a statement.
    pub(crate) fn list(
        self: &Arc<Self>,
        id: Uuid,
        kind: &'static str,
        text: Option<&Arc<str>>,
        started: Instant,
    ) -> Listed {
        let elapsed_us = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let running = Arc::new(Running {
            id,
            client: Arc::clone(self),
            kind,
            text: text.cloned(),
            started,
            started_us: now_us().saturating_sub(elapsed_us),
            doing: AtomicU8::new(Doing::Running as u8),
            rows: AtomicU64::new(0),
        });
        self.queries.statements.lock().insert(id, Arc::clone(&running));
        Listed(running)
    }
}

impl Connected {
    /// The session.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.0
    }

    /// What goes with the parts of its statement to other nodes.
    pub(crate) fn tag(&self, id: Uuid) -> QueryTag {
        let Client { process, role, database, .. } = *self.0;
        QueryTag { id, process, role, database }
    }

    /// It calls itself something else now.
    pub(crate) fn rename(&self, application: &str) {
        application.clone_into(&mut self.0.application.lock());
    }

    /// A statement has left it here.
    pub(crate) fn stands(&self, status: TransactionStatus) {
        let between = match status {
            TransactionStatus::Idle => Between::Idle,
            TransactionStatus::Active => Between::Open,
            TransactionStatus::Failed => Between::Failed,
        };
        self.0.between.store(between as u8, Ordering::Relaxed);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.queries.clients.lock().remove(&self.0.number);
    }
}

impl Running {
    /// What it does.
    pub(crate) fn doing(&self) -> Doing {
        match self.doing.load(Ordering::Relaxed) {
            value if value == Doing::Sending as u8 => Doing::Sending,
            // Its session does nothing else meanwhile.
            _ if self.client.queued.load(Ordering::Relaxed) => Doing::Queued,
            value if value == Doing::Receiving as u8 => Doing::Receiving,
            _ => Doing::Running,
        }
    }

    /// Since when.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How many rows it has given.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The beginning of its text; none when it may have secrets.
    pub(crate) fn text(&self) -> Option<String> {
        self.text.as_deref().map(beginning)
    }
}

/// As much of a statement's text as is shown.
pub(crate) fn beginning(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Doing {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Doing::Running => "running",
            Doing::Sending => "sending",
            Doing::Receiving => "receiving",
            Doing::Queued => "queued",
        }
    }
}

impl Listed {
    /// It does something else now.
    pub(crate) fn does(&self, doing: Doing) {
        self.0.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// How many rows it has given since it began.
    pub(crate) fn has_given(&self, rows: u64) {
        self.0.rows.store(rows, Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.client.queries.statements.lock().remove(&self.0.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_what_runs_and_nothing_else() {
        let queries = Arc::new(Queries::default());
        let session = queries.connect(7, 10, 20, "127.0.0.1:1", "test".to_owned(), &Arc::default());
        let text: Arc<str> = "é".repeat(2000).into();
        let listed = session.client().list(Uuid::from_u128(1), "SELECT", Some(&text), Instant::now());
        listed.does(Doing::Sending);
        listed.has_given(3);
        let running = queries.statements().remove(0);
        assert_eq!((running.doing(), running.text().map(|text| text.chars().count())), (Doing::Sending, Some(1024)));
        assert!(queries.clients()[0].1.as_ref().is_some_and(|found| found.id == running.id));
        session.client().is_queued(true);
        assert_eq!(running.doing(), Doing::Sending, "another one of the session waits");
        listed.does(Doing::Running);
        assert_eq!(running.doing(), Doing::Queued);
        drop(listed);
        session.stands(TransactionStatus::Active);
        let (client, runs) = queries.clients().remove(0);
        assert_eq!((client.between(), runs.is_none(), queries.statements().len()), (Between::Open, true, 0));
        drop(session);
        assert!(queries.clients().is_empty());
    }
}
