//! Read indexes: one round of the group for all readers that wait.
//!
//! A reader must not use a round that began before it came: that round may have fixed its index before a command that the reader
//! knows to be answered. So there is at most one round under way, and all readers that come meanwhile share the next.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use crate::error::ConsensusError;

/// What a round finds: the index up to which a state must be applied to have everything that was answered before the round.
pub(crate) type RoundResult = Result<Option<u64>, ConsensusError>;

type Round = Shared<BoxFuture<'static, RoundResult>>;

/// The rounds of one kind.
#[derive(Clone, Default)]
pub(crate) struct Rounds {
    /// The round that has not begun yet, if someone waits for one.
    next: Arc<Mutex<Option<Round>>>,
    /// Held by the round that is under way.
    under_way: Arc<tokio::sync::Mutex<()>>,
}

impl Rounds {
    /// What a round finds that begins after this call; `make` makes one if none waits to begin.
    pub(crate) async fn join(&self, make: impl FnOnce() -> BoxFuture<'static, RoundResult>) -> RoundResult {
        let round = {
            let mut next = self.next.lock();
            next.get_or_insert_with(|| self.clone().run(make()).boxed().shared()).clone()
        };
        round.await
    }

    async fn run(self, round: BoxFuture<'static, RoundResult>) -> RoundResult {
        let _under_way = self.under_way.lock().await;
        // From here on it is too late to join.
        *self.next.lock() = None;
        round.await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_come_during_a_round_share_the_next() {
        let rounds = Rounds::default();
        let made = Arc::new(AtomicU64::new(0));
        let (release, released) = tokio::sync::watch::channel(false);
        let read = || {
            let (made, mut released) = (Arc::clone(&made), released.clone());
            rounds.join(move || {
                async move {
                    let number = made.fetch_add(1, Ordering::SeqCst);
                    drop(released.wait_for(|released| *released).await);
                    Ok(Some(number))
                }
                .boxed()
            })
        };
        let mut first = std::pin::pin!(read());
        assert!(futures::poll!(first.as_mut()).is_pending());
        let mut later = (0..10).map(|_| Box::pin(read())).collect::<Vec<_>>();
        for reader in &mut later {
            assert!(futures::poll!(reader).is_pending());
        }
        release.send(true).unwrap();
        assert_eq!(first.await.unwrap(), Some(0));
        for reader in later {
            assert_eq!(reader.await.unwrap(), Some(1));
        }
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }
}
