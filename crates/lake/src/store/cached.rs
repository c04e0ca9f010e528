//! A remote object store behind a cache of blocks, with its requests counted.
//!
//! What always holds: ranges and small whole files are read through [`Blocks`], which get small files as they are written, too;
//! everything else passes. Only for a
//! warehouse, whose files never change. Of a file that comes from the cache only the name and the bytes are known: its
//! time is the epoch.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use tokio::sync::Semaphore;

use super::blocks::{Blocks, CacheOptions, CacheStatistics, Counters, count};

/// Whole files up to this size are kept: manifests and metadata.
const WHOLE_BYTES: u64 = 16 << 20;
/// Parts of scans that are read ahead at a time, over all queries.
const PARTS_AHEAD: usize = 8;

/// A remote store with a cache.
#[derive(Debug)]
pub(crate) struct CachedStore {
    inner: Arc<dyn ObjectStore>,
    blocks: Arc<Blocks>,
    counters: Arc<Counters>,
    /// For what is read ahead.
    ahead: Arc<Semaphore>,
}

impl CachedStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, options: CacheOptions) -> CachedStore {
        let counters = Arc::new(Counters::default());
        let blocks = Arc::new(Blocks::new(options, Arc::clone(&counters)));
        CachedStore { inner, blocks, counters, ahead: Arc::new(Semaphore::new(PARTS_AHEAD)) }
    }

    /// Opens the cache.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub(crate) async fn open(&self) -> std::result::Result<(), String> {
        self.blocks.open().await.map(|_| ())
    }

    /// What happened since the start.
    pub(crate) fn statistics(&self) -> CacheStatistics {
        self.blocks.statistics()
    }

    /// Fetches ranges of a file that will be read soon, unless enough is fetched so already; what fails is left to who reads.
    pub(crate) fn read_ahead(&self, location: &Path, ranges: Vec<Range<u64>>) {
        let Ok(permit) = Arc::clone(&self.ahead).try_acquire_owned() else { return };
        let (blocks, inner, location) = (Arc::clone(&self.blocks), Arc::clone(&self.inner), location.clone());
        tokio::spawn(async move {
            if let Err(error) = blocks.read_ahead(&inner, &location, &ranges).await {
                tracing::debug!(%location, %error, "nothing was read ahead");
            }
            drop(permit);
        });
    }

    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            count(&self.counters.errors, 1);
        }
        result
    }

    /// The last bytes of a file.
    async fn end(&self, location: &Path, length: u64) -> Result<GetResult> {
        let (size, content) = match self.blocks.end(location, length).await {
            Some(known) => known,
            None => {
                count(&self.counters.gets, 1);
                let options = GetOptions::new().with_range(Some(GetRange::Suffix(length)));
                let result = self.noted(self.inner.get_opts(location, options).await)?;
                let size = result.meta.size;
                let content = self.noted(result.bytes().await)?;
                count(&self.counters.get_bytes, content.len() as u64);
                self.blocks.keep_end(location, length, size, &content).await;
                (size, content)
            }
        };
        Ok(known(location, size, size - content.len() as u64..size, content))
    }

    async fn whole(&self, location: &Path) -> Result<GetResult> {
        if let Some(content) = self.blocks.whole(location).await {
            let size = content.len() as u64;
            return Ok(known(location, size, 0..size, content));
        }
        count(&self.counters.gets, 1);
        let result = self.noted(self.inner.get_opts(location, GetOptions::default()).await)?;
        count(&self.counters.get_bytes, result.meta.size);
        if result.meta.size > WHOLE_BYTES {
            return Ok(result);
        }
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let content = self.noted(result.bytes().await)?;
        self.blocks.keep_whole(location, content.clone()).await;
        Ok(GetResult { payload: payload(content), meta, range, attributes })
    }
}

fn payload(content: Bytes) -> GetResultPayload {
    GetResultPayload::Stream(stream::once(async move { Ok(content) }).boxed())
}

