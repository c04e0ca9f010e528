//! One state of one Iceberg table: everything a metadata file says, and what it leads to.
//!
//! A [`LakeTable`] never changes: a commit makes another one. The manifest list and the manifests behind it are loaded when they
//! are first needed and then kept (`listing`), so a table that was scanned once is planned again without a request. Files
//! come with statistics for DataFusion; see `scan/statistics.rs` for what they promise.

mod listing;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::datasource::TableProvider;
use iceberg::spec::{ManifestFile, Schema, SnapshotRef, StructType, Summary, TableMetadata};
use roaring::RoaringTreemap;
use tokio::sync::OnceCell;
use uuid::Uuid;
use wharf_catalog::Column;

use crate::cache::WeightedCache;
use crate::defaults;
use crate::deletes::{self, DeleteCache, DeleteStore, FileDeletes};
use crate::error::LakeError;
use crate::files::{FileContext, FileSet, LakeFile};
use crate::fit;
use crate::manifest::{self, Entries, Entry};
use crate::metadata::{self, Metadata, Refs};
use crate::partition;
use crate::scan::{LakeProvider, QueriedTable};
use crate::schema;
use crate::store::Store;
use crate::travel::Position;
use listing::Listing;
pub(crate) use listing::listed_files;

/// How many manifests are fetched at the same time.
const CONCURRENT_MANIFESTS: usize = 16;
/// Larger manifests are parsed aside, several at the same time; smaller ones are not worth it.
const PARSED_HERE_BYTES: usize = 32 * 1024;

/// In the summary of a snapshot that has the rows of another under other columns: the id of that.
pub(crate) const ROWS_OF: &str = "wharf.rows-of";

/// The parsed manifests of a warehouse, by location.
pub(crate) type ManifestCache = WeightedCache<Entries>;

/// What the tables of a warehouse remember together.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) manifests: Arc<ManifestCache>,
    pub(crate) deletes: Arc<DeleteCache>,
}

/// One state of an Iceberg table.
pub struct LakeTable {
    store: Arc<Store>,
    caches: Caches,
    location: String,
    metadata: Arc<Metadata>,
    position: Position,
    iceberg_schema: Arc<Schema>,
    columns: Vec<Column>,
    schema: SchemaRef,
    storage_schema: SchemaRef,
    /// Why its rows can neither be read nor written.
    unreadable: Option<String>,
    /// The field ids of columns that its rows have no values for.
    absent: Vec<i32>,
    manifests: OnceCell<Arc<Vec<ManifestFile>>>,
    listing: Listing,
    file_context: Arc<FileContext>,
    /// Held by every scan.
    reading: Arc<()>,
}

impl LakeTable {
    /// The table that a metadata file describes.
    pub(crate) fn new(
        store: Arc<Store>,
        caches: Caches,
        location: String,
        metadata: Metadata,
    ) -> Result<LakeTable, LakeError> {
        let position = Position::head(&metadata.table);
        LakeTable::positioned(store, caches, location, Arc::new(metadata), position)
    }

    /// Another state that the same metadata file knows.
    pub(crate) fn at(&self, position: Position) -> Result<LakeTable, LakeError> {
        let (store, caches) = (Arc::clone(&self.store), self.caches.clone());
        LakeTable::positioned(store, caches, self.location.clone(), Arc::clone(&self.metadata), position)
    }

