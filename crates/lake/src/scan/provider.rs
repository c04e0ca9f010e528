//! A table for DataFusion.
//!
//! Planning a scan asks nothing of the object store here: the manifests are in memory. Filters are used to leave out
//! files here, and DataFusion pushes them into the Parquet scan by itself, which leaves out row groups and pages; it evaluates
//! them over the rows all the same (`Inexact`).
//!
//! For statements that rewrite files, each row can say which file it comes from, and where in it: columns behind those of the
//! table.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::{PartitionedFile, TableSchema};
use datafusion_datasource_parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::RowNumber;

use super::ahead::{AheadReaders, KNOWN_PARTS, ReadAhead};
use super::bundles::bundled;
use super::field_ids::FieldIds;
use super::source::{LakeSource, balanced_groups};
use super::{RowPlaces, merged_statistics, prune};
use crate::deletes::{RemovedFiles, RowDeletes};
use crate::error::LakeError;
use crate::files::{FileSet, LakeFile};
use crate::table::LakeTable;

/// The column with the number of the file that a row comes from. No column of a table has such a name.
pub const FILE_NUMBER: &str = "\0file";
/// The column with the position of a row in its file. No column of a table has such a name.
pub const POSITION: &str = "\0position";

/// In the extensions of a session's configuration: scans have several partitions however little they read, so that what is made
/// of them is made for several partitions, too, and can be divided among nodes.
#[derive(Clone, Copy, Debug)]
pub struct SpreadScans;

/// For how many files deletes are loaded at the same time.
const CONCURRENT_DELETES: usize = 8;

/// A state of a table that can be scanned.
pub struct LakeProvider {
    table: Arc<LakeTable>,
    files: Arc<FileSet>,
    schema: TableSchema,
    field_ids: Arc<FieldIds>,
    /// The numbers of the files by location, if rows have them.
    numbers: Option<HashMap<String, i64>>,
}

/// A data file with rows that a statement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchedFile {
    /// Its number.
    pub number: i64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How many rows it was written with.
    pub rows: u64,
    /// How many of them were deleted before the statement.
    pub deleted: u64,
    /// How many of them the statement changes.
    pub touched: u64,
}

impl TouchedFile {
    /// How many rows are left that stay as they are.
    pub fn left(&self) -> u64 {
        self.rows.saturating_sub(self.deleted).saturating_sub(self.touched)
    }
}

impl std::fmt::Debug for LakeProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeProvider").field("location", &self.table.metadata_location()).finish_non_exhaustive()
    }
}

impl LakeProvider {
    pub(crate) fn new(table: Arc<LakeTable>, files: Arc<FileSet>) -> LakeProvider {
        LakeProvider {
            schema: table.schema().into(),
            field_ids: Arc::new(FieldIds::new(table.columns(), table.initial_values(), table.absent())),
            table,
            files,
            numbers: None,
        }
    }

    /// The same rows, each with the number of its file in the column [`FILE_NUMBER`].
    pub(crate) fn numbered(self) -> LakeProvider {
        let number = Arc::new(Field::new(FILE_NUMBER, DataType::Int64, false));
        let numbers = self.files.files.iter().map(|file| file.location().to_owned()).zip(0..).collect();
        LakeProvider {
            schema: TableSchema::builder(self.table.schema()).with_table_partition_cols(vec![number]).build(),
            numbers: Some(numbers),
            ..self
        }
    }

    /// The same rows, each with its position in the file in the column [`POSITION`].
    pub(crate) fn positioned(self) -> LakeProvider {
        let position = Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
        let schema = TableSchema::builder(Arc::clone(self.schema.file_schema()))
            .with_table_partition_cols(self.schema.table_partition_cols().clone())
            .with_virtual_columns(vec![Arc::new(position)])
            .build();
        LakeProvider { schema, ..self }
    }

    /// The rows of some files only, by their numbers.
    pub fn only(&self, numbers: &BTreeSet<i64>) -> LakeProvider {
        let files = self.files.files.iter().zip(0..).filter(|(_, number)| numbers.contains(number));
        LakeProvider {
            table: Arc::clone(&self.table),
            files: Arc::new(FileSet::new(files.map(|(file, _)| Arc::clone(file)).collect())),
            schema: self.schema.clone(),
            field_ids: Arc::clone(&self.field_ids),
            numbers: self.numbers.clone(),
        }
    }

