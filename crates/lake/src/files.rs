//! The data files of a table, as scans want them.
//!
//! A table may have a hundred thousand of them. What always holds: what a scan needs of a file is made when it is first wanted, so a
//! query whose filter leaves out most files pays for the others alone; and what filters compare, the bounds of all files, is
//! kept column by column.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion_datasource::PartitionedFile;
use iceberg::spec::{DataContentType, DataFileFormat, Schema};
use object_store::ObjectMeta;
use roaring::RoaringTreemap;

use crate::deletes::FileDeletes;
use crate::error::LakeError;
use crate::manifest::Entry;
use crate::scan::{self, Bounds, ColumnSizes};
use crate::store::Store;

/// Of more files than this, what one scan needs is not kept for the next, and their statistics are made when they are opened: those of
/// a file with a hundred columns take tens of kilobytes.
const KEPT_FILES: usize = 8 * 1024;

/// What the files of a table have in common.
pub(crate) struct FileContext {
    pub(crate) store: Arc<Store>,
    /// Where the table is.
    pub(crate) location: String,
    pub(crate) iceberg_schema: Arc<Schema>,
    pub(crate) schema: SchemaRef,
}

/// The data files of a table.
pub(crate) struct FileSet {
    pub(crate) files: Vec<Arc<LakeFile>>,
    /// How many more files the table has in manifests that were not read.
    pub(crate) elsewhere: u64,
    /// What filters compare.
    pub(crate) bounds: Bounds,
    statistics: OnceLock<Arc<Statistics>>,
    column_sizes: OnceLock<Arc<ColumnSizes>>,
    size_bytes: OnceLock<u64>,
}

/// A data file.
pub(crate) struct LakeFile {
    /// What the manifest says.
    pub(crate) entry: Entry,
    /// The partition spec under which it was written.
    pub(crate) spec_id: i32,
    /// The deletes that apply to it.
    pub(crate) deletes: Option<Arc<FileDeletes>>,
    context: Arc<FileContext>,
    scanned: OnceLock<Box<Scanned>>,
}

/// A file as a scan wants it.
struct Scanned {
    statistics: Arc<Statistics>,
    parts: Vec<PartitionedFile>,
}

impl LakeFile {
    /// A data file with its deletes, unless it is one that cannot be read.
    ///
    /// # Errors
    /// [`LakeError::Unsupported`], and a file that is not where the table's files may be.
    pub(crate) fn new(
        context: &Arc<FileContext>,
        spec_id: i32,
        entry: &Entry,
        deletes: Option<Arc<FileDeletes>>,
    ) -> Result<LakeFile, LakeError> {
        if entry.content_type() != DataContentType::Data || entry.file_format() != DataFileFormat::Parquet {
            let what = format!("data file \"{}\" of format {}", entry.file_path(), entry.file_format());
            return Err(LakeError::Unsupported(what));
        }
        if entry.is_encrypted() {
            return Err(LakeError::Unsupported(format!("encrypted data file \"{}\"", entry.file_path())));
        }
        context.store.data_path(entry.file_path(), &context.location)?;
        let (entry, context) = (entry.clone(), Arc::clone(context));
        Ok(LakeFile { entry, spec_id, deletes, context, scanned: OnceLock::new() })
    }

    /// Where it is.
    pub(crate) fn location(&self) -> &str {
        self.entry.file_path()
    }

    /// What DataFusion may rely on, for the columns of the table.
    pub(crate) fn statistics(&self) -> Arc<Statistics> {
        match self.scanned.get() {
            Some(scanned) => Arc::clone(&scanned.statistics),
            None => self.valid_statistics(&self.written_statistics()),
        }
    }

    /// What is known of one column.
    pub(crate) fn column_statistics(&self, index: usize) -> Option<ColumnStatistics> {
        let stored = self.context.iceberg_schema.as_struct().fields().get(index)?;
        let field = self.context.schema.fields().get(index)?;
        Some(scan::column_statistics(&self.entry, stored, field))
    }

    /// The file as units of scanning, one for each row group, and its statistics. Those are kept if it is one of so few files; if not, the
    /// units lead back to the file, by an extension.
    ///
    /// # Errors
    /// A location that is none; [`LakeFile::new`] has looked at it.
    pub(crate) fn parts(
        self: &Arc<Self>,
        of: usize,
    ) -> Result<(Option<Arc<Statistics>>, Vec<PartitionedFile>), LakeError> {
        let scanned = match self.scanned.get() {
            Some(scanned) => scanned,
            None if of > KEPT_FILES => {
                let whole = self.whole()?.with_extension(Arc::clone(self));
                return Ok((None, self.split(whole)));
            }
            None => {
                // What a scan of the file may believe. Bounds, and a column that has one value alone, are so for the rows that are left.
                let written = self.written_statistics();
                let whole = PartitionedFile { statistics: Some(Arc::clone(&written)), ..self.whole()? };
                let made = Scanned { statistics: self.valid_statistics(&written), parts: self.split(whole) };
                self.scanned.get_or_init(|| Box::new(made))
            }
        };
        Ok((Some(Arc::clone(&scanned.statistics)), scanned.parts.clone()))
    }

