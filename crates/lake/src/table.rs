//! One state of one Iceberg table: everything a metadata file says, and what it leads to.
//!
//! A [`LakeTable`] never changes: a commit makes another one. The manifest list and the manifests behind it are loaded when they
//! are first needed and then kept, so a table that was scanned once is planned again without a request. Files come with
//! statistics for DataFusion; see `scan/statistics.rs` for what they promise.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::datasource::TableProvider;
use datafusion_datasource::PartitionedFile;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{DataContentType, DataFileFormat, ManifestEntryRef, ManifestFile, Schema, Summary, TableMetadata};
use object_store::ObjectMeta;
use tokio::sync::OnceCell;
use uuid::Uuid;
use wharf_catalog::Column;

use crate::cache::WeightedCache;
use crate::error::LakeError;
use crate::manifest::{self, Entries};
use crate::metadata::Metadata;
use crate::scan::{self, LakeProvider};
use crate::schema;
use crate::store::Store;

/// How many manifests are fetched at the same time.
const CONCURRENT_MANIFESTS: usize = 16;
/// About how much more memory a parsed manifest takes than its bytes.
const PARSED_FACTOR: usize = 6;

/// The parsed manifests of a warehouse, by location.
pub(crate) type ManifestCache = WeightedCache<Entries>;

/// One state of an Iceberg table.
pub struct LakeTable {
    store: Arc<Store>,
    manifest_cache: Arc<ManifestCache>,
    location: String,
    metadata: Metadata,
    columns: Vec<Column>,
    schema: SchemaRef,
    storage_schema: SchemaRef,
    manifests: OnceCell<Arc<Vec<ManifestFile>>>,
    files: OnceCell<Arc<FileSet>>,
}

/// The data files of a table.
pub(crate) struct FileSet {
    pub(crate) files: Vec<Arc<LakeFile>>,
    statistics: OnceLock<Arc<Statistics>>,
}

/// A data file.
pub(crate) struct LakeFile {
    /// What the manifest says.
    pub(crate) entry: ManifestEntryRef,
    /// What DataFusion may rely on, for the columns of the table.
    pub(crate) statistics: Arc<Statistics>,
    /// The file as units of scanning: one for each row group.
    pub(crate) parts: Vec<PartitionedFile>,
}

impl LakeTable {
    /// The table that a metadata file describes.
    pub(crate) fn new(
        store: Arc<Store>,
        manifest_cache: Arc<ManifestCache>,
        location: String,
        metadata: Metadata,
    ) -> Result<LakeTable, LakeError> {
        let current = metadata.table.current_schema();
        let columns = schema::columns(current, metadata.table.properties())?;
        let storage_schema = schema::storage_schema(current)?;
        Ok(LakeTable {
            store,
            manifest_cache,
            schema: schema::table_schema(&columns),
            columns,
            storage_schema,
            location,
            metadata,
            manifests: OnceCell::new(),
            files: OnceCell::new(),
        })
    }

    /// The location of the metadata file: the identity of this state of the table.
    pub fn metadata_location(&self) -> &str {
        &self.location
    }

    /// The identity of the table through all its states.
    pub fn id(&self) -> Uuid {
        self.metadata.table.uuid()
    }

    /// Where the files of the table are.
    pub fn location(&self) -> &str {
        self.metadata.table.location()
    }

