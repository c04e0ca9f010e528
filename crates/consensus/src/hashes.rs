//! Do the replicas have the same state? Their hashes are compared at certain indexes.
//!
//! What always holds: the indexes are the same on every node (multiples of one number), and the hash is that of the state right after
//! the entry, whatever has been applied since. Encoding a state for its hash takes a while, so that happens beside the log, and an
//! index whose turn comes while the one before is still at work is passed over. A node that finds that it differs from its
//! leader stops: from there on one of them is wrong, and only the leader's answers are the group's.
//!
//! Only nodes that say which formats of the catalog they read compare: all of those write a state in the lowest format
//! that can say it, so equal states have equal bytes. Builds before that wrote the newest they knew.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use wharf_catalog::State;

use crate::state_machine::Applied;

/// How many states wait to be hashed.
const QUEUE: usize = 2;

/// How many hashes are remembered.
const REMEMBERED: usize = 32;

/// A state to be hashed, and the index after which it was.
pub(crate) type HashJob = (u64, Arc<State>);

/// Where the state machine puts states whose index has its turn.
#[derive(Clone, Debug)]
pub(crate) struct HashQueue {
    every: u64,
    queue: mpsc::Sender<HashJob>,
}

impl HashQueue {
    /// A queue for one of so many indexes (0: for none), and its other end.
    pub(crate) fn new(every: u64) -> (Self, mpsc::Receiver<HashJob>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        (HashQueue { every, queue }, jobs)
    }

    /// Takes a state if its index has its turn and there is somebody to compare it with.
    pub(crate) fn offer(&self, applied: &Applied) {
        let Some(last) = applied.last else { return };
        let in_turn = last.index.checked_rem(self.every) == Some(0);
        if in_turn && applied.membership.nodes().nth(1).is_some() {
            // Full: the next time then.
            drop(self.queue.try_send((last.index, Arc::clone(&applied.state))));
        }
    }
}

/// The hashes of the last indexes.
#[derive(Debug, Default)]
pub(crate) struct RecentHashes {
    hashes: Mutex<BTreeMap<u64, [u8; 32]>>,
}

impl RecentHashes {
    /// Remembers a hash and forgets the oldest.
    pub(crate) fn put(&self, index: u64, hash: [u8; 32]) {
        let mut hashes = self.hashes.lock();
        hashes.insert(index, hash);
        while hashes.len() > REMEMBERED {
            hashes.pop_first();
        }
    }

    /// The hash after an index.
    pub(crate) fn get(&self, index: u64) -> Option<[u8; 32]> {
        self.hashes.lock().get(&index).copied()
    }
}