    /// The file in one piece, without statistics.
    pub(crate) fn whole(&self) -> Result<PartitionedFile, LakeError> {
        let file = &self.entry;
        let meta = ObjectMeta {
            location: self.context.store.data_path(file.file_path(), &self.context.location)?,
            // Files never change, and caches compare this: it has to be the same for ever.
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.file_size_in_bytes(),
            e_tag: None,
            version: None,
        };
        let whole = PartitionedFile::new_from_meta(meta);
        Ok(match &self.deletes {
            Some(deletes) => whole.with_extension(Arc::clone(deletes)),
            None => whole,
        })
    }

    fn split(&self, whole: PartitionedFile) -> Vec<PartitionedFile> {
        parts(whole, self.entry.split_offsets().unwrap_or_default())
    }

    /// The statistics of the rows with which it was written.
    pub(crate) fn written_statistics(&self) -> Arc<Statistics> {
        let FileContext { iceberg_schema, schema, .. } = &*self.context;
        Arc::new(scan::file_statistics(&self.entry, iceberg_schema, schema))
    }

    /// The same for the rows that are left.
    fn valid_statistics(&self, written: &Arc<Statistics>) -> Arc<Statistics> {
        match &self.deletes {
            Some(_) => Arc::new(Statistics::clone(written).to_inexact()),
            None => Arc::clone(written),
        }
    }

    /// The positions of the rows that are deleted; none when no deletes apply.
    pub(crate) async fn deleted(&self) -> Result<Option<Arc<RoaringTreemap>>, LakeError> {
        match &self.deletes {
            Some(deletes) => deletes.deleted().await.map(Some),
            None => Ok(None),
        }
    }

    /// How many rows are not deleted.
    pub(crate) async fn rows_left(&self) -> Result<u64, LakeError> {
        let deleted = self.deleted().await?.map_or(0, |deleted| deleted.len());
        Ok(self.entry.record_count().saturating_sub(deleted))
    }

    /// How many rows are not deleted at least, as far as manifests tell.
    pub(crate) fn rows_left_at_least(&self) -> u64 {
        self.deletes.as_ref().map_or_else(|| self.entry.record_count(), |deletes| deletes.rows_left_at_least())
    }
}

impl FileSet {
    pub(crate) fn new(files: Vec<Arc<LakeFile>>) -> FileSet {
        FileSet {
            files,
            elsewhere: 0,
            bounds: Bounds::default(),
            statistics: OnceLock::new(),
            column_sizes: OnceLock::new(),
            size_bytes: OnceLock::new(),
        }
    }

    /// More files, and then these. What is known of these together is not asked of each again.
    pub(crate) fn with_more(&self, mut files: Vec<Arc<LakeFile>>, schema: &SchemaRef) -> FileSet {
        let known = self.statistics.get().filter(|_| !self.files.is_empty() && !files.is_empty());
        let added = known.map(|known| (known, scan::merged_statistics(&files, schema)));
        let merged = added.and_then(|(known, added)| Statistics::try_merge_iter([&added, &**known], schema).ok());
        files.extend(self.files.iter().cloned());
        let statistics = merged.map_or_else(OnceLock::new, |merged| OnceLock::from(Arc::new(merged)));
        FileSet { statistics, ..FileSet::new(files) }
    }

    /// The statistics of all files together.
    pub(crate) fn statistics(&self, schema: &SchemaRef) -> Arc<Statistics> {
        let merge = || Arc::new(scan::merged_statistics(&self.files, schema));
        Arc::clone(self.statistics.get_or_init(merge))
    }

    /// How much of the files each column takes.
    pub(crate) fn column_sizes(&self) -> &Arc<ColumnSizes> {
        self.column_sizes.get_or_init(|| {
            let sizes = |file: &Arc<LakeFile>| ColumnSizes::of(&self.files, &file.context.iceberg_schema);
            Arc::new(self.files.first().map(sizes).unwrap_or_default())
        })
    }

    /// The size of all files together.
    pub(crate) fn size_bytes(&self) -> u64 {
        *self.size_bytes.get_or_init(|| self.files.iter().map(|file| file.entry.file_size_in_bytes()).sum())
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

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;
    use std::path::Path;
    use std::time::Instant;

    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionContext, col, lit};
    use iceberg::spec::{DataFileBuilder, Datum};
    use uuid::Uuid;
    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::partition::Layout;
    use crate::warehouse::{NewTable, Warehouse, WarehouseOptions};
    use crate::write::WrittenFile;
    use crate::{LakeTable, commit};

    const COLUMNS: i32 = 5;
    const ROWS: i64 = 1000;