    /// The snapshot whose rows these are; none when nothing was ever written.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.metadata.table.current_snapshot_id()
    }

    /// The columns, with everything the catalog knows about them.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What queries see: `wharf_values::field` of each column.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The highest field id the table ever had: a new column gets one above it.
    pub fn last_column_id(&self) -> i32 {
        self.metadata.table.last_column_id()
    }

    /// The table properties.
    pub fn properties(&self) -> &HashMap<String, String> {
        self.metadata.table.properties()
    }

    /// The number of rows, when the snapshot says it for certain.
    pub fn row_count(&self) -> Option<u64> {
        self.total("total-records")
    }

    /// The size of the data files in bytes, when the snapshot says it.
    pub fn size_bytes(&self) -> Option<u64> {
        self.total("total-files-size")
    }

    /// The number of data files, when the snapshot says it.
    pub fn file_count(&self) -> Option<u64> {
        self.total("total-data-files")
    }

    fn total(&self, name: &str) -> Option<u64> {
        let Some(snapshot) = self.metadata.table.current_snapshot() else {
            return Some(0);
        };
        let summary = snapshot.summary();
        if total(summary, "total-delete-files").is_some_and(|files| files > 0) {
            return None;
        }
        total(summary, name)
    }

    /// The table for DataFusion. Loads manifests that are not in memory yet.
    ///
    /// # Errors
    /// A manifest that is missing or damaged, row-level deletes, data files that are not Parquet.
    pub async fn provider(self: &Arc<Self>) -> Result<Arc<dyn TableProvider>, LakeError> {
        let files = self.files().await?;
        Ok(Arc::new(LakeProvider::new(Arc::clone(self), files)))
    }

    /// The table for a statement that rewrites some of its files: each row says which file it comes from, in the
    /// column [`FILE_NUMBER`](crate::FILE_NUMBER).
    ///
    /// # Errors
    /// As [`provider`](LakeTable::provider).
    pub async fn rewritable(self: &Arc<Self>) -> Result<LakeProvider, LakeError> {
        let files = self.files().await?;
        Ok(LakeProvider::new(Arc::clone(self), files).numbered())
    }

    pub(crate) fn metadata(&self) -> &TableMetadata {
        &self.metadata.table
    }

    pub(crate) fn has_other_refs(&self) -> bool {
        self.metadata.has_other_refs
    }

    /// An estimate of the memory this takes, without manifests and files.
    pub(crate) fn weight(&self) -> usize {
        4 * 1024 + 3 * self.metadata.size_bytes + 1024 * self.columns.len()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn storage_schema(&self) -> &SchemaRef {
        &self.storage_schema
    }

    pub(crate) fn iceberg_schema(&self) -> &Arc<Schema> {
        self.metadata.table.current_schema()
    }

    /// The manifests of the current snapshot.
    pub(crate) async fn manifests(&self) -> Result<&Arc<Vec<ManifestFile>>, LakeError> {
        self.manifests.get_or_try_init(|| self.load_manifests()).await
    }

    async fn load_manifests(&self) -> Result<Arc<Vec<ManifestFile>>, LakeError> {
        let Some(snapshot) = self.metadata.table.current_snapshot() else {
            return Ok(Arc::default());
        };
        let location = snapshot.manifest_list();
        let content = self.store.get(location).await?;
        let version = self.metadata.table.format_version();
        let manifests = manifest::parse_list(location, &content, version)?;
        // As with manifests, Avro does not notice a missing end. The totals of the snapshot do.
        let listed = manifests
            .iter()
            .filter(|file| !manifest::has_deletes(file))
            .map(|file| Some(file.added_files_count? + file.existing_files_count?))
            .sum::<Option<u32>>();
        let expected = total(snapshot.summary(), "total-data-files");
        if let (Some(listed), Some(expected)) = (listed, expected)
            && u64::from(listed) < expected
        {
            let reason = format!("it lists {listed} data files instead of {expected}");
            return Err(LakeError::corrupt(location, reason));
        }
        Ok(Arc::new(manifests))
    }

    /// The entries of one manifest, from memory if they are there.
    pub(crate) async fn entries(&self, file: &ManifestFile) -> Result<Entries, LakeError> {
        if let Some(entries) = self.manifest_cache.get(&file.manifest_path) {
            return Ok(entries);
        }
        let content = self.store.get(&file.manifest_path).await?;
        let entries = manifest::parse(file, &content)?;
        self.remember(file, &entries);
        Ok(entries)
    }

    /// Keeps the entries of a manifest in memory.
    pub(crate) fn remember(&self, file: &ManifestFile, entries: &Entries) {
        let size_bytes = usize::try_from(file.manifest_length).unwrap_or(0) * PARSED_FACTOR;
        self.manifest_cache.insert(&file.manifest_path, Arc::clone(entries), size_bytes);
    }

    /// The data files of the current snapshot.
    pub(crate) async fn files(&self) -> Result<Arc<FileSet>, LakeError> {
        self.files.get_or_try_init(|| self.load_files()).await.cloned()
    }

    async fn load_files(&self) -> Result<Arc<FileSet>, LakeError> {
        let manifests = self.manifests().await?;
        if manifests.iter().any(manifest::has_deletes) {
            return Err(LakeError::Unsupported(format!("table \"{}\" with row-level deletes", self.location)));
        }
        // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
        let mut live = Vec::with_capacity(manifests.len());
        for file in manifests.iter() {
            if manifest::is_live(file) {
                live.push(self.entries(file));
            }
        }
        let loaded: Vec<Entries> = futures::stream::iter(live).buffered(CONCURRENT_MANIFESTS).try_collect().await?;
        let alive = loaded.iter().flat_map(|entries| entries.iter()).filter(|entry| entry.is_alive());
        let files = alive.map(|entry| self.file(entry)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(FileSet::new(files)))
    }

    /// A data file as the scan wants it.
    pub(crate) fn file(&self, entry: &ManifestEntryRef) -> Result<Arc<LakeFile>, LakeError> {
        let file = &entry.data_file;
        if file.content_type() != DataContentType::Data || file.file_format() != DataFileFormat::Parquet {
            let what = format!("data file \"{}\" of format {}", file.file_path(), file.file_format());
            return Err(LakeError::Unsupported(what));
        }
        if file.key_metadata().is_some() {
            return Err(LakeError::Unsupported(format!("encrypted data file \"{}\"", file.file_path())));
        }
        let statistics = Arc::new(scan::file_statistics(file, self.iceberg_schema(), &self.schema));
        let meta = ObjectMeta {
            location: self.store.path(file.file_path())?,
            // Files never change, and caches compare this: it has to be the same for ever.
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.file_size_in_bytes(),
            e_tag: None,
            version: None,
        };
        let whole =
            PartitionedFile { statistics: Some(Arc::clone(&statistics)), ..PartitionedFile::new_from_meta(meta) };
        Ok(Arc::new(LakeFile {
            parts: parts(whole, file.split_offsets().unwrap_or_default()),
            entry: Arc::clone(entry),
            statistics,
        }))
    }

    /// Gives a table that was just committed what the committer knows about its snapshot.
    pub(crate) fn preload(&mut self, manifests: Vec<ManifestFile>, files: Option<FileSet>) {
        self.manifests = OnceCell::new_with(Some(Arc::new(manifests)));
        self.files = OnceCell::new_with(files.map(Arc::new));
    }

    /// The files if they are in memory.
    pub(crate) fn loaded_files(&self) -> Option<&Arc<FileSet>> {
        self.files.get()
    }
}

