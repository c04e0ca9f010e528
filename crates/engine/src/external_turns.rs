//! Turns for writers that are elsewhere.
//!
//! An engine that commits through the Iceberg catalog has to have read the latest state of the table, and needs tenths of a second from
//! there to its commit. Where sessions of this node write to the table all the time it would be too late each time. So whoever was
//! too late has the next turn: sessions that commit to the table wait until it has come again, a second at most. The sessions have as long
//! a turn after that, whoever is too late meanwhile, so that another engine cannot keep them waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a turn is.
const TURN: Duration = Duration::from_secs(1);
/// At most so many tables have turns at a time; those that are over are forgotten then, and more are not given.
const KEPT: usize = 256;

/// Whose turn it is, by table.
#[derive(Debug, Default)]
pub(crate) struct ExternalTurns {
    tables: Mutex<HashMap<Uuid, Turn>>,
}

#[derive(Debug)]
struct Turn {
    /// Until when sessions wait.
    until: Instant,
    /// From when on they may have to wait again.
    next: Instant,
    over: Arc<Notify>,
}

impl ExternalTurns {
    /// A writer elsewhere was too late.
    pub(crate) fn too_late(&self, table: Uuid) {
        let now = Instant::now();
        let mut tables = self.tables.lock();
        if tables.len() >= KEPT {
            tables.retain(|_, turn| turn.next > now);
            if tables.len() >= KEPT {
                return;
            }
        }
        if tables.get(&table).is_none_or(|turn| turn.next <= now) {
            tables.insert(table, Turn { until: now + TURN, next: now + 2 * TURN, over: Arc::default() });
        }
    }

    /// A writer elsewhere has written: the sessions go on, for as long as they waited.
    pub(crate) fn written(&self, table: Uuid) {
        let now = Instant::now();
        if let Some(turn) = self.tables.lock().get_mut(&table).filter(|turn| turn.until > now) {
            let waited = TURN - (turn.until - now);
            (turn.until, turn.next) = (now, now + waited);
            turn.over.notify_waiters();
        }
    }

    /// Waits until sessions may commit to a table, a second at most.
    pub(crate) async fn wait(&self, table: Uuid) {
        let (until, over) = match self.tables.lock().get(&table) {
            Some(turn) if turn.until > Instant::now() => (turn.until, Arc::clone(&turn.over)),
            _ => return,
        };
        let over = over.notified();
        // It may have been over before this one listened.
        let still = self.tables.lock().get(&table).is_some_and(|turn| turn.until > Instant::now());
        if still {
            let _ = tokio::time::timeout_at(until, over).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waits(turns: &ExternalTurns, table: Uuid) -> bool {
        tokio::time::timeout(Duration::from_millis(20), turns.wait(table)).await.is_err()
    }

    #[tokio::test]
    async fn who_was_too_late_has_the_next_turn_and_not_the_one_after() {
        let (turns, table) = (ExternalTurns::default(), Uuid::new_v4());
        assert!(!waits(&turns, table).await);
        turns.too_late(table);
        assert!(waits(&turns, table).await);
        assert!(!waits(&turns, Uuid::new_v4()).await);

        let (waiting, ()) = tokio::join!(tokio::time::timeout(TURN / 2, turns.wait(table)), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            turns.written(table);
        });
        assert!(waiting.is_ok(), "those who wait hear that it has written");
        turns.too_late(table);
        assert!(!waits(&turns, table).await, "now it is the sessions' turn");
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_a_turn() {
        let (turns, table) = (ExternalTurns::default(), Uuid::new_v4());
        turns.too_late(table);
        assert!(tokio::time::timeout(TURN * 10, turns.wait(table)).await.is_ok());
        turns.too_late(table);
        assert!(!waits(&turns, table).await);
    }
}