    /// A file that nobody reads; column 1 counts on from file to file.
    fn written(folder: &str, number: i64) -> WrittenFile {
        let each = |value: u64| (1..=COLUMNS).map(|id| (id, value)).collect::<HashMap<_, _>>();
        let bounds = |value: i64| (1..=COLUMNS).map(|id| (id, Datum::long(value / i64::from(id)))).collect();
        let data_file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(format!("{folder}/data/{}.parquet", Uuid::now_v7()))
            .file_format(DataFileFormat::Parquet)
            .record_count(ROWS as u64)
            .file_size_in_bytes(100_000)
            .partition_spec_id(0)
            .column_sizes(each(20_000))
            .value_counts(each(ROWS as u64))
            .null_value_counts(each(0))
            .lower_bounds(bounds(number * ROWS))
            .upper_bounds(bounds(number * ROWS + ROWS - 1))
            .split_offsets(Some(vec![4]))
            .build()
            .unwrap();
        WrittenFile { data_file, spec_id: 0 }
    }

    /// The plan of a scan for one row, and how long it took to be made.
    async fn planned(table: &Arc<LakeTable>, row: i64) -> (String, u128) {
        let state = SessionContext::new().state();
        let begun = Instant::now();
        let provider = table.provider().await.unwrap();
        let plan = provider.scan(&state, None, &[col("a1").eq(lit(row))], None).await.unwrap();
        let took = begun.elapsed().as_millis();
        (displayable(&*plan).indent(false).to_string(), took)
    }

    fn resident_mib() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        pages * 4096 / (1 << 20)
    }

    fn open(directory: &Path) -> Arc<Warehouse> {
        Warehouse::open(directory.to_str().unwrap(), WarehouseOptions::default()).unwrap()
    }

    /// A table of so many files that nobody reads.
    async fn unread(warehouse: &Arc<Warehouse>, count: i64) -> String {
        let column = |id: i32| Column {
            name: format!("a{id}"),
            ty: SqlType::BigInt,
            nullable: true,
            field_id: id,
            comment: None,
            default: None,
        };
        let columns: Vec<_> = (1..=COLUMNS).map(column).collect();
        let new = NewTable {
            id: Uuid::new_v4(),
            namespace: "wharf",
            name: "t",
            columns: &columns,
            layout: Layout::default(),
            identifier: Vec::new(),
            properties: HashMap::new(),
        };
        let mut location = warehouse.create_table(new).await.unwrap();
        for snapshot in 0..20 {
            let table = warehouse.load(&location).await.unwrap();
            let files = (snapshot * count / 20..(snapshot + 1) * count / 20).map(|n| written(table.location(), n));
            location = commit::append(warehouse, &table, files.collect()).await.unwrap();
        }
        location
    }

    /// So many data files of a table, whose column `a1` counts on from file to file.
    pub(crate) async fn unread_files(count: i64) -> Vec<Arc<LakeFile>> {
        let directory = tempfile::tempdir().unwrap();
        let warehouse = open(directory.path());
        let location = unread(&warehouse, count).await;
        warehouse.load(&location).await.unwrap().files().await.unwrap().files.clone()
    }

    /// With `WHARF_PLANNED_FILES=100000` and `--nocapture` this says what planning such a table takes.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_scan_makes_only_what_its_filter_leaves() {
        let count = std::env::var("WHARF_PLANNED_FILES").ok().and_then(|count| count.parse().ok()).unwrap_or(4_000_i64);
        let directory = tempfile::tempdir().unwrap();
        let location = unread(&open(directory.path()), count).await;
        let before = resident_mib();
        let warehouse = open(directory.path());
        let table = warehouse.load(&location).await.unwrap();
        let (plan, cold) = planned(&table, 123_456).await;
        assert!(plan.contains(&format!("read=1 of {count} files")), "{plan}");
        let files = table.files().await.unwrap();
        let made = || files.files.iter().filter(|file| file.scanned.get().is_some()).count();
        assert_eq!(made(), 1);
        let (_, warm) = planned(&table, 123_456).await;
        let (_, other) = planned(&table, 1_234_567).await;
        assert_eq!(made(), 2);
        let memory = resident_mib().saturating_sub(before);
        let begun = Instant::now();
        let rows = files.statistics(&table.schema()).num_rows;
        assert_eq!(rows.get_value(), Some(&((count * ROWS) as usize)));
        let all = begun.elapsed().as_millis();

        let more = commit::append(&warehouse, &table, vec![written(table.location(), count)]).await.unwrap();
        let after = warehouse.load(&more).await.unwrap().files().await.unwrap();
        assert!(after.statistics.get().is_some(), "they follow from those of the base");
        assert_eq!(*after.statistics(&table.schema()), scan::merged_statistics(&after.files, &table.schema()));
        println!("{count} files: cold {cold} ms, warm {warm} ms and {other} ms, {memory} MiB; statistics {all} ms");
    }

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
