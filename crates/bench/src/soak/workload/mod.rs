//! Clients that do everything at once, on any node, and write down what they were told.
//!
//! A client that loses its connection, or gets no answer, takes another node. Tables come in generations, since each commit of a table
//! costs as much as the table has snapshots; those of old generations are read at the end.

mod accounts;
mod definitions;
mod lists;
mod rows;
mod tables;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::history::{History, Outcome};
use super::session::{Failure, Session};

pub(super) use tables::verify;

/// The pause of a client that could not connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// A connection is left for another one, one time of so many.
const STATEMENTS_PER_CONNECTION: u32 = 60;

/// What all clients share.
pub(super) struct Shared {
    addresses: Vec<SocketAddr>,
    begun: Instant,
    history: Mutex<History>,
    /// 0 until there are tables.
    generation: AtomicU32,
    next: AtomicI64,
    stopped: AtomicBool,
    /// Statements whose rows were acknowledged lately, each with its generation.
    recent: Mutex<VecDeque<(u32, i64)>>,
}

impl Shared {
    /// For clients of these nodes.
    pub(super) fn new(addresses: Vec<SocketAddr>, begun: Instant) -> Arc<Shared> {
        Arc::new(Shared {
            addresses,
            begun,
            history: Mutex::default(),
            generation: AtomicU32::new(0),
            next: AtomicI64::new(1),
            stopped: AtomicBool::new(false),
            recent: Mutex::default(),
        })
    }

    /// What was written down so far.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics while he holds the history")
    }

    /// Since the beginning of the run.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The generation of tables that is written to.
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    fn number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// The running clients.
pub(super) struct Workload {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Makes the first tables and starts the clients.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        mut random: fastrand::Rng,
        clients: usize,
        generation_lasts: Duration,
    ) -> Workload {
        tables::next_generation(shared, &mut random).await;
        let renewing = (Arc::clone(shared), random.fork());
        let mut tasks = vec![tokio::spawn(async move {
            let (shared, mut random) = renewing;
            let mut since = Instant::now();
            while !shared.is_stopped() {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if since.elapsed() >= generation_lasts {
                    tables::next_generation(&shared, &mut random).await;
                    since = Instant::now();
                }
            }
        })];
        for client in 0..clients {
            let home = client % shared.addresses.len();
            let client = Client { shared: Arc::clone(shared), random: random.fork(), home, node: home, session: None };
            tasks.push(tokio::spawn(client.work()));
        }
        Workload { shared: Arc::clone(shared), tasks }
    }

    /// Lets each client end what it is at. What went wrong with the clients themselves is given back.
    pub(super) async fn stop(self) -> Vec<String> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        for task in self.tasks {
            if let Err(error) = task.await {
                failures.push(format!("a client panicked: {error}"));
            }
        }
        failures
    }
}

/// One client.
struct Client {
    shared: Arc<Shared>,
    random: fastrand::Rng,
    /// The node that it likes best.
    home: usize,
    /// The node that it is connected to.
    node: usize,
    session: Option<Session>,
}

impl Client {
    async fn work(mut self) {
        while !self.shared.is_stopped() {
            let Some(session) = self.connected().await else { continue };
            let result = match self.random.u8(..100) {
                0..=44 => self.change_lists(&session).await,
                45..=54 => self.read_lists(&session).await,
                55..=67 => self.transfer(&session).await,
                68..=77 => self.sum(&session).await,
                78..=87 => self.insert(&session).await,
                88..=92 => self.look_for_rows(&session).await,
                _ => self.define(&session).await,
            };
            let broken = result.is_err_and(|failure| self.note(&failure));
            if !broken && self.random.u32(..STATEMENTS_PER_CONNECTION) != 0 {
                self.session = Some(session);
            }
        }
    }

    /// Writes down an error. Whether the connection is of no use any more.
    fn note(&self, failure: &Failure) -> bool {
        let mut history = self.shared.history();
        let Failure { code, message, broken, .. } = failure;
        match code {
            Some(code) => *history.refused.entry(code.clone()).or_default() += 1,
            None => history.lost_connections += 1,
        }
        if failure.is_surprising() {
            let code = code.as_deref().unwrap_or_default();
            *history.surprises.entry(format!("{code} {message}")).or_default() += 1;
        }
        *broken
    }

    /// The connection, or a new one; none when it could not be made.
    async fn connected(&mut self) -> Option<Session> {
        if let Some(session) = self.session.take() {
            return Some(session);
        }
        self.node = if self.random.bool() { self.home } else { self.random.usize(..self.shared.addresses.len()) };
        let opened = Session::open(self.shared.addresses[self.node]).await;
        let Ok(session) = opened else {
            tokio::time::sleep(CONNECT_PAUSE).await;
            return None;
        };
        // Some have all their queries divided among the nodes.
        if self.random.u8(..4) == 0
            && let Err(failure) = session.run("SET wharf.distribute = 'on'").await
        {
            self.note(&failure);
            return None;
        }
        Some(session)
    }

    /// A transaction block: what `body` does, and then COMMIT, or now and then ROLLBACK. Before COMMIT is sent, whatever goes wrong
    /// means that nothing was done.
    async fn block<T>(
        &mut self,
        session: &Session,
        body: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>,
    ) -> (Outcome, Result<T, Failure>) {
        let begin = if self.random.u8(..4) == 0 { "BEGIN ISOLATION LEVEL SERIALIZABLE" } else { "BEGIN" };
        let done = match session.run(begin).await {
            Ok(()) => body(self).await,
            Err(failure) => Err(failure),
        };
        let value = match done {
            Ok(value) => value,
            Err(mut failure) => {
                // The server may still be waiting for the rest; a new connection is the surest end.
                if !failure.broken && session.run("ROLLBACK").await.is_err() {
                    failure.broken = true;
                }
                return (Outcome::Failed, Err(failure));
            }
        };
        if self.random.u8(..12) == 0 {
            let rolled_back = session.run("ROLLBACK").await;
            return (Outcome::Failed, rolled_back.map(|()| value));
        }
        match session.run("COMMIT").await {
            Ok(()) => (Outcome::Done, Ok(value)),
            Err(failure) => (failure.outcome, Err(failure)),
        }
    }
}

/// What became of a statement by itself.
fn outcome<T>(result: &Result<T, Failure>) -> Outcome {
    result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Done)
}
