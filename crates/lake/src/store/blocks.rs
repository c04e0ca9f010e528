//! Blocks of remote files in memory and on local disk, and what reading them cost.
//!
//! Files are cut into blocks of [`BLOCK_BYTES`]. A read finds its blocks in memory, then on disk, and fetches what is
//! missing: neighbours together, in requests of at most [`RUN_BLOCKS`] blocks that run at the same time. What always holds:
//! - Files are written once and never changed, so a block is never stale and nothing is ever invalidated.
//! - Readers that miss the same block at the same time wait for one fetch of it.
//! - Both sizes are bounded; a cache that fails (a full disk, a damaged file) costs requests, never answers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
    S3FifoConfig, Source,
};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore, Result};
use tokio::sync::{OnceCell, Semaphore};

use super::shared_error::SharedError;

/// The size of a block: large enough that a request is worth its latency, small enough that a column chunk brings
/// little else.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks fetched by one request, at most.
const RUN_BLOCKS: u64 = 8;
/// Missing blocks with no more than this many others between them are fetched together.
const GAP_BLOCKS: u64 = 1;
/// Requests for blocks under way at a time, over all queries.
const FETCHES: usize = 64;
/// Blocks of one read looked up at a time.
const LOOKUPS: usize = 32;
/// A part of the memory with a lock of its own is at least this large: many blocks.
const SHARD_BYTES: usize = 32 << 20;
/// The size of the files the disk cache is made of: the unit in which it forgets.
const SEGMENT_BYTES: usize = 16 << 20;
/// What the disk cache may hold back in memory until it is written.
const WRITE_BUFFER_BYTES: usize = 32 << 20;

/// The least size of a disk cache that is worth having.
pub const MIN_DISK_BYTES: usize = 4 * SEGMENT_BYTES;

/// The sizes of the cache in front of remote stores.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Memory for blocks, in bytes.
    pub memory_bytes: usize,
    /// Disk for blocks, in bytes; 0: none, else at least [`MIN_DISK_BYTES`].
    pub disk_bytes: usize,
    /// The folder for them.
    pub directory: PathBuf,
}

impl Default for CacheOptions {
    fn default() -> CacheOptions {
        CacheOptions { memory_bytes: 256 << 20, disk_bytes: 0, directory: PathBuf::new() }
    }
}

/// What was asked of a remote store and of the cache before it, since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) memory_hits: AtomicU64,
    pub(super) disk_hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) gets: AtomicU64,
    pub(super) get_bytes: AtomicU64,
    pub(super) heads: AtomicU64,
    pub(super) lists: AtomicU64,
    pub(super) puts: AtomicU64,
    pub(super) put_bytes: AtomicU64,
    pub(super) deletes: AtomicU64,
    pub(super) errors: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// What a remote store and its cache did, as `wharf.cache` shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStatistics {
    /// The memory blocks may take, in bytes.
    pub memory_limit_bytes: u64,
    /// The memory they take now.
    pub memory_bytes: u64,
    /// The disk they may take.
    pub disk_limit_bytes: u64,
    /// Blocks found in memory.
    pub memory_hits: u64,
    /// Blocks found on disk.
    pub disk_hits: u64,
    /// Blocks fetched from the store.
    pub misses: u64,
    /// Requests that read.
    pub get_requests: u64,
    /// The bytes they brought.
    pub get_bytes: u64,
    /// Requests for the properties of a file.
    pub head_requests: u64,
    /// Listings.
    pub list_requests: u64,
    /// Requests that wrote, parts of files included.
    pub put_requests: u64,
    /// The bytes they wrote.
    pub put_bytes: u64,
    /// Files removed.
    pub delete_requests: u64,
    /// Requests that failed, retries excluded.
    pub errors: u64,
}

type Cache = HybridCache<String, Bytes>;
/// The bytes of a run, and the size of their file.
type Run = Shared<BoxFuture<'static, std::result::Result<(Bytes, u64), SharedError>>>;
/// In front of a block's bytes in the cache stands the size of its file, whose readers ask for it.
const SIZE_BYTES: usize = size_of::<u64>();