    fn positioned(
        store: Arc<Store>,
        caches: Caches,
        location: String,
        metadata: Arc<Metadata>,
        position: Position,
    ) -> Result<LakeTable, LakeError> {
        let iceberg_schema = metadata.table.schema_by_id(position.schema_id).cloned();
        let iceberg_schema = iceberg_schema
            .ok_or_else(|| LakeError::corrupt(&location, format!("schema {} is missing", position.schema_id)))?;
        let columns = schema::columns(&iceberg_schema, metadata.table.properties())?;
        let unreadable = schema::unreadable(&iceberg_schema);
        let storage_schema = match &unreadable {
            Some(_) => Arc::new(arrow::datatypes::Schema::empty()),
            None => schema::storage_schema(&iceberg_schema)?,
        };
        let snapshot = position.snapshot_id.and_then(|id| metadata.table.snapshot_by_id(id));
        let unproven = snapshot.map(|snapshot| fit::columns(&metadata.table, &iceberg_schema, snapshot));
        let unproven = unproven.unwrap_or_default();
        let schema = schema::table_schema(&columns, &unproven);
        let file_context = FileContext {
            store: Arc::clone(&store),
            location: metadata.table.location().to_owned(),
            iceberg_schema: Arc::clone(&iceberg_schema),
            schema: Arc::clone(&schema),
        };
        Ok(LakeTable {
            store,
            caches,
            schema,
            columns,
            storage_schema,
            iceberg_schema,
            unreadable,
            absent: unproven.absent,
            location,
            metadata,
            position,
            manifests: OnceCell::new(),
            listing: Listing::default(),
            file_context: Arc::new(file_context),
            reading: Arc::default(),
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
        self.position.snapshot_id
    }

    pub(crate) fn snapshot(&self) -> Option<&SnapshotRef> {
        self.metadata.table.snapshot_by_id(self.position.snapshot_id?)
    }

    /// The branch whose head this is, which a commit over it moves; none for an old version.
    pub fn branch(&self) -> Option<&str> {
        self.position.branch.as_deref()
    }

    /// Which of the states that the metadata knows this is.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The columns, with everything the catalog knows about them.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What queries see: `wharf_values::field` of each column. One that must not be NULL is nullable here as long as nothing but a
    /// constraint younger than the snapshot says that it is not: a query would leave out `IS NULL` for it.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What columns are in the rows of files that lack them, where that is not NULL.
    pub(crate) fn initial_values(&self) -> HashMap<String, ScalarValue> {
        defaults::initial(self.iceberg_schema(), &self.schema, self.properties())
    }

    /// The field ids of columns that the rows have no values for.
    pub(crate) fn absent(&self) -> &[i32] {
        &self.absent
    }

    /// Has it a snapshot, whichever? Its rows can become the current ones again.
    pub fn has_snapshots(&self) -> bool {
        self.metadata.table.snapshots().len() > 0
    }

    /// The highest field id the table ever had: a new column gets one above it.
    pub fn last_column_id(&self) -> i32 {
        self.metadata.table.last_column_id()
    }

    /// The table properties.
    pub fn properties(&self) -> &HashMap<String, String> {
        self.metadata.table.properties()
    }

    /// Whether rows are written in an order.
    pub fn has_order(&self) -> bool {
        !self.metadata.table.default_sort_order().is_unsorted()
    }

    /// The metadata as the format's JSON. With `only_referenced`, without snapshots that no branch or tag names.
    ///
    /// # Errors
    /// Metadata that cannot be written as JSON: a bug.
    pub fn metadata_json(&self, only_referenced: bool) -> Result<serde_json::Value, LakeError> {
        let mut json =
            serde_json::to_value(&self.metadata.table).map_err(|error| LakeError::metadata(&self.location, error))?;
        if only_referenced {
            metadata::keep_referenced_snapshots(&mut json);
        }
        Ok(json)
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

    /// Might a branch, `main` or another, have rows?
    pub(crate) fn may_have_rows(&self) -> bool {
        let rows = |id: i64| Some(total(self.metadata.table.snapshot_by_id(id)?.summary(), "total-records"));
        let branches = self.refs().values().filter(|found| found.is_branch());
        branches.filter_map(|branch| rows(branch.snapshot_id)).any(|rows| rows != Some(0))
    }

    fn total(&self, name: &str) -> Option<u64> {
        let Some(snapshot) = self.snapshot() else {
            return Some(0);
        };
        let summary = snapshot.summary();
        if total(summary, "total-delete-files").is_some_and(|files| files > 0) {
            return None;
        }
        total(summary, name)
    }

    /// The table for DataFusion. Loads the manifest list if it is not in memory yet; a scan loads those manifests that may list
    /// files it has to read, and fails when one is missing or damaged.
    ///
    /// # Errors
    /// A manifest list that is missing or damaged, columns that SQL has no type for.
    pub async fn provider(self: &Arc<Self>) -> Result<Arc<dyn TableProvider>, LakeError> {
        self.check_readable()?;
        self.manifests().await?;
        Ok(Arc::new(QueriedTable::new(Arc::clone(self))))
    }

    /// The table for a statement that rewrites some of its files: each row says which file it comes from, in the
    /// column [`FILE_NUMBER`](crate::FILE_NUMBER).
    ///
    /// # Errors
    /// A manifest that is missing or damaged, files that are not Parquet.
    pub async fn rewritable(self: &Arc<Self>) -> Result<LakeProvider, LakeError> {
        let files = self.files().await?;
        Ok(LakeProvider::new(Arc::clone(self), files).numbered())
    }

    /// The table for a statement that deletes rows by position: each row says which file it comes from and where in it,
    /// in the columns [`FILE_NUMBER`](crate::FILE_NUMBER) and [`POSITION`](crate::POSITION).
    ///
    /// # Errors
    /// As [`rewritable`](LakeTable::rewritable).
    pub async fn addressable(self: &Arc<Self>) -> Result<LakeProvider, LakeError> {
        let files = self.files().await?;
        Ok(LakeProvider::new(Arc::clone(self), files).numbered().positioned())
    }

    /// What a scan of this state holds, so that nobody removes its files meanwhile.
    pub(crate) fn reading(&self) -> Arc<()> {
        Arc::clone(&self.reading)
    }

    /// Whether a scan of this state goes on.
    pub(crate) fn is_read(&self) -> bool {
        Arc::strong_count(&self.reading) > 1
    }

    pub(crate) fn metadata(&self) -> &TableMetadata {
        &self.metadata.table
    }

    /// Refuses tables with columns that SQL has no type for.
    pub(crate) fn check_readable(&self) -> Result<(), LakeError> {
        match &self.unreadable {
            Some(what) => Err(LakeError::Unsupported(what.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn refs(&self) -> &Refs {
        &self.metadata.refs
    }

    /// An estimate of the memory this takes, without manifests and files.
    pub(crate) fn weight(&self) -> usize {
        3 * self.metadata.size_bytes + self.own_weight()
    }

    /// The same without the metadata, which states of one file share.
    pub(crate) fn own_weight(&self) -> usize {
        4 * 1024 + 1024 * self.columns.len()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn storage_schema(&self) -> &SchemaRef {
        &self.storage_schema
    }

    pub(crate) fn iceberg_schema(&self) -> &Arc<Schema> {
        &self.iceberg_schema
    }

    /// The manifests of the current snapshot.
    pub(crate) async fn manifests(&self) -> Result<&Arc<Vec<ManifestFile>>, LakeError> {
        self.manifests.get_or_try_init(|| self.load_manifests()).await
    }

    async fn load_manifests(&self) -> Result<Arc<Vec<ManifestFile>>, LakeError> {
        let Some(snapshot) = self.snapshot() else {
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

    /// The entries of one manifest, from memory if they are there, at the types that the table's columns have.
    pub(crate) async fn entries(&self, file: &ManifestFile) -> Result<Entries, LakeError> {
        let entries = self.written_entries(file).await?;
        if !entries.are_of_other_schema(&self.iceberg_schema) {
            return Ok(entries);
        }
        Ok(match self.partitioning(file.partition_spec_id) {
            Ok((schema, partition)) => entries.promoted(&schema, &partition),
            // Without its spec nobody can write such entries, but they can be read.
            Err(_) => entries,
        })
    }

    /// The type of the partitions of a spec, of which the current schema may have no column any more.
    ///
    /// # Errors
    /// A spec that the metadata does not have.
    pub(crate) fn partition_type(&self, spec_id: i32) -> Result<StructType, LakeError> {
        self.partitioning(spec_id).map(|(_, partition)| partition)
    }

    /// The same with the schema that it is of.
    fn partitioning(&self, spec_id: i32) -> Result<(Arc<Schema>, StructType), LakeError> {
        let corrupt = |reason: String| LakeError::corrupt(&self.location, reason);
        let spec = self.metadata.table.partition_spec_by_id(spec_id);
        let spec = spec.ok_or_else(|| corrupt(format!("partition spec {spec_id} is missing")))?;
        let schema = partition::schema_of(&self.metadata.table, &self.iceberg_schema, spec);
        let partition = spec.partition_type(&schema).map_err(|error| corrupt(error.to_string()))?;
        Ok((schema, partition))
    }

    /// The entries of one manifest as it was written.
    async fn written_entries(&self, file: &ManifestFile) -> Result<Entries, LakeError> {
        if let Some(entries) = self.caches.manifests.get(&manifest::cache_key(file)) {
            return Ok(entries);
        }
        let content = self.store.get(&file.manifest_path).await?;
        let entries = match content.len() > PARSED_HERE_BYTES {
            true => {
                let file = file.clone();
                let parsed = tokio::task::spawn_blocking(move || manifest::parse(&file, &content)).await;
                parsed??
            }
            false => manifest::parse(file, &content)?,
        };
        self.remember(file, &entries);
        Ok(entries)
    }

    /// Keeps the entries of a manifest in memory.
    pub(crate) fn remember(&self, file: &ManifestFile, entries: &Entries) {
        self.caches.manifests.insert(&manifest::cache_key(file), entries.clone(), entries.size_bytes());
    }

    /// Where the deletes of this table are read from.
    pub(crate) fn delete_store(&self) -> Arc<DeleteStore> {
        Arc::new(DeleteStore {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.caches.deletes),
            columns: deletes::columns_of(&self.metadata.table),
        })
    }

    /// A data file of which more rows are deleted than before; `new` is the delete file that says so, `rows` are all of them.
    pub(crate) fn file_after(
        &self,
        file: &LakeFile,
        new: &Entry,
        rows: &Arc<RoaringTreemap>,
    ) -> Result<Arc<LakeFile>, LakeError> {
        let shared = match &file.deletes {
            Some(deletes) => Arc::clone(&deletes.shared),
            None => self.delete_store(),
        };
        let deletes = FileDeletes::replaced_by(file.deletes.as_deref(), &shared, &file.entry, new);
        deletes.remember(rows);
        self.file_with(file.spec_id, &file.entry, Some(Arc::new(deletes)))
    }

    /// A data file to which no deletes apply, as the scan wants it.
    pub(crate) fn file(&self, spec_id: i32, entry: &Entry) -> Result<Arc<LakeFile>, LakeError> {
        self.file_with(spec_id, entry, None)
    }

    /// A data file as the scan wants it.
    fn file_with(
        &self,
        spec_id: i32,
        entry: &Entry,
        deletes: Option<Arc<FileDeletes>>,
    ) -> Result<Arc<LakeFile>, LakeError> {
        LakeFile::new(&self.file_context, spec_id, entry, deletes).map(Arc::new)
    }

    /// Gives a table that was just committed what the committer knows about its snapshot.
    pub(crate) fn preload(&mut self, manifests: Vec<ManifestFile>, files: Option<FileSet>) {
        self.manifests = OnceCell::new_with(Some(Arc::new(manifests)));
        self.listing = Listing::of(files);
    }
}

/// A total in the summary of a snapshot.
pub(crate) fn total(summary: &Summary, name: &str) -> Option<u64> {
    summary.additional_properties.get(name)?.parse().ok()
}