    /// The paths of files, by their numbers.
    pub fn paths(&self, numbers: &BTreeSet<i64>) -> Vec<String> {
        let files = self.files.files.iter().zip(0..).filter(|(_, number)| numbers.contains(number));
        files.map(|(file, _)| file.location().to_owned()).collect()
    }

    /// The numbers of files, by their paths; nothing is said of files that are not there.
    pub fn numbers_of(&self, paths: &[String]) -> BTreeSet<i64> {
        let paths: HashSet<&str> = paths.iter().map(String::as_str).collect();
        let files = self.files.files.iter().zip(0..).filter(|(file, _)| paths.contains(file.location()));
        files.map(|(_, number)| number).collect()
    }

    /// The files that have such rows.
    ///
    /// # Errors
    /// Row-level deletes that cannot be read.
    pub async fn touched(&self, rows: &RowPlaces) -> Result<Vec<TouchedFile>, LakeError> {
        let mut touched = Vec::new();
        for (file, number) in self.files.files.iter().zip(0..) {
            if !rows.has_file(number) {
                continue;
            }
            touched.push(TouchedFile {
                number,
                size_bytes: file.entry.file_size_in_bytes(),
                rows: file.entry.record_count(),
                deleted: file.deleted().await?.map_or(0, |deleted| deleted.len()),
                touched: rows.count(number),
            });
        }
        Ok(touched)
    }

    /// The rows of some files, by their numbers, as those that a statement is going to delete.
    pub fn row_deletes(&self, rows: &RowPlaces, files: &BTreeSet<i64>) -> RowDeletes {
        let mut deletes = RowDeletes::default();
        for (file, number) in self.files.files.iter().zip(0..).filter(|(_, number)| files.contains(number)) {
            if let Some(rows) = rows.of_file(number) {
                deletes.add(file.location(), rows);
            }
        }
        deletes
    }

    /// The files as those that a statement is going to replace: with what is deleted of them now.
    ///
    /// # Errors
    /// Row-level deletes that cannot be read.
    pub async fn removed_files(&self) -> Result<RemovedFiles, LakeError> {
        let mut removed = RemovedFiles::default();
        for file in &self.files.files {
            removed.add(file.location().to_owned(), file.deleted().await?.as_deref());
        }
        Ok(removed)
    }

