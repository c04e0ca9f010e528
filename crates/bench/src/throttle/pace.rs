//! How fast bytes may pass, over all connections together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be caught up on: timers wake late, and a pace that forgot it would be slower than it says.
const CATCH_UP: Duration = Duration::from_millis(5);

/// A shared pace: whoever has bytes is told when they have passed.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// When everything that was let through until now has passed.
    free: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: f64) -> Pace {
        Pace { bytes_per_second, free: Mutex::new(Instant::now()) }
    }

    /// When this many bytes, behind those of everybody before, have passed.
    pub(super) fn passed(&self, bytes: u64) -> Instant {
        let now = Instant::now();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        *free = (*free).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_share_the_pace() {
        let pace = Pace::new(1e6);
        let begun = Instant::now();
        let last = (0..10).map(|_| pace.passed(100_000)).last();
        let took = last.map(|last| last - begun).unwrap_or_default();
        assert!(took > Duration::from_millis(990) && took < Duration::from_millis(1100), "{took:?}");
    }
}