/// Bytes of a file, and the size of all of it.
fn sized(size: u64, content: &[u8]) -> Bytes {
    let mut sized = BytesMut::with_capacity(SIZE_BYTES + content.len());
    sized.put_u64(size);
    sized.extend_from_slice(content);
    sized.freeze()
}

fn unsized_of(mut sized: Bytes) -> Option<(u64, Bytes)> {
    let size = sized.try_get_u64().ok()?;
    Some((size, sized))
}

/// The blocks of one store.
pub(super) struct Blocks {
    options: CacheOptions,
    /// Opened by the first read, or at the start of the server.
    cache: OnceCell<Cache>,
    counters: Arc<Counters>,
    fetches: Arc<Semaphore>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Blocks {
    pub(super) fn new(options: CacheOptions, counters: Arc<Counters>) -> Blocks {
        Blocks { options, cache: OnceCell::new(), counters, fetches: Arc::new(Semaphore::new(FETCHES)) }
    }

    /// Opens the cache; what an earlier process left on disk is found again.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub(super) async fn open(&self) -> std::result::Result<&Cache, String> {
        self.cache.get_or_try_init(|| open(&self.options)).await
    }

    pub(super) fn statistics(&self) -> CacheStatistics {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        CacheStatistics {
            memory_limit_bytes: self.options.memory_bytes as u64,
            memory_bytes: self.cache.get().map_or(0, |cache| cache.memory().usage() as u64),
            disk_limit_bytes: self.options.disk_bytes as u64,
            memory_hits: value(&counters.memory_hits),
            disk_hits: value(&counters.disk_hits),
            misses: value(&counters.misses),
            get_requests: value(&counters.gets),
            get_bytes: value(&counters.get_bytes),
            head_requests: value(&counters.heads),
            list_requests: value(&counters.lists),
            put_requests: value(&counters.puts),
            put_bytes: value(&counters.put_bytes),
            delete_requests: value(&counters.deletes),
            errors: value(&counters.errors),
        }
    }

