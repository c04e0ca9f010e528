//! Nodes that a query has lost, told to whoever waits for its rows.
//!
//! The library sends plans in the background: that one did not reach its node is heard of at the end of the query, or never, while
//! other nodes wait for the rows of that plan. Whoever runs the query listens here as well as to its rows.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::travelling::Lost;

/// The first loss of a query: in the extensions of the configuration of the session it runs in.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    first: Mutex<Option<Lost>>,
    told: Notify,
}

impl Losses {
    /// Tells of a loss.
    pub(crate) fn tell(&self, lost: Lost) {
        self.first.lock().get_or_insert(lost);
        self.told.notify_one();
    }

    /// Waits for one.
    pub(crate) async fn next(&self) -> Lost {
        loop {
            if let Some(lost) = self.first.lock().take() {
                return lost;
            }
            self.told.notified().await;
        }
    }
}
