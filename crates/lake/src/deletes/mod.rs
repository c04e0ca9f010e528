//! Row-level deletes: which rows of a data file do not count any more.
//!
//! Iceberg has three kinds (<https://iceberg.apache.org/spec/#row-level-deletes>): *position deletes*, Parquet files that name
//! data files and row positions in them; *deletion vectors* of format version 3, bitmaps of positions in a Puffin file, at most
//! one for a data file; and *equality deletes*, Parquet files with values: a row equal to one of theirs is gone. All of them
//! end up as the same thing here, a bitmap of positions in a data file ([`FileDeletes::deleted`]), which a scan turns into
//! a selection of rows. So deletes compose with everything that leaves out row groups and pages.
//!
//! What always holds:
//! - Which deletes apply to which data file is decided by the spec's rules on sequence numbers, partitions and paths
//!   ([`DeleteIndex`]), from manifests alone; the contents are read when the data file is, and kept in a cache of limited size.
//! - A deletion vector stands for all position deletes of its data file.
//! - Damaged deletes, and positions that the data file does not have, are errors: never rows that are wrong.
//!
//! `index` is the rules, `load` the contents of one delete file, `vector` and `puffin` the bytes of deletion vectors, `parquet` and
//! `equality` the other two kinds, `rows` rows to be deleted, `write` new delete files, `wire` deletes on their way to another node.

mod equality;
mod index;
mod load;
mod parquet;
mod puffin;
mod rows;
mod vector;
mod wire;
mod write;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::RowSelection;
use datafusion_datasource_parquet::ParquetRowSelection;
use iceberg::spec::DataFileFormat;
use roaring::RoaringTreemap;
use tokio::sync::Mutex;

use crate::cache::WeightedCache;
use crate::error::LakeError;
use crate::manifest::Entry;
use crate::store::Store;
use equality::Columns;
pub(crate) use equality::columns_of;
pub(crate) use index::{DeleteIndex, only_data_file};
pub use rows::{RemovedFiles, RowDeletes};
pub(crate) use wire::{WireDeletes, columns_from_row, columns_to_row};
pub(crate) use write::{NewDeletes, write};

/// What is kept in memory of delete files, by location.
pub(crate) type DeleteCache = WeightedCache<Cached>;

/// A value of the cache.
#[derive(Clone)]
pub(crate) enum Cached {
    /// The positions of a position delete file, by the path of the data file.
    ByFile(Arc<HashMap<String, RoaringTreemap>>),
    /// The positions of one data file.
    Rows(Arc<RoaringTreemap>),
}

/// A delete file, or a blob in one, as a manifest lists it.
#[derive(Debug)]
pub(crate) struct DeleteFile {
    pub(crate) entry: Entry,
    /// Held while it is read: readers that come at the same time wait for the first and then find it in the cache.
    loading: Mutex<()>,
}

/// Where deletes are read from.
pub(crate) struct DeleteStore {
    pub(crate) store: Arc<Store>,
    pub(crate) cache: Arc<DeleteCache>,
    /// The columns that equality deletes can speak of.
    pub(crate) columns: Columns,
}

/// The deletes that apply to one data file.
pub(crate) struct FileDeletes {
    pub(crate) shared: Arc<DeleteStore>,
    pub(crate) data: Entry,
    pub(crate) vector: Option<Arc<DeleteFile>>,
    /// Empty where there is a vector.
    pub(crate) positions: Vec<Arc<DeleteFile>>,
    pub(crate) equality: Vec<Arc<DeleteFile>>,
    loading: Mutex<()>,
}

impl std::fmt::Debug for FileDeletes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileDeletes").field("data", &self.data.file_path()).finish_non_exhaustive()
    }
}

impl DeleteFile {
    fn new(entry: Entry) -> DeleteFile {
        DeleteFile { entry, loading: Mutex::new(()) }
    }

    /// What tells it from all others: the location, and for a blob its place in the file.
    pub(crate) fn key(&self) -> DeleteKey {
        key(&self.entry)
    }
}

/// The identity of a delete file, or of a blob in one.
pub(crate) type DeleteKey = (String, Option<i64>);

/// The identity of a delete file.
pub(crate) fn key(entry: &Entry) -> DeleteKey {
    (entry.file_path().to_owned(), entry.content_offset())
}

/// Whether a manifest's entry is a deletion vector.
pub(crate) fn is_vector(entry: &Entry) -> bool {
    entry.file_format() == DataFileFormat::Puffin
}

impl FileDeletes {
    /// The positions of the rows that are deleted.
    ///
    /// # Errors
    /// A delete file that is missing or damaged, or of a kind that is not read; it is named.
    pub(crate) async fn deleted(&self) -> Result<Arc<RoaringTreemap>, LakeError> {
        let name = self.cache_key();
        if let Some(Cached::Rows(rows)) = self.shared.cache.get(&name) {
            return Ok(rows);
        }
        let _alone = self.loading.lock().await;
        if let Some(Cached::Rows(rows)) = self.shared.cache.get(&name) {
            return Ok(rows);
        }
        let rows = Arc::new(self.load().await?);
        self.remember(&rows);
        Ok(rows)
    }