    /// The bytes of some ranges of a file, cut off where the file ends, and the size of the file, when anything was asked for.
    ///
    /// # Errors
    /// What the store says; a range that begins behind the end.
    pub(super) async fn read(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> Result<(Vec<Bytes>, u64)> {
        let failed = |reason: String| object_store::Error::Generic { store: "cache", source: reason.into() };
        let cache = self.open().await.map_err(failed)?;
        let mut blocks = blocks_of(ranges);
        self.find(cache, path, &mut blocks).await;
        self.fetch(cache, store, path, &mut blocks).await?;
        let mut size = 0;
        let mut contents = BTreeMap::new();
        for (index, block) in blocks {
            if let Some((of_file, content)) = block.and_then(unsized_of) {
                size = of_file;
                contents.insert(index, content);
            }
        }
        let read: Result<Vec<Bytes>> = ranges.iter().map(|range| assemble(&contents, range, path)).collect();
        Ok((read?, size))
    }

    /// Fetches what is missing of some ranges of a file.
    ///
    /// # Errors
    /// As [`read`](Blocks::read).
    pub(super) async fn read_ahead(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> Result<()> {
        let failed = |reason: String| object_store::Error::Generic { store: "cache", source: reason.into() };
        let cache = self.open().await.map_err(failed)?;
        let mut missing = blocks_of(ranges);
        missing.retain(|index, _| !cache.contains(&block_key(path, *index)));
        self.fetch(cache, store, path, &mut missing).await
    }

    /// The last bytes of a file and the size of it, from the cache.
    pub(super) async fn end(&self, path: &Path, length: u64) -> Option<(u64, Bytes)> {
        let cache = self.open().await.ok()?;
        let entry = cache.get(&end_key(path, length)).await.ok()??;
        self.hit(entry.source());
        unsized_of(entry.value().clone())
    }

    /// Keeps the last bytes of a file.
    pub(super) async fn keep_end(&self, path: &Path, length: u64, size: u64, content: &Bytes) {
        count(&self.counters.misses, 1);
        if let Ok(cache) = self.open().await {
            cache.insert(end_key(path, length), sized(size, content));
        }
    }

    /// A whole file that is in the cache.
    pub(super) async fn whole(&self, path: &Path) -> Option<Bytes> {
        let cache = self.open().await.ok()?;
        let entry = cache.get(&whole_key(path)).await.ok()??;
        self.hit(entry.source());
        Some(entry.value().clone())
    }

    /// Keeps a whole file.
    pub(super) async fn keep_whole(&self, path: &Path, content: Bytes) {
        count(&self.counters.misses, 1);
        if let Ok(cache) = self.open().await {
            cache.insert(whole_key(path), content);
        }
    }

    /// Keeps a file that was written, as its readers will ask for it: data files by ranges, others whole.
    pub(super) async fn keep_written(&self, path: &Path, content: Bytes) {
        let Ok(cache) = self.open().await else { return };
        if !matches!(path.extension(), Some("parquet" | "puffin")) {
            cache.insert(whole_key(path), content);
            return;
        }
        for (index, block) in (0..).zip(content.chunks(BLOCK_BYTES as usize)) {
            cache.insert(block_key(path, index), sized(content.len() as u64, block));
        }
    }

    fn hit(&self, source: Source) {
        let counter = match source {
            Source::Memory => &self.counters.memory_hits,
            Source::Disk => &self.counters.disk_hits,
            Source::Outer => &self.counters.misses,
        };
        count(counter, 1);
    }

    /// Takes from memory and disk what is there.
    async fn find(&self, cache: &Cache, path: &Path, blocks: &mut BTreeMap<u64, Option<Bytes>>) {
        let wanted: Vec<u64> = blocks.keys().copied().collect();
        let mut found = stream::iter(wanted)
            .map(|index| {
                let get = cache.get(&block_key(path, index));
                async move { (index, get.await) }
            })
            .buffer_unordered(LOOKUPS);
        while let Some((index, entry)) = found.next().await {
            match entry {
                Ok(Some(entry)) => {
                    self.hit(entry.source());
                    blocks.insert(index, Some(entry.value().clone()));
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a block of the cache could not be read"),
            }
        }
    }

    /// Fetches what is missing.
    async fn fetch(
        &self,
        cache: &Cache,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        blocks: &mut BTreeMap<u64, Option<Bytes>>,
    ) -> Result<()> {
        let missing: Vec<u64> = blocks.iter().filter(|(_, block)| block.is_none()).map(|(index, _)| *index).collect();
        let mut waits = Vec::with_capacity(missing.len());
        for run in runs(&missing) {
            let fetch = self.run(store, path, run.clone());
            for index in missing.iter().copied().filter(|index| run.contains(index)) {
                let (fetch, first) = (fetch.clone(), run.start);
                // Another reader may be fetching the block already; then this run is not asked for it.
                let entry = cache.get_or_fetch(&block_key(path, index), move || async move {
                    block_of(fetch.await?, index - first)
                });
                waits.push(async move { (index, entry.await) });
            }
        }
        for (index, entry) in futures::future::join_all(waits).await {
            let entry = entry.map_err(|error| match error.downcast_ref::<SharedError>() {
                Some(shared) => shared.to_error(path),
                None => object_store::Error::Generic { store: "cache", source: Box::new(error) },
            })?;
            self.hit(entry.source());
            blocks.insert(index, Some(entry.value().clone()));
        }
        Ok(())
    }

    /// One request for neighbouring blocks, made when the first of them is asked for.
    fn run(&self, store: &Arc<dyn ObjectStore>, path: &Path, run: Range<u64>) -> Run {
        let (store, path) = (Arc::clone(store), path.clone());
        let (fetches, counters) = (Arc::clone(&self.fetches), Arc::clone(&self.counters));
        async move {
            let permit = fetches.acquire().await;
            count(&counters.gets, 1);
            let range = run.start * BLOCK_BYTES..run.end * BLOCK_BYTES;
            let result = store.get_opts(&path, GetOptions::new().with_range(Some(range))).await;
            let bytes = match result {
                Ok(result) => content_of(result).await,
                Err(error) => Err(error),
            };
            drop(permit);
            match &bytes {
                Ok((bytes, _)) => count(&counters.get_bytes, bytes.len() as u64),
                Err(_) => count(&counters.errors, 1),
            }
            bytes.map_err(SharedError::new)
        }
        .boxed()
        .shared()
    }
}

/// The blocks of some ranges, none of them there yet.
fn blocks_of(ranges: &[Range<u64>]) -> BTreeMap<u64, Option<Bytes>> {
    let ranges = ranges.iter().filter(|range| range.start < range.end);
    let blocks = ranges.flat_map(|range| range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES);
    blocks.map(|index| (index, None)).collect()
}

async fn content_of(result: GetResult) -> Result<(Bytes, u64)> {
    let size = result.meta.size;
    Ok((result.bytes().await?, size))
}

async fn open(options: &CacheOptions) -> std::result::Result<Cache, String> {
    let builder = HybridCacheBuilder::new()
        .with_name("wharf")
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        .memory(options.memory_bytes)
        // A scan of more than there is room for would leave nothing of what was there before, nor of itself, were the block that was
        // used longest ago the one to go.
        .with_eviction_config(S3FifoConfig::default())
        .with_shards((options.memory_bytes / SHARD_BYTES).clamp(1, 16))
        .with_weighter(|key: &String, value: &Bytes| key.len() + value.len())
        .storage();
    let builder = if options.disk_bytes >= MIN_DISK_BYTES {
        let device = FsDeviceBuilder::new(&options.directory)
            .with_capacity(options.disk_bytes)
            .build()
            .map_err(|error| format!("the cache folder \"{}\" cannot be used: {error}", options.directory.display()))?;
        builder.with_engine_config(
            BlockEngineConfig::new(device)
                .with_block_size(SEGMENT_BYTES)
                .with_buffer_pool_size(WRITE_BUFFER_BYTES)
                .with_submit_queue_size_threshold(2 * WRITE_BUFFER_BYTES),
        )
    } else {
        builder
    };
    builder
        .build()
        .await
        .map_err(|error| format!("the cache folder \"{}\" cannot be used: {error}", options.directory.display()))
}

fn block_key(path: &Path, index: u64) -> String {
    format!("{path}\0{index}")
}

fn end_key(path: &Path, length: u64) -> String {
    format!("{path}\0-{length}")
}

fn whole_key(path: &Path) -> String {
    format!("{path}\0")
}

/// Missing blocks as requests: neighbours together, no request larger than [`RUN_BLOCKS`].
fn runs(missing: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for index in missing.iter().copied() {
        match runs.last_mut() {
            Some(run) if index <= run.end + GAP_BLOCKS && index < run.start + RUN_BLOCKS => run.end = index + 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// One block of a run, in memory of its own, so that keeping it does not keep the run.
fn block_of((run, size): (Bytes, u64), number: u64) -> std::result::Result<Bytes, SharedError> {
    let start = (number * BLOCK_BYTES) as usize;
    if start >= run.len() {
        return Err(SharedError::behind_the_end());
    }
    let end = run.len().min(start + BLOCK_BYTES as usize);
    Ok(sized(size, &run[start..end]))
}

/// A range put together from its blocks.
fn assemble(blocks: &BTreeMap<u64, Bytes>, range: &Range<u64>, path: &Path) -> Result<Bytes> {
    if range.start >= range.end {
        return Ok(Bytes::new());
    }
    let part = |index: u64| {
        let block = blocks.get(&index)?;
        let first = index * BLOCK_BYTES;
        let start = (range.start.max(first) - first) as usize;
        let end = ((range.end - first) as usize).min(block.len());
        (start < end).then(|| block.slice(start..end))
    };
    let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
    let whole = match part(first) {
        Some(only) if first == last => return Ok(only),
        Some(beginning) => beginning,
        None => return Err(SharedError::behind_the_end().to_error(path)),
    };
    let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
    bytes.extend_from_slice(&whole);
    for index in first + 1..=last {
        match part(index) {
            Some(next) => bytes.extend_from_slice(&next),
            None => break,
        }
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn neighbours_are_fetched_together_in_bounded_runs() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3]), [3..4]);
        assert_eq!(runs(&[0, 1, 2]), [0..3]);
        assert_eq!(runs(&[0, 2, 5]), [0..3, 5..6], "one block between is worth less than a request");
        assert_eq!(runs(&(0..20).collect::<Vec<_>>()), [0..8, 8..16, 16..20]);
    }
}
