//! Parts of local data files that were read and verified, in memory.
//!
//! A local warehouse has no cache of blocks before it: the system keeps its files in memory. But to read them again is to copy them
//! again and to compute their checksums again, which for a scan of few columns is a tenth of its time.
//!
//! What always holds: files are written once and never changed, so what is remembered is never stale; each part has memory of its
//! own, and all of them together stay within the limit.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, S3FifoConfig};
use object_store::path::Path;

/// A part of the memory with a lock of its own is at least this large.
const SHARD_BYTES: usize = 32 << 20;

/// The parts, by file and range.
pub(super) struct RememberedRanges(Cache<(String, u64, u64), Bytes>);

impl fmt::Debug for RememberedRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RememberedRanges").field("bytes", &self.0.usage()).finish_non_exhaustive()
    }
}

impl RememberedRanges {
    /// Room for so many bytes.
    pub(super) fn new(limit_bytes: usize) -> RememberedRanges {
        let cache = CacheBuilder::new(limit_bytes)
            .with_name("local data files")
            // Of a scan of more than there is room for, some is there the next time.
            .with_eviction_config(S3FifoConfig::default())
            .with_shards((limit_bytes / SHARD_BYTES).clamp(1, 16))
            .with_weighter(|key: &(String, u64, u64), value: &Bytes| key.0.len() + value.len())
            .build();
        RememberedRanges(cache)
    }

    /// What is known of a range of a file.
    pub(super) fn get(&self, path: &Path, range: &Range<u64>) -> Option<Bytes> {
        self.0.get(&key(path, range)).map(|entry| entry.value().clone())
    }

    /// Keeps a range of a file, copied out of whatever it was read with.
    pub(super) fn keep(&self, path: &Path, range: &Range<u64>, bytes: &Bytes) {
        self.0.insert(key(path, range), Bytes::copy_from_slice(bytes));
    }
}

fn key(path: &Path, range: &Range<u64>) -> (String, u64, u64) {
    (path.to_string(), range.start, range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_file_and_range_and_stay_within_the_limit() {
        let remembered = RememberedRanges::new(1 << 20);
        let (a, b) = (Path::from("a.parquet"), Path::from("b.parquet"));
        remembered.keep(&a, &(5..8), &Bytes::from_static(b"abc"));
        assert_eq!(remembered.get(&a, &(5..8)).as_deref(), Some(&b"abc"[..]));
        assert_eq!(remembered.get(&a, &(5..9)), None);
        assert_eq!(remembered.get(&b, &(5..8)), None);
        let part = Bytes::from(vec![1; 64 << 10]);
        (0..64).for_each(|start| remembered.keep(&b, &(start..start + (64 << 10)), &part));
        assert!(remembered.0.usage() <= 1 << 20, "{}", remembered.0.usage());
    }
}