    /// The files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &LakeFile> {
        self.files.files.iter().map(Arc::as_ref)
    }

    /// Where the files are.
    pub fn locations(&self) -> Vec<String> {
        self.files.files.iter().map(|file| file.location().to_owned()).collect()
    }

    /// How many rows the files have.
    ///
    /// # Errors
    /// Row-level deletes that cannot be read.
    pub async fn rows(&self) -> Result<u64, LakeError> {
        // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
        let counts: Vec<_> = self.files.files.iter().map(|file| file.rows_left()).collect();
        futures::stream::iter(counts).buffered(CONCURRENT_DELETES).try_fold(0, async |sum, rows| Ok(sum + rows)).await
    }

    /// The table behind this.
    pub fn table(&self) -> &Arc<LakeTable> {
        &self.table
    }

    /// The files that a scan has to read, and their statistics.
    fn choose(
        &self,
        session: &dyn Session,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> (Cow<'_, [Arc<LakeFile>]>, Statistics) {
        let all = &self.files.files;
        let chosen = match limit {
            // Without a filter, files that together have enough rows suffice.
            Some(limit) if filters.is_empty() => enough(all, limit as u64),
            _ => prune::matching(&self.table, &self.files, self.schema.file_schema(), filters, session),
        };
        match chosen {
            None => (Cow::Borrowed(all), self.statistics_of_all()),
            // To add up what so many say takes long, and is an estimate all the same where a filter is left to be applied.
            Some(chosen) if !filters.is_empty() && chosen.len() > KNOWN_PARTS => {
                let rows = chosen.iter().map(|file| file.entry.record_count()).sum::<u64>();
                let mut statistics = self.statistics_of_all().to_inexact();
                statistics.num_rows = Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX));
                (Cow::Owned(chosen), statistics)
            }
            Some(chosen) => {
                let statistics = self.with_number(merged_statistics(&chosen, self.schema.file_schema()));
                (Cow::Owned(chosen), statistics)
            }
        }
    }

    /// What EXPLAIN says of the files.
    fn read(&self, files: &[Arc<LakeFile>]) -> String {
        let known = self.files.size_bytes();
        let bytes: u64 = match files.len() == self.files.files.len() {
            true => known,
            false => files.iter().map(|file| file.entry.file_size_in_bytes()).sum(),
        };
        let all = self.files.files.len() as u64 + self.files.elsewhere;
        let all_bytes = match self.files.elsewhere {
            0 => Some(known),
            _ => self.table.size_bytes(),
        };
        let of_bytes = all_bytes.map_or_else(String::new, |all| format!(" of {all}"));
        format!("read={} of {all} files, {bytes}{of_bytes} bytes", files.len())
    }

    fn statistics_of_all(&self) -> Statistics {
        self.with_number((*self.files.statistics(self.schema.file_schema())).clone())
    }

    fn with_number(&self, mut statistics: Statistics) -> Statistics {
        if self.numbers.is_some() {
            statistics.column_statistics.push(ColumnStatistics::new_unknown());
        }
        let virtual_columns = self.schema.virtual_columns().iter();
        statistics.column_statistics.extend(virtual_columns.map(|_| ColumnStatistics::new_unknown()));
        statistics
    }

    /// The units of scanning of a file, one of so many.
    fn parts(&self, file: &Arc<LakeFile>, of: usize) -> Result<Vec<PartitionedFile>> {
        let (statistics, parts) = file.parts(of)?;
        let number = self.numbers.as_ref().and_then(|numbers| numbers.get(file.location()));
        let Some(number) = number else { return Ok(parts) };
        let numbered = |part: PartitionedFile| {
            let value = ScalarValue::Int64(Some(*number));
            let part = PartitionedFile { partition_values: vec![value], ..part };
            match &statistics {
                Some(statistics) => part.with_statistics(Arc::clone(statistics)),
                None => part,
            }
        };
        Ok(parts.into_iter().map(numbered).collect())
    }
}

/// The first files that have as many rows; none when that is all of them.
fn enough(files: &[Arc<LakeFile>], limit: u64) -> Option<Vec<Arc<LakeFile>>> {
    let mut rows = 0;
    let count = files.iter().take_while(|file| {
        let wanted = rows < limit;
        rows += file.rows_left_at_least();
        wanted
    });
    let count = count.count();
    (count < files.len()).then(|| files[..count].to_vec())
}

#[async_trait]
impl TableProvider for LakeProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (files, statistics) = self.choose(session, filters, limit);
        // Of so many, nothing is made of a file before it is read.
        let many = self.numbers.is_none() && files.len() > KNOWN_PARTS;
        let parts = if many {
            bundled(&files)?
        } else {
            let mut parts = Vec::with_capacity(files.len());
            for file in files.iter() {
                parts.extend(self.parts(file, files.len())?);
            }
            parts
        };
        if parts.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(self.schema.table_schema(), projection)?)));
        }
        let groups = session.config().target_partitions().min(parts.len());
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let store = self.table.store();
        let footers = session.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(store.data_files()), footers);
        // A few rows are in the first part, most likely.
        let ahead = store.cached().filter(|_| limit.is_none() && !many).map(|cached| Arc::new(ReadAhead::new(cached)));
        let readers: Arc<dyn ParquetFileReaderFactory> = match &ahead {
            Some(ahead) => Arc::new(AheadReaders { inner: readers, ahead: Arc::clone(ahead) }),
            None => Arc::new(readers),
        };
        let mut parquet = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(readers);
        if let Some(hint) = session.config_options().execution.parquet.metadata_size_hint {
            parquet = parquet.with_metadata_size_hint(hint);
        }
        let read = self.read(&files);
        let source =
            LakeSource::new(Arc::new(parquet), &self.table, self.files.column_sizes(), &self.field_ids, read, ahead);
        let mut file_groups = balanced_groups(parts, groups);
        if session.config().get_extension::<SpreadScans>().is_some() {
            file_groups.resize_with(session.config().target_partitions().max(2), FileGroup::default);
        }
        let config = FileScanConfigBuilder::new(store.url().clone(), Arc::new(source))
            .with_file_groups(file_groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::clone(&self.field_ids) as _))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics_of_all())
    }
}
