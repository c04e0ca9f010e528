//! Places for statements that work on tables: a node runs so many of them at a time, and further ones wait, first come first served.
//!
//! What always holds:
//! - A session has one place at most: a statement that begins takes over the place of one of its own session that has not ended, which
//!   cannot be at work. Nobody who has a place waits for another.
//! - A statement is at work from when it is asked for something until it has answered. Between answers (a portal that is not asked for
//!   more rows, a client that is slow to read, a COPY whose data do not come) it rests: after [`REST`] those who wait take its place,
//!   and it waits for another one when it is asked again. So whatever clients do or leave undone, those who wait get on.
//! - Waiting ends as statements do: by a cancel request, by `statement_timeout`, and by being dropped when the client has gone.
//!
//! Which statements need a place is decided in `session/queue.rs`; why it is so is in `docs/decisions/0022-places-of-statements.md`.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;
use wharf_values::{SqlError, SqlState};

use crate::metrics::Statistics;
use crate::queries::Client;
use crate::session::Limits;

/// How long a statement may rest before those who wait take its place: so long that a client that reads steadily keeps it.
const REST: Duration = Duration::from_secs(1);
/// How often those who wait look for such places.
const LOOK: Duration = Duration::from_millis(200);

/// The places of a node.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// At most so many statements wait that have not begun.
    max_queued: usize,
    taken: Mutex<HashMap<Uuid, Taken>>,
    statistics: Arc<Statistics>,
}

/// A place that a statement has.
struct Taken {
    permit: OwnedSemaphorePermit,
    /// The number of its session.
    client: u64,
    /// None: it is at work.
    rests_since: Option<Instant>,
}

/// A statement that has a place, or waits for one. The place is free when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    statement: Uuid,
    client: Arc<Client>,
    limits: Limits,
}

impl Places {
    /// So many places; none when there is no limit.
    pub(crate) fn new(limit: usize, max_queued: usize, statistics: &Arc<Statistics>) -> Option<Arc<Places>> {
        (limit > 0).then(|| {
            Arc::new(Places {
                free: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
                max_queued,
                taken: Mutex::default(),
                statistics: Arc::clone(statistics),
            })
        })
    }

    /// The place of a statement that begins; it does not have it yet. It waits within the limits.
    pub(crate) fn of(self: &Arc<Self>, statement: Uuid, client: &Arc<Client>, limits: Limits) -> Place {
        Place { places: Arc::clone(self), statement, client: Arc::clone(client), limits }
    }

    /// A place that nobody has to be waited for: one that the session has already, or one that is free.
    fn at_once(&self, client: &Client) -> Option<OwnedSemaphorePermit> {
        if let Some(own) = self.own(client) {
            return Some(own.permit);
        }
        // What is given back goes to those who wait: as long as somebody does, none is free.
        let free = || Arc::clone(&self.free).try_acquire_owned().ok();
        free().or_else(|| {
            self.take_back();
            free()
        })
    }

    /// Takes the place that a statement of a session has.
    fn own(&self, client: &Client) -> Option<Taken> {
        let mut taken = self.taken.lock();
        let statement = *taken.iter().find(|(_, taken)| taken.client == client.number)?.0;
        taken.remove(&statement)
    }

    /// Waits for a place behind all who wait already.
    async fn wait(&self) -> Result<OwnedSemaphorePermit, SqlError> {
        let mut permit = pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            self.take_back();
            tokio::select! {
                biased;
                permit = &mut permit => return permit.map_err(|_| SqlError::internal("there are no places any more")),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Takes the places of statements that have rested for long.
    fn take_back(&self) {
        self.taken.lock().retain(|_, taken| taken.rests_since.is_none_or(|since| since.elapsed() < REST));
    }
}

impl Place {
    /// Takes the place, unless it has to be waited for.
    pub(crate) fn take_at_once(&self) -> bool {
        let Some(permit) = self.places.at_once(&self.client) else { return false };
        self.took(permit);
        true
    }

    /// Waits for the place, for a statement that has not begun.
    ///
    /// # Errors
    /// `53300` when too many wait, `57014` when the limits are reached meanwhile.
    pub(crate) async fn take(&self) -> Result<(), SqlError> {
        self.wait(self.places.max_queued).await
    }

    /// The statement goes on, if it still has its place.
    pub(crate) fn goes_on(&self) -> bool {
        match self.places.taken.lock().get_mut(&self.statement) {
            Some(taken) => {
                taken.rests_since = None;
                true
            }
            None => false,
        }
    }

    /// The statement goes on; waits for another place when it has lost its own. It is not refused: it has begun.
    ///
    /// # Errors
    /// `57014` when its limits are reached meanwhile.
    pub(crate) async fn resume(&self) -> Result<(), SqlError> {
        if self.goes_on() || self.take_at_once() { Ok(()) } else { self.wait(usize::MAX).await }
    }

    /// The statement has answered, and rests until it is asked for more.
    pub(crate) fn rests(&self) {
        if let Some(taken) = self.places.taken.lock().get_mut(&self.statement) {
            taken.rests_since = Some(Instant::now());
        }
    }

    /// Waits, unless so many wait already.
    async fn wait(&self, max_queued: usize) -> Result<(), SqlError> {
        let _queued = Queued::begin(&self.places.statistics, &self.client, max_queued)?;
        let permit = self.limits.within(self.places.wait()).await?;
        self.took(permit);
        Ok(())
    }

    fn took(&self, permit: OwnedSemaphorePermit) {
        let taken = Taken { permit, client: self.client.number, rests_since: None };
        self.places.taken.lock().insert(self.statement, taken);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().remove(&self.statement);
    }
}

/// A statement that waits, until this is dropped.
struct Queued<'a> {
    statistics: &'a Statistics,
    client: &'a Client,
    since: Instant,
}

impl<'a> Queued<'a> {
    fn begin(statistics: &'a Statistics, client: &'a Client, max_queued: usize) -> Result<Queued<'a>, SqlError> {
        let before = statistics.queued.inc();
        if usize::try_from(before).is_ok_and(|before| before >= max_queued) {
            statistics.queued.dec();
            return Err(too_many(max_queued));
        }
        statistics.running.dec();
        client.is_queued(true);
        Ok(Queued { statistics, client, since: Instant::now() })
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.statistics.queued.dec();
        self.statistics.running.inc();
        self.statistics.waits.observe(self.since.elapsed().as_secs_f64());
        self.client.is_queued(false);
    }
}

fn too_many(max_queued: usize) -> SqlError {
    SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "too many statements wait for their turn")
        .with_detail(format!("At most {max_queued} may wait on a node (engine.max_queued_statements)."))
        .with_hint("Try again later or on another node, or have more nodes, or raise engine.max_running_statements.")
}