impl LakeFile {
    /// Where it is.
    pub(crate) fn location(&self) -> &str {
        self.entry.file_path()
    }
}

impl FileSet {
    pub(crate) fn new(files: Vec<Arc<LakeFile>>) -> FileSet {
        FileSet { files, statistics: OnceLock::new() }
    }

    /// The statistics of all files together.
    pub(crate) fn statistics(&self, schema: &SchemaRef) -> Arc<Statistics> {
        let merge = || Arc::new(scan::merged_statistics(&self.files, schema));
        Arc::clone(self.statistics.get_or_init(merge))
    }
}

/// A file as one unit of scanning per row group, so that whoever is idle takes the next one. The ranges cover the file without
/// gaps and a row group belongs to the range in which it begins, so even wrong offsets lose no row and repeat none.
fn parts(whole: PartitionedFile, offsets: &[i64]) -> Vec<PartitionedFile> {
    let size = i64::try_from(whole.object_meta.size).unwrap_or(i64::MAX);
    let inner = offsets.iter().copied().skip(1).filter(|offset| (1..size).contains(offset));
    let mut bounds: Vec<i64> = std::iter::once(0).chain(inner).chain([size]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    if bounds.len() <= 2 {
        return vec![whole];
    }
    let ranges = bounds.windows(2);
    ranges.map(|bounds| whole.clone().with_range(bounds[0], bounds[1])).collect()
}

/// A total in the summary of a snapshot.
pub(crate) fn total(summary: &Summary, name: &str) -> Option<u64> {
    summary.additional_properties.get(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ranges(offsets: &[i64]) -> Vec<(u64, u64)> {
        let parts = parts(PartitionedFile::new("a.parquet", 100), offsets);
        parts.iter().map(PartitionedFile::range).collect()
    }

    #[test]
    fn parts_cover_the_file_whatever_the_offsets_say() {
        assert_eq!(ranges(&[]), [(0, 100)]);
        assert_eq!(ranges(&[4]), [(0, 100)]);
        assert_eq!(ranges(&[4, 40, 70]), [(0, 40), (40, 70), (70, 100)]);
        assert_eq!(ranges(&[4, 70, 40, 40, -3, 100, 500]), [(0, 40), (40, 70), (70, 100)]);
    }
}