    /// Keeps the positions in memory.
    pub(crate) fn remember(&self, rows: &Arc<RoaringTreemap>) {
        let size_bytes = size_bytes(rows);
        self.shared.cache.insert(&self.cache_key(), Cached::Rows(Arc::clone(rows)), size_bytes);
    }

    async fn load(&self) -> Result<RoaringTreemap, LakeError> {
        let mut rows = RoaringTreemap::new();
        if let Some(vector) = &self.vector {
            rows |= self.shared.vector(vector).await?;
        }
        for file in &self.positions {
            let by_file = self.shared.positions(file).await?;
            if let Some(positions) = by_file.get(&self.shared.path(self.data.file_path())) {
                self.check(positions, file)?;
                rows |= positions;
            }
        }
        if let Some(vector) = &self.vector {
            self.check(&rows, vector)?;
        }
        if !self.equality.is_empty() {
            rows |= self.shared.equal_rows(&self.data, &self.equality).await?;
        }
        Ok(rows)
    }

    /// A position that the data file does not have is damage.
    fn check(&self, positions: &RoaringTreemap, file: &DeleteFile) -> Result<(), LakeError> {
        let rows = self.data.record_count();
        match positions.max() {
            Some(highest) if highest >= rows => {
                let data = self.data.file_path();
                let reason = format!("it deletes row {highest} of \"{data}\", which has {rows} rows");
                Err(LakeError::corrupt(file.entry.file_path(), reason))
            }
            _ => Ok(()),
        }
    }

    /// The rows that are left, as the Parquet scan wants them.
    pub(crate) async fn selection(&self) -> Result<ParquetRowSelection, LakeError> {
        let deleted = self.deleted().await?;
        let rows = usize::try_from(self.data.record_count()).unwrap_or(usize::MAX);
        let selection = RowSelection::from_consecutive_ranges(left(&deleted, rows).into_iter(), rows);
        Ok(ParquetRowSelection::new(selection))
    }

    /// The same once a new delete file, which has all that is deleted by position, has taken the place of those that speak of
    /// this data file alone.
    pub(crate) fn replaced_by(
        before: Option<&FileDeletes>,
        shared: &Arc<DeleteStore>,
        data: &Entry,
        new: &Entry,
    ) -> FileDeletes {
        let new_file = Arc::new(DeleteFile::new(new.clone()));
        let (mut positions, mut vector) = (Vec::new(), None);
        if is_vector(new) {
            vector = Some(new_file);
        } else {
            let others = before.iter().flat_map(|before| &before.positions);
            positions.extend(others.filter(|file| only_data_file(&file.entry).is_none()).cloned());
            positions.push(new_file);
        }
        FileDeletes {
            shared: Arc::clone(shared),
            data: data.clone(),
            vector,
            positions,
            equality: before.map_or_else(Vec::new, |before| before.equality.clone()),
            loading: Mutex::new(()),
        }
    }

    /// The delete files that speak of this data file alone.
    pub(crate) fn own(&self) -> impl Iterator<Item = DeleteKey> + '_ {
        let positions = self.positions.iter().filter(|file| only_data_file(&file.entry).is_some());
        self.vector.iter().chain(positions).map(|file| file.key())
    }

    /// How many rows are left at least, as far as manifests tell.
    pub(crate) fn rows_left_at_least(&self) -> u64 {
        let rows = self.data.record_count();
        match &self.vector {
            Some(vector) if self.equality.is_empty() => rows.saturating_sub(vector.entry.record_count()),
            _ => 0,
        }
    }

    /// A name in the cache: data files and delete files never change, so their names say what the rows are.
    fn cache_key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        let all = self.vector.iter().chain(&self.positions).chain(&self.equality);
        let mut count = 0;
        for file in all {
            file.key().hash(&mut hasher);
            count += 1;
        }
        // The last names in full make a collision of the hash alone harmless in practice.
        let last = self.vector.iter().chain(&self.positions).chain(&self.equality).next_back();
        let last = last.map_or_else(String::new, |file| format!("{:?}", file.key()));
        format!("{}\0{count}\0{:016x}\0{last}", self.data.file_path(), hasher.finish())
    }
}

/// The ranges of rows that are not deleted, of this many.
fn left(deleted: &RoaringTreemap, rows: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut next = 0;
    for position in deleted.iter() {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if position > next {
            ranges.push(next..position);
        }
        next = position + 1;
    }
    if next < rows {
        ranges.push(next..rows);
    }
    ranges
}

/// About how much memory positions take.
fn size_bytes(rows: &RoaringTreemap) -> usize {
    rows.serialized_size() + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_between_what_is_deleted() {
        let deleted = |positions: &[u64]| positions.iter().copied().collect::<RoaringTreemap>();
        assert_eq!(left(&deleted(&[]), 3), std::slice::from_ref(&(0..3)));
        assert_eq!(left(&deleted(&[0, 2, 3]), 6), [1..2, 4..6]);
        assert_eq!(left(&deleted(&[1, 5]), 6), [0..1, 2..5]);
        assert!(left(&deleted(&[0, 1]), 2).is_empty());
        assert!(left(&deleted(&[]), 0).is_empty());
    }
}
