//! A cache bounded by the size of what it holds; the entry that was used longest ago goes first.
//!
//! Keys are locations of files that never change, so an entry is never stale. Two readers that miss at the same time both
//! load the file: that costs a request, never correctness.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A least-recently-used cache of values that are cheap to clone.
pub(crate) struct WeightedCache<V> {
    limit_bytes: usize,
    inner: Mutex<Inner<V>>,
}

struct Inner<V> {
    entries: HashMap<String, Entry<V>>,
    /// The keys by the moment of their last use, oldest first.
    order: BTreeMap<u64, String>,
    clock: u64,
    size_bytes: usize,
}

struct Entry<V> {
    value: V,
    size_bytes: usize,
    used: u64,
}

impl<V: Clone> WeightedCache<V> {
    /// A cache that holds at most this many bytes, as its users estimate them.
    pub(crate) fn new(limit_bytes: usize) -> WeightedCache<V> {
        WeightedCache {
            limit_bytes,
            inner: Mutex::new(Inner { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, size_bytes: 0 }),
        }
    }

    /// The value of a key, which counts as a use.
    pub(crate) fn get(&self, key: &str) -> Option<V> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let entry = inner.entries.get_mut(key)?;
        inner.clock += 1;
        let key = inner.order.remove(&entry.used)?;
        entry.used = inner.clock;
        inner.order.insert(inner.clock, key);
        Some(entry.value.clone())
    }

    /// Keeps a value, instead of what the key had; other entries make room. A value larger than the limit is not kept.
    pub(crate) fn insert(&self, key: &str, value: V, size_bytes: usize) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.remove(key);
        if size_bytes > self.limit_bytes {
            return;
        }
        inner.clock += 1;
        let used = inner.clock;
        inner.order.insert(used, key.to_owned());
        inner.entries.insert(key.to_owned(), Entry { value, size_bytes, used });
        inner.size_bytes += size_bytes;
        while inner.size_bytes > self.limit_bytes {
            let Some((_, oldest)) = inner.order.first_key_value() else {
                break;
            };
            let oldest = oldest.clone();
            inner.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        // The state is consistent between any two statements that can panic, so a poisoned lock is still usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn size_bytes(&self) -> usize {
        self.lock().size_bytes
    }
}

impl<V> Inner<V> {
    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.size_bytes -= entry.size_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let cache = WeightedCache::new(10);
        cache.insert("a", 1, 4);
        cache.insert("b", 2, 4);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c", 3, 4);
        assert_eq!(cache.get("b"), None);
        assert_eq!(cache.get("a"), Some(1));
        assert_eq!(cache.get("c"), Some(3));
        assert_eq!(cache.size_bytes(), 8);
    }

    #[test]
    fn replacing_and_refusing_keep_the_size_right() {
        let cache = WeightedCache::new(10);
        cache.insert("a", 1, 4);
        cache.insert("a", 2, 9);
        assert_eq!((cache.get("a"), cache.size_bytes()), (Some(2), 9));
        cache.insert("a", 3, 11);
        assert_eq!((cache.get("a"), cache.size_bytes()), (None, 0));
    }
}
