//! Reading data files whose bytes are what was written.
//!
//! What is asked for is read in whole blocks, each block is compared with its checksum, and only what was asked for is handed on.
//! The checksums of a file come with the first bytes that are read of it, which are those of its end, and are kept as long as there
//! is room. A file without checksums, from another engine, is handed on as it is.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::FileSums;
use super::remembered::RememberedRanges;
use crate::cache::WeightedCache;

/// The memory for checksums: those of about 200 GB of data files.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// How much of the end of a file is read to find its checksums, when something else was asked for first.
const END_BYTES: u64 = 64 * 1024;
/// The end of a Parquet file, behind the length of the footer.
const MAGIC: &[u8] = b"PAR1";

/// An object store whose ranges of data files are verified. Everything else goes through.
pub(crate) struct VerifiedFiles {
    inner: Arc<dyn ObjectStore>,
    known: WeightedCache<Arc<Known>>,
    /// What was read before, where nothing before this store remembers it.
    remembered: Option<RememberedRanges>,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    size_bytes: u64,
    sums: Option<FileSums>,
}

impl VerifiedFiles {
    /// A store before which another one, if any, remembers what was read.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> VerifiedFiles {
        VerifiedFiles { inner, known: WeightedCache::new(CACHE_BYTES), remembered: None }
    }

    /// A store that remembers so many bytes of what was read; 0: nothing.
    pub(crate) fn remembering(inner: Arc<dyn ObjectStore>, bytes: usize) -> VerifiedFiles {
        let remembered = (bytes > 0).then(|| RememberedRanges::new(bytes));
        VerifiedFiles { remembered, ..VerifiedFiles::new(inner) }
    }

    /// Ranges of a file, verified, now or when they were read before.
    async fn read(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // How large the file is must be known, too.
        let Some(remembered) = self.remembered.as_ref().filter(|_| self.known.get(path.as_ref()).is_some()) else {
            return self.read_verified(path, ranges).await;
        };
        let mut found: Vec<Option<Bytes>> = ranges.iter().map(|range| remembered.get(path, range)).collect();
        let wanted = found.iter().zip(ranges).filter(|(found, _)| found.is_none()).map(|(_, range)| range.clone());
        let wanted: Vec<Range<u64>> = wanted.collect();
        if !wanted.is_empty() {
            let read = self.read_verified(path, &wanted).await?;
            let missing = found.iter_mut().filter(|found| found.is_none());
            for ((place, range), bytes) in missing.zip(&wanted).zip(read) {
                remembered.keep(path, range, &bytes);
                *place = Some(bytes);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Ranges of a file, read from the store and verified.
    async fn read_verified(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let known = match (self.known.get(path.as_ref()), ranges) {
            (Some(known), _) => known,
            (None, [range]) => {
                // Very likely this is the end of the file, which has the checksums.
                let (size_bytes, bytes) = self.fetch(path, GetRange::Bounded(range.clone())).await?;
                if range.end < size_bytes {
                    self.learn(path).await?
                } else {
                    let known = self.learn_from(path, size_bytes, &bytes).await?;
                    if known.sums.as_ref().is_none_or(|sums| sums.data_bytes <= range.start) {
                        return Ok(vec![bytes]);
                    }
                    known
                }
            }
            (None, _) => self.learn(path).await?,
        };
        let Some(sums) = &known.sums else {
            return self.inner.get_ranges(path, ranges).await;
        };
        let whole: Vec<_> = ranges.iter().map(|range| sums.blocks_around(range, known.size_bytes)).collect();
        let merged = merged(&whole);
        let bytes = self.inner.get_ranges(path, &merged).await?;
        for (range, bytes) in merged.iter().zip(&bytes) {
            sums.verify(range, bytes).map_err(|place| damaged(path, &place))?;
        }
        let slice = |wanted: &Range<u64>| {
            let index = merged.partition_point(|range| range.start <= wanted.start).checked_sub(1)?;
            let (range, bytes) = (&merged[index], &bytes[index]);
            let start = usize::try_from(wanted.start - range.start).ok()?;
            let end = usize::try_from(wanted.end.min(known.size_bytes) - range.start).ok()?;
            (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        ranges.iter().map(|range| slice(range).ok_or_else(|| damaged(path, range))).collect()
    }

    /// Reads the checksums of a file.
    async fn learn(&self, path: &Path) -> Result<Arc<Known>> {
        let (size_bytes, bytes) = self.fetch(path, GetRange::Suffix(END_BYTES)).await?;
        self.learn_from(path, size_bytes, &bytes).await
    }

    /// Takes the checksums of a file from its last bytes, of which more are read when they do not suffice.
    async fn learn_from(&self, path: &Path, size_bytes: u64, end: &Bytes) -> Result<Arc<Known>> {
        let mut end = end.clone();
        let footer = footer_bytes(&end).map(|bytes| bytes.min(size_bytes));
        if footer.is_some_and(|footer| (end.len() as u64) < footer) {
            (_, end) = self.fetch(path, GetRange::Suffix(footer.unwrap_or_default())).await?;
        }
        let invalid = |reason: String| Error::Generic { store: "checksums", source: reason.into() };
        let sums = match footer {
            Some(_) => FileSums::find(&end).map_err(invalid)?,
            None => None,
        };
        if let Some(sums) = &sums {
            let tail_bytes = size_bytes.checked_sub(sums.data_bytes);
            let tail_bytes = tail_bytes.ok_or_else(|| invalid("the file is too short for its checksums".to_owned()))?;
            if (end.len() as u64) < tail_bytes {
                (_, end) = self.fetch(path, GetRange::Suffix(tail_bytes)).await?;
            }
            let begin = usize::try_from(end.len() as u64 - tail_bytes).map_err(|error| invalid(error.to_string()))?;
            if !sums.is_tail(&end[begin..]) {
                return Err(damaged(path, &(sums.data_bytes..size_bytes)));
            }
        }
        let weight = sums.as_ref().map_or(64, FileSums::weight) + 2 * path.as_ref().len();
        let known = Arc::new(Known { size_bytes, sums });
        self.known.insert(path.as_ref(), Arc::clone(&known), weight);
        Ok(known)
    }

    /// Bytes of a file as they are, and the size of the file.
    async fn fetch(&self, path: &Path, range: GetRange) -> Result<(u64, Bytes)> {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let result = self.inner.get_opts(path, options).await?;
        let size_bytes = result.meta.size;
        Ok((size_bytes, result.bytes().await?))
    }
}

impl FileSums {
    /// What has to be read to verify a range: whole blocks, and the whole tail.
    fn blocks_around(&self, range: &Range<u64>, size_bytes: u64) -> Range<u64> {
        let start = match range.start < self.data_bytes {
            true => range.start / self.block_bytes * self.block_bytes,
            false => self.data_bytes,
        };
        let end = match range.end <= self.data_bytes {
            true => (range.end.div_ceil(self.block_bytes) * self.block_bytes).min(self.data_bytes),
            false => size_bytes,
        };
        start..end.max(start)
    }

    /// Verifies whole blocks; gives the place that is damaged.
    fn verify(&self, range: &Range<u64>, bytes: &[u8]) -> std::result::Result<(), Range<u64>> {
        let data_bytes = self.data_bytes.saturating_sub(range.start).min(bytes.len() as u64);
        // Below the length of a slice.
        let (data, tail) = bytes.split_at(data_bytes as usize);
        let first = range.start / self.block_bytes;
        for (index, block) in (first..).zip(data.chunks(self.block_bytes as usize)) {
            let expected = usize::try_from(index).ok().and_then(|index| self.blocks.get(index));
            if expected != Some(&crc32fast::hash(block)) {
                let start = index * self.block_bytes;
                return Err(start..start + block.len() as u64);
            }
        }
        match tail.is_empty() || self.is_tail(tail) {
            true => Ok(()),
            false => Err(self.data_bytes..range.end),
        }
    }
}

/// How many bytes the footer takes at the end of a file; none when this is no end of a Parquet file, which the reader finds, too.
fn footer_bytes(end: &[u8]) -> Option<u64> {
    let length = end.strip_suffix(MAGIC)?.last_chunk()?;
    Some(u64::from(u32::from_le_bytes(*length)) + (length.len() + MAGIC.len()) as u64)
}

/// Ranges in order, those that touch put together.
fn merged(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn damaged(path: &Path, place: &Range<u64>) -> Error {
    let reason = format!("bytes {} to {} of {path} are not those that were written", place.start, place.end);
    Error::Generic { store: "checksums", source: reason.into() }
}

impl fmt::Debug for VerifiedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedFiles").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for VerifiedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for VerifiedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(GetRange::Bounded(range)) = &options.range else {
            return self.inner.get_opts(location, options).await;
        };
        let range = range.clone();
        let mut bytes = self.read(location, std::slice::from_ref(&range)).await?;
        let bytes = bytes.pop().unwrap_or_default();
        let size = self.known.get(location.as_ref()).map_or(range.end, |known| known.size_bytes);
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size,
            e_tag: None,
            version: None,
        };
        let range = range.start..range.start + bytes.len() as u64;
        let payload = GetResultPayload::Stream(futures::future::ready(Ok(bytes)).into_stream().boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(merged(&[10..20, 0..5, 20..30, 4..6]), [0..6, 10..30]);
        assert_eq!(merged(&[]), []);
    }

    #[test]
    fn a_range_is_read_in_whole_blocks() {
        let sums = FileSums { tail: 0, data_bytes: 250, block_bytes: 100, blocks: vec![0; 3] };
        let around = |range: Range<u64>| sums.blocks_around(&range, 300);
        assert_eq!(around(0..1), 0..100);
        assert_eq!(around(99..101), 0..200);
        assert_eq!(around(200..250), 200..250);
        assert_eq!(around(240..260), 200..300);
        assert_eq!(around(270..280), 250..300);
    }

    #[tokio::test]
    async fn what_was_read_is_remembered_where_that_is_asked_for() {
        let inner: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let path = Path::from("t/data/a.csv");
        let put =
            async |content: &'static str| inner.put_opts(&path, content.into(), PutOptions::default()).await.unwrap();
        put("what was written first").await;
        let remembering = VerifiedFiles::remembering(Arc::clone(&inner), 1 << 20);
        let plain = VerifiedFiles::new(Arc::clone(&inner));
        let ranges = [0..4, 9..16];
        // The first time, nothing is known of the file.
        for _ in 0..2 {
            assert_eq!(remembering.get_ranges(&path, &ranges).await.unwrap(), ["what", "written"]);
            assert_eq!(plain.get_ranges(&path, &ranges).await.unwrap(), ["what", "written"]);
        }
        // Nobody changes a file of a warehouse; it shows where the bytes come from.
        put("what was changed later").await;
        assert_eq!(remembering.get_ranges(&path, &[9..16, 17..22]).await.unwrap(), ["written", "later"]);
        assert_eq!(plain.get_ranges(&path, &ranges).await.unwrap(), ["what", "changed"]);
    }
}
