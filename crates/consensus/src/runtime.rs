//! What everything here runs on: tasks, time and chance. The only module that asks the runtime for them.
//!
//! In production it is tokio. The crate's own tests put a simulated machine in its place (`simulation`), whose time, chance and
//! order of tasks follow from a seed; so nothing else in this crate may call `tokio::spawn`, `tokio::time` or a source of
//! randomness.

use std::time::Duration;

use futures::FutureExt;
use futures::future::AbortHandle;
use openraft::AsyncRuntime;
use uuid::Uuid;

use crate::error::ConsensusError;

#[cfg(not(test))]
pub(crate) use openraft::TokioRuntime as Runtime;

#[cfg(test)]
pub(crate) use crate::simulation::runtime::SwitchedRuntime as Runtime;

/// A moment of the runtime's clock.
pub(crate) type Moment = <Runtime as AsyncRuntime>::Instant;

/// The moment it is.
pub(crate) fn now() -> Moment {
    <Moment as openraft::Instant>::now()
}

/// Waits.
pub(crate) fn sleep(duration: Duration) -> <Runtime as AsyncRuntime>::Sleep {
    Runtime::sleep(duration)
}

/// What a future gives; none when it takes longer than until a moment.
pub(crate) async fn until<F: Future + Send>(deadline: Moment, future: F) -> Option<F::Output> {
    Runtime::timeout_at(deadline, future).await.ok()
}

/// What a future gives; none when it takes longer than that.
pub(crate) async fn within<F: Future + Send>(duration: Duration, future: F) -> Option<F::Output> {
    Runtime::timeout(duration, future).await.ok()
}

/// How long it is until a moment; zero when it has passed.
pub(crate) fn left(deadline: Moment) -> Duration {
    let now = now();
    if deadline > now { deadline - now } else { Duration::ZERO }
}

/// A task that can be stopped.
pub(crate) struct Task {
    abort: AbortHandle,
    ended: <Runtime as AsyncRuntime>::JoinHandle<()>,
}

impl Task {
    /// Starts a task.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
        let (future, abort) = futures::future::abortable(future);
        Task { abort, ended: Runtime::spawn(future.map(drop)) }
    }

    /// Stops it, at the next point where it waits.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    /// Waits for its end, and stops it when that takes longer.
    pub(crate) async fn end_within(self, duration: Duration) {
        if within(duration, self.ended).await.is_none() {
            self.abort.abort();
        }
    }
}

/// Runs what waits for a disk, where it holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, ConsensusError> + Send + 'static,
) -> Result<T, ConsensusError> {
    #[cfg(test)]
    if crate::simulation::is_running() {
        crate::simulation::disk_access().await;
        return run();
    }
    let result = tokio::task::spawn_blocking(run).await;
    result.unwrap_or_else(|error| Err(ConsensusError::Failed { reason: error.to_string() }))
}

/// An id that nobody else has.
pub(crate) fn unique_id() -> Uuid {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return crate::simulation::unique_id();
    }
    Uuid::new_v4()
}