fn known(location: &Path, size: u64, range: Range<u64>, content: Bytes) -> GetResult {
    let meta = ObjectMeta {
        location: location.clone(),
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size,
        e_tag: None,
        version: None,
    };
    GetResult { payload: payload(content), meta, range, attributes: Attributes::default() }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        count(&self.counters.puts, 1);
        count(&self.counters.put_bytes, payload.content_length() as u64);
        // What was just written is what is read next: by the next statement, and after a restart.
        let kept = (payload.content_length() as u64 <= WHOLE_BYTES).then(|| payload.clone());
        let written = self.noted(self.inner.put_opts(location, payload, options).await)?;
        if let Some(kept) = kept {
            self.blocks.keep_written(location, kept.into()).await;
        }
        Ok(written)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        count(&self.counters.puts, 1);
        let inner = self.noted(self.inner.put_multipart_opts(location, options).await)?;
        Ok(Box::new(CountedUpload { inner, counters: Arc::clone(&self.counters) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let plain = options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none()
            && options.version.is_none()
            && !options.head;
        match options.range {
            Some(GetRange::Bounded(range)) if plain => {
                let (read, size) = self.blocks.read(&self.inner, location, std::slice::from_ref(&range)).await?;
                let content = read.into_iter().next().unwrap_or_default();
                let end = range.start + content.len() as u64;
                Ok(known(location, size, range.start..end, content))
            }
            Some(GetRange::Suffix(length)) if plain && length <= WHOLE_BYTES => self.end(location, length).await,
            None if plain => self.whole(location).await,
            _ => {
                count(if options.head { &self.counters.heads } else { &self.counters.gets }, 1);
                let result = self.noted(self.inner.get_opts(location, options).await)?;
                count(&self.counters.get_bytes, result.range.end - result.range.start);
                Ok(result)
            }
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Ok(self.blocks.read(&self.inner, location, ranges).await?.0)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let counters = Arc::clone(&self.counters);
        let removed = self.inner.delete_stream(locations);
        removed.inspect(move |_| count(&counters.deletes, 1)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.counters.lists, 1);
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.counters.lists, 1);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        count(&self.counters.lists, 1);
        self.noted(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        count(&self.counters.puts, 1);
        self.noted(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        count(&self.counters.puts, 1);
        self.noted(self.inner.rename_opts(from, to, options).await)
    }
}

/// An upload whose parts are counted.
#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    counters: Arc<Counters>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        count(&self.counters.puts, 1);
        count(&self.counters.put_bytes, data.content_length() as u64);
        self.inner.put_part(data).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        count(&self.counters.puts, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::super::blocks::BLOCK_BYTES;
    use super::*;

    async fn filled(options: CacheOptions, size: usize) -> (CachedStore, Path, Bytes) {
        let content: Bytes = (0..size).map(|at| (at % 251) as u8).collect();
        let inner = Arc::new(InMemory::new());
        let path = Path::from("t/data/a.parquet");
        inner.put(&path, content.clone().into()).await.unwrap();
        (CachedStore::new(inner, options), path, content)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn any_range_is_what_the_file_has() {
        let block = BLOCK_BYTES as usize;
        let (store, path, content) = filled(CacheOptions::default(), 3 * block + 100).await;
        let ranges =
            [0..1, block - 1..block + 1, 0..3 * block + 100, 2 * block..2 * block, 3 * block + 50..3 * block + 99];
        for range in ranges.iter().chain(&ranges) {
            let asked = range.start as u64..range.end as u64;
            assert_eq!(store.get_range(&path, asked).await.unwrap(), content[range.clone()], "{range:?}");
        }
        let behind = store.get_range(&path, 3 * BLOCK_BYTES + 90..4 * BLOCK_BYTES).await.unwrap();
        assert_eq!(behind, content[3 * block + 90..], "the end of the file cuts a range off");
        assert!(store.get_range(&path, 5 * BLOCK_BYTES..5 * BLOCK_BYTES + 1).await.is_err());
        let many: Vec<_> = ranges.iter().map(|range| range.start as u64..range.end as u64).collect();
        let read = store.get_ranges(&path, &many).await.unwrap();
        assert!(read.iter().zip(&ranges).all(|(read, range)| *read == content[range.clone()]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_block_is_fetched_once_however_many_ask_for_it() {
        let (store, path, _) = filled(CacheOptions::default(), 8 * BLOCK_BYTES as usize).await;
        let store = Arc::new(store);
        let readers = (0..32).map(|_| {
            let (store, path) = (Arc::clone(&store), path.clone());
            tokio::spawn(async move { store.get_range(&path, 0..8 * BLOCK_BYTES).await.unwrap().len() })
        });
        for length in futures::future::join_all(readers).await {
            assert_eq!(length.unwrap() as u64, 8 * BLOCK_BYTES);
        }
        let statistics = store.statistics();
        assert_eq!((statistics.get_requests, statistics.get_bytes), (1, 8 * BLOCK_BYTES));
        store.get_range(&path, 100..200).await.unwrap();
        assert_eq!(store.statistics().get_requests, 1, "it is in memory");
        assert!(store.statistics().memory_hits > 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_file_is_not_found() {
        let (store, _, _) = filled(CacheOptions::default(), 1).await;
        let missing = Path::from("t/none");
        for error in [store.get_range(&missing, 0..9).await.unwrap_err(), store.get(&missing).await.unwrap_err()] {
            assert!(matches!(error, object_store::Error::NotFound { .. }), "{error:?}");
        }
        assert!(store.statistics().errors >= 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_stays_within_its_limit_and_disk_has_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let options =
            CacheOptions { memory_bytes: 4 << 20, disk_bytes: 128 << 20, directory: directory.path().to_owned() };
        let (store, path, content) = filled(options.clone(), 24 * BLOCK_BYTES as usize).await;
        let size = 24 * BLOCK_BYTES;
        assert_eq!(store.get_range(&path, 0..size).await.unwrap(), content);
        assert!(store.statistics().memory_bytes <= 4 << 20);
        // What goes to disk goes in the background.
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            assert_eq!(store.get_range(&path, 0..size).await.unwrap(), content);
            if store.statistics().disk_hits > 0 {
                return;
            }
        }
        panic!("nothing was read from the disk cache: {:?}", store.statistics());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_size_of_a_file_is_known_with_every_part_of_it() {
        let (store, path, content) = filled(CacheOptions::default(), 3 * BLOCK_BYTES as usize).await;
        for range in [GetRange::Bounded(5..10), GetRange::Suffix(100), GetRange::Bounded(5..10), GetRange::Suffix(100)]
        {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let result = store.get_opts(&path, options).await.unwrap();
            assert_eq!(result.meta.size, 3 * BLOCK_BYTES);
            let (start, end) = (result.range.start as usize, result.range.end as usize);
            assert_eq!(result.bytes().await.unwrap(), content[start..end]);
        }
        assert_eq!(store.statistics().get_requests, 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn small_files_are_kept_whole() {
        let (store, path, content) = filled(CacheOptions::default(), 1000).await;
        for _ in 0..3 {
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), content);
        }
        let statistics = store.statistics();
        assert_eq!((statistics.get_requests, statistics.misses, statistics.memory_hits), (1, 1, 2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_written_is_not_fetched() {
        let (store, path, content) = filled(CacheOptions::default(), BLOCK_BYTES as usize + 1000).await;
        let written = Path::from("t/data/b.parquet");
        store.put(&written, content.clone().into()).await.unwrap();
        assert_eq!(
            store.get_range(&written, 500..BLOCK_BYTES + 700).await.unwrap(),
            content[500..][..BLOCK_BYTES as usize + 200]
        );
        let suffix = GetOptions { range: Some(GetRange::Bounded(5..10)), ..GetOptions::default() };
        assert_eq!(store.get_opts(&written, suffix).await.unwrap().meta.size, content.len() as u64);
        let manifest = Path::from("t/metadata/m.avro");
        store.put(&manifest, content.clone().into()).await.unwrap();
        assert_eq!(store.get(&manifest).await.unwrap().bytes().await.unwrap(), content);
        assert_eq!(store.statistics().get_requests, 0);
        store.get_range(&path, 0..1).await.unwrap();
        assert_eq!(store.statistics().get_requests, 1, "others are");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_scan_of_more_than_there_is_room_for_finds_some_of_it_again() {
        let options = CacheOptions { memory_bytes: 16 << 20, ..CacheOptions::default() };
        let (store, path, _) = filled(options, 20 * BLOCK_BYTES as usize).await;
        for _ in 0..6 {
            for block in 0..20 {
                store.get_range(&path, block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES).await.unwrap();
            }
        }
        let statistics = store.statistics();
        assert!(statistics.memory_hits >= 20, "{statistics:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_read_ahead_is_there() {
        let (store, path, content) = filled(CacheOptions::default(), 8 * BLOCK_BYTES as usize).await;
        let range = 2 * BLOCK_BYTES + 5..4 * BLOCK_BYTES;
        store.read_ahead(&path, vec![range.clone()]);
        while store.statistics().misses < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let read = store.get_range(&path, range.clone()).await.unwrap();
        assert_eq!(read, content[range.start as usize..range.end as usize]);
        let statistics = store.statistics();
        assert_eq!((statistics.get_requests, statistics.get_bytes), (1, 2 * BLOCK_BYTES));
    }
}
