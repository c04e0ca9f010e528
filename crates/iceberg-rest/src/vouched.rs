//! Tokens that other nodes of the cluster have signed: a client of a load balancer has its token from one node and
//! shows it to another.
//!
//! What always holds: secrets stay with their nodes, which are asked whether a signature is theirs. An answer is kept,
//! by the token's hash: yes until the token expires, no for some seconds. How many are kept and how many questions
//! there are at a time is limited; that nobody is asked about what is no token of a role is up to the caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// How many tokens the other nodes are asked about at once.
const QUESTIONS_AT_ONCE: usize = 16;
/// How long a question may wait for its turn; then the token is refused.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many tokens are known to be good.
const MAX_SIGNED: usize = 4_096;
/// How many tokens are known to be nobody's.
const MAX_REFUSED: usize = 1_024;
/// For how long a token that nobody has signed is not asked about again: its node may not have been reached.
const REFUSED_FOR_S: u64 = 5;

/// The other nodes of the cluster, each of which signs with a secret of its own.
#[async_trait]
pub trait OtherNodes: Send + Sync + 'static {
    /// Has one of them signed this token? False, too, when that one does not answer in time.
    async fn have_signed(&self, token: &str) -> bool;
}

/// What the other nodes say of tokens.
pub(crate) struct Vouched {
    nodes: Option<Arc<dyn OtherNodes>>,
    questions: Semaphore,
    signed: Mutex<Kept>,
    refused: Mutex<Kept>,
}

impl Vouched {
    /// Nothing is known yet. Without other nodes nothing ever is.
    pub(crate) fn new(nodes: Option<Arc<dyn OtherNodes>>) -> Vouched {
        Vouched {
            nodes,
            questions: Semaphore::new(QUESTIONS_AT_ONCE),
            signed: Mutex::new(Kept::new(MAX_SIGNED)),
            refused: Mutex::new(Kept::new(MAX_REFUSED)),
        }
    }

    /// Has another node signed this token, which expires at `exp_s`?
    pub(crate) async fn is_signed(&self, token: &str, exp_s: u64, now_s: u64) -> bool {
        let Some(nodes) = &self.nodes else { return false };
        let hash = Hash::from(Sha256::digest(token));
        if let Some(known) = self.known(&hash, now_s) {
            return known;
        }
        let Ok(Ok(_place)) = tokio::time::timeout(PATIENCE, self.questions.acquire()).await else {
            tracing::warn!("a token is refused: too many are asked about at once");
            return false;
        };
        // Whoever had the place before may have asked the same.
        if let Some(known) = self.known(&hash, now_s) {
            return known;
        }
        let is_signed = nodes.have_signed(token).await;
        match is_signed {
            true => lock(&self.signed).keep(hash, exp_s, now_s),
            false => lock(&self.refused).keep(hash, now_s.saturating_add(REFUSED_FOR_S), now_s),
        }
        is_signed
    }

    fn known(&self, hash: &Hash, now_s: u64) -> Option<bool> {
        if lock(&self.signed).has(hash, now_s) {
            return Some(true);
        }
        lock(&self.refused).has(hash, now_s).then_some(false)
    }
}

/// What is behind the lock is whole at all times.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a token: whoever sees the memory of the process shall find no tokens of other nodes in it.
type Hash = [u8; 32];

/// A limited number of tokens, each for a time.
struct Kept {
    limit: usize,
    until_s: HashMap<Hash, u64>,
}

impl Kept {
    fn new(limit: usize) -> Kept {
        Kept { limit, until_s: HashMap::new() }
    }

    fn has(&self, hash: &Hash, now_s: u64) -> bool {
        self.until_s.get(hash).is_some_and(|until_s| now_s < *until_s)
    }

    /// When there is no room, the one goes that would have gone first.
    fn keep(&mut self, hash: Hash, until_s: u64, now_s: u64) {
        if self.until_s.len() >= self.limit {
            self.until_s.retain(|_, until_s| now_s < *until_s);
        }
        if self.until_s.len() >= self.limit
            && let Some(first) = self.until_s.iter().min_by_key(|(_, until_s)| **until_s).map(|(hash, _)| *hash)
        {
            self.until_s.remove(&first);
        }
        self.until_s.insert(hash, until_s);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Signs what begins with `good`, and counts the questions.
    #[derive(Default)]
    struct Other(AtomicUsize);

    #[async_trait]
    impl OtherNodes for Other {
        async fn have_signed(&self, token: &str) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            token.starts_with("good")
        }
    }

    #[tokio::test]
    async fn answers_are_kept_for_their_time() {
        let other = Arc::new(Other::default());
        let vouched = Vouched::new(Some(other.clone()));
        let asked = || other.0.load(Ordering::Relaxed);
        for now_s in [1_000, 1_001, 1_059] {
            assert!(vouched.is_signed("good", 1_060, now_s).await);
        }
        assert_eq!(asked(), 1);
        for now_s in [1_000, 1_000 + REFUSED_FOR_S - 1] {
            assert!(!vouched.is_signed("forged", 1_060, now_s).await);
        }
        assert_eq!(asked(), 2);
        assert!(!vouched.is_signed("forged", 1_060, 1_000 + REFUSED_FOR_S).await);
        assert_eq!(asked(), 3);
        assert!(!Vouched::new(None).is_signed("good", 1_060, 1_000).await, "a node that is alone");
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let hash = |number: u8| [number; 32];
        let mut kept = Kept::new(2);
        kept.keep(hash(1), 30, 0);
        kept.keep(hash(2), 20, 0);
        kept.keep(hash(3), 40, 0);
        assert_eq!([1, 2, 3].map(|number| kept.has(&hash(number), 0)), [true, false, true]);
        // What is over makes room by itself.
        kept.keep(hash(4), 50, 30);
        assert_eq!([1, 3, 4].map(|number| kept.has(&hash(number), 30)), [false, true, true]);
        assert_eq!(kept.until_s.len(), 2);
    }

    #[tokio::test]
    async fn whoever_does_not_get_a_turn_is_refused() {
        let other = Arc::new(Other::default());
        let vouched = Vouched::new(Some(other.clone()));
        let places = vouched.questions.acquire_many(QUESTIONS_AT_ONCE as u32).await;
        assert!(!vouched.is_signed("good", 1_060, 1_000).await);
        assert_eq!(other.0.load(Ordering::Relaxed), 0);
        drop(places);
        // That was no answer, so it is not kept.
        assert!(vouched.is_signed("good", 1_060, 1_000).await);
    }
}
