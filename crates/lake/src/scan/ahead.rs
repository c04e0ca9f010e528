//! Reading ahead: while the rows of one part of a scan are computed with, the bytes of the next come into the cache.
//!
//! Whichever partition of a scan is idle takes the next part from one queue, and asks for its bytes then; from a remote store they come
//! late each time. What always holds: each part that is read asks for one more at most, the one that is taken next; of it only the
//! columns that the first is read for, or the footer where it is another file; and only as long as no more than a few such reads are
//! under way over all queries. A scan whose parts are not taken from one queue does not read ahead.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource_parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::store::CachedStore;

/// Of scans with more parts it is not known which comes next.
pub(super) const KNOWN_PARTS: usize = 16 * 1024;

/// A part of a scan: a file, and where in it the part begins.
type Part = (Path, u64);

/// What is read ahead.
#[derive(Clone, Debug)]
struct Next {
    path: Path,
    range: (u64, u64),
    file_bytes: u64,
}

/// The order in which the parts of a scan are taken.
#[derive(Debug)]
pub(super) struct ReadAhead {
    cached: Arc<CachedStore>,
    /// What is taken after a part.
    next: Mutex<HashMap<Part, Next>>,
}

impl ReadAhead {
    pub(super) fn new(cached: &Arc<CachedStore>) -> ReadAhead {
        ReadAhead { cached: Arc::clone(cached), next: Mutex::default() }
    }

    /// Learns the order.
    pub(super) fn queue(&self, parts: &[PartitionedFile]) {
        let known = if parts.len() <= KNOWN_PARTS { parts } else { &[] };
        let next = known.windows(2).map(|pair| {
            let (path, file_bytes) = (pair[1].path().clone(), pair[1].object_meta.size);
            (part_of(&pair[0]), Next { path, range: pair[1].range(), file_bytes })
        });
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next.collect();
    }

    /// Reads ahead of a part for which these ranges are read.
    fn begun(&self, part: &Part, metadata: &ParquetMetaData, footer_bytes: usize, ranges: &[Range<u64>]) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).get(part).cloned();
        let Some(next) = next else { return };
        let wanted = if next.path == part.0 {
            same_columns(metadata, part.1, next.range, ranges)
        } else {
            let footer = next.file_bytes.saturating_sub(footer_bytes as u64)..next.file_bytes;
            vec![footer]
        };
        self.cached.read_ahead(&next.path, wanted);
    }
}

fn part_of(file: &PartitionedFile) -> Part {
    (file.path().clone(), file.range().0)
}

/// In the row groups that begin in a range, the columns for which ranges of another row group are read.
fn same_columns(metadata: &ParquetMetaData, begun: u64, next: (u64, u64), ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let groups = metadata.row_groups();
    let begin = |group: usize| groups[group].columns().first().and_then(chunk).map(|chunk| chunk.start);
    let current = (0..groups.len()).find(|group| begin(*group).is_some_and(|start| start >= begun));
    let Some(current) = current else { return Vec::new() };
    // Of a column of which little is read, it is not known which little of the next one will be.
    let is_read = |column: &ColumnChunkMetaData| {
        let Some(chunk) = chunk(column) else { return false };
        let read = ranges.iter().map(|range| range.end.min(chunk.end).saturating_sub(range.start.max(chunk.start)));
        2 * read.sum::<u64>() > chunk.end - chunk.start
    };
    let read: Vec<bool> = groups[current].columns().iter().map(is_read).collect();
    let following = (0..groups.len()).filter(|group| begin(*group).is_some_and(|at| (next.0..next.1).contains(&at)));
    following
        .flat_map(|group| groups[group].columns().iter().zip(&read))
        .filter_map(|(column, read)| chunk(column).filter(|_| *read))
        .collect()
}

/// Where a column chunk is; none where the footer makes no sense, which its reader will say.
fn chunk(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).ok()?;
    Some(start..start.checked_add(u64::try_from(column.compressed_size()).ok()?)?)
}

/// Makes readers that read ahead.
pub(super) struct AheadReaders {
    pub(super) inner: CachedParquetFileReaderFactory,
    pub(super) ahead: Arc<ReadAhead>,
}

impl fmt::Debug for AheadReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AheadReaders").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for AheadReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let part = part_of(&file);
        let inner = self.inner.create_reader(partition, file, footer_bytes, metrics)?;
        let footer_bytes = footer_bytes.unwrap_or_default();
        Ok(Box::new(Reader { inner, ahead: Arc::clone(&self.ahead), part: Some(part), footer_bytes, metadata: None }))
    }
}

/// Reads a part, and ahead with the first that is read of its rows.
struct Reader {
    inner: Box<dyn AsyncFileReader + Send>,
    ahead: Arc<ReadAhead>,
    /// The part, until it has begun.
    part: Option<Part>,
    footer_bytes: usize,
    metadata: Option<Arc<ParquetMetaData>>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        if let Some(metadata) = &self.metadata
            && let Some(part) = self.part.take()
        {
            self.ahead.begun(&part, metadata, self.footer_bytes, &ranges);
        }
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let metadata = self.inner.get_metadata(options).await?;
            self.metadata = Some(Arc::clone(&metadata));
            Ok(metadata)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::ParquetMetaDataReader;
    use parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn the_same_columns_of_the_next_part_are_wanted() {
        let columns: [(&str, ArrayRef); 3] =
            ["a", "b", "c"].map(|name| (name, Arc::new(Int64Array::from_iter_values(0..3000)) as ArrayRef));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
        let chunk_of = |group: usize, column: usize| chunk(metadata.row_group(group).column(column)).unwrap();
        let begin = |group: usize| chunk_of(group, 0).start;
        let little = chunk_of(1, 0).start..chunk_of(1, 0).start + 10;
        let read = [little, chunk_of(1, 1), chunk_of(1, 2)];
        let next = (begin(2), file.len() as u64);
        assert_eq!(same_columns(&metadata, begin(1), next, &read), [chunk_of(2, 1), chunk_of(2, 2)]);
        // The first part of a file begins with the file, before its first row group.
        assert_eq!(same_columns(&metadata, 0, (begin(1), begin(2)), &[chunk_of(0, 0)]), [chunk_of(1, 0)]);
        assert_eq!(same_columns(&metadata, file.len() as u64, next, &read), []);
    }
}
