//! The runtime of this crate's own tests: the simulated machine where there is one, tokio elsewhere.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::async_runtime::TokioOneShotSender;
use openraft::{AsyncRuntime, OptionalSend};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::machine::Machine;

/// The runtime.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SwitchedRuntime;

/// A moment, as the time since a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl openraft::Instant for Moment {
    fn now() -> Self {
        static BEGINNING: OnceLock<std::time::Instant> = OnceLock::new();
        let elapsed = || BEGINNING.get_or_init(std::time::Instant::now).elapsed() + Duration::from_secs(3600);
        Moment(Machine::current().map_or_else(elapsed, |machine| machine.now()))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0 + duration)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, duration: Duration) -> Moment {
        Moment(self.0 - duration)
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;
    fn sub(self, other: Moment) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

/// A task that ended without a result.
#[derive(Debug)]
pub(crate) struct Ended {
    panicked: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.panicked { "the task panicked" } else { "the task was ended" })
    }
}

/// The result of a task.
pub(crate) enum JoinHandle<T> {
    Tokio(tokio::task::JoinHandle<T>),
    Simulated(oneshot::Receiver<T>),
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Ended>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            JoinHandle::Tokio(handle) => {
                Pin::new(handle).poll(context).map_err(|error| Ended { panicked: error.is_panic() })
            }
            JoinHandle::Simulated(result) => Pin::new(result).poll(context).map_err(|_| Ended { panicked: false }),
        }
    }
}

/// A wait.
pub(crate) enum Sleep {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Simulated { until: Duration, timer: Option<(Duration, u64)> },
}

impl Sleep {
    pub(crate) fn new(duration: Duration) -> Sleep {
        match Machine::current() {
            Some(machine) => Sleep::Simulated { until: machine.now().saturating_add(duration), timer: None },
            None => Sleep::Tokio(Box::pin(tokio::time::sleep(duration))),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Sleep::Tokio(sleep) => sleep.as_mut().poll(context),
            Sleep::Simulated { until, timer } => {
                let Some(machine) = Machine::current() else { return Poll::Pending };
                if let Some(timer) = timer.take() {
                    machine.forget_timer(&timer);
                }
                if machine.now() >= *until {
                    return Poll::Ready(());
                }
                *timer = Some(machine.wake_at(*until, context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Sleep::Simulated { timer: Some(timer), .. } = self
            && let Some(machine) = Machine::current()
        {
            machine.forget_timer(timer);
        }
    }
}

/// A future with a limit on its time.
pub(crate) struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

/// It took too long.
#[derive(Debug)]
pub(crate) struct TooLate;

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too late")
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TooLate>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(output) = this.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut this.sleep).poll(context).map(|()| Err(TooLate))
    }
}

/// Chance.
pub(crate) struct Random;

impl rand::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() >> 32).unwrap()
    }

    fn next_u64(&mut self) -> u64 {
        Machine::current().map_or_else(|| Uuid::new_v4().as_u64_pair().1, |machine| machine.random())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl AsyncRuntime for SwitchedRuntime {
    type JoinError = Ended;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Moment;
    type TimeoutError = TooLate;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Random;
    type OneshotSender<T: OptionalSend> = TokioOneShotSender<T>;
    type OneshotReceiver<T: OptionalSend> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match Machine::current() {
            Some(machine) => {
                let (ended, end) = oneshot::channel();
                machine.spawn(async move { drop(ended.send(future.await)) });
                JoinHandle::Simulated(end)
            }
            None => JoinHandle::Tokio(tokio::spawn(future)),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Sleep::new(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Sleep::new(deadline - <Moment as openraft::Instant>::now())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Timeout { future: Box::pin(future), sleep: Sleep::new(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.panicked
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Random
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        let (sender, receiver) = oneshot::channel();
        (TokioOneShotSender(sender), receiver)
    }
}
