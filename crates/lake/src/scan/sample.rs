//! A look at one column of a scan before the scan is run.
//!
//! What always holds: a sample is read as the scan reads (its store and caches, without deleted rows), but without the conditions of the
//! query, so that it is good for other queries over the same files; and it is of a few pieces of them, however many there are.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource_parquet::CachedParquetFileReaderFactory;
use futures::TryStreamExt;
use futures::future::try_join_all;

use super::bundles::unbundled;
use super::field_ids::FieldIds;
use super::source::LakeSource;
use super::wire::lake_scan;

/// From how many places of the files a sample is, at most.
const PIECES: usize = 16;

/// What a sample is of. Files never change: equal ones are of the same values, but for rows that were deleted since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SampleOf {
    field_id: i32,
    /// The files, and where in them the pieces begin.
    pieces: Vec<(String, i64)>,
}

/// A sample that can be read.
pub struct ColumnSample {
    of: SampleOf,
    /// Which of the table's columns it is.
    column: usize,
    pieces: Vec<PartitionedFile>,
    url: ObjectStoreUrl,
    source: LakeSource,
    field_ids: Arc<FieldIds>,
    options: TableParquetOptions,
}

/// A sample of one of the columns that a scan gives; none when the plan is no scan of a table, or the column is none of the table's.
pub fn column_sample(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<ColumnSample> {
    let (config, source) = lake_scan(plan)?;
    let field_ids = source.field_ids.as_ref()?;
    let column = match source.projection() {
        Some(projection) => projection.iter().nth(column)?.expr.downcast_ref::<Column>()?.index(),
        None => column,
    };
    let field = source.table_schema().file_schema().fields().get(column)?;
    let field_id = *field_ids.ids.get(field.name())?;
    let options = source.inner().downcast_ref::<ParquetSource>()?.table_parquet_options().clone();
    let parts: Vec<&PartitionedFile> = config.file_groups.iter().flat_map(FileGroup::iter).collect();
    // Bundles are taken apart only where they are chosen: there may be very many.
    let parts = unbundled(spread(&parts).copied()).ok()?;
    let pieces: Vec<PartitionedFile> = spread(&parts).cloned().collect();
    let place =
        |piece: &PartitionedFile| (piece.path().to_string(), piece.range.as_ref().map_or(0, |range| range.start));
    let of = SampleOf { field_id, pieces: pieces.iter().map(place).collect() };
    (!pieces.is_empty()).then(|| ColumnSample {
        of,
        column,
        pieces,
        url: config.object_store_url.clone(),
        source: source.clone(),
        field_ids: Arc::clone(field_ids),
        options,
    })
}

/// A few of many, evenly.
fn spread<T>(of: &[T]) -> impl Iterator<Item = &T> {
    let count = of.len().min(PIECES);
    (0..count).map(move |index| &of[index * of.len() / count])
}

impl ColumnSample {
    /// What it is of.
    pub fn of(&self) -> &SampleOf {
        &self.of
    }

    /// The values of at most about so many rows.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub async fn read(&self, rows: usize, task: &Arc<TaskContext>) -> Result<Vec<ArrayRef>> {
        let each = rows.div_ceil(self.pieces.len().max(1)).max(1);
        let mut reads = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            reads.push(self.read_piece(piece.clone(), each, task));
        }
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }

    /// The first rows of a piece.
    async fn read_piece(&self, piece: PartitionedFile, rows: usize, task: &Arc<TaskContext>) -> Result<Vec<ArrayRef>> {
        let config = FileScanConfigBuilder::new(self.url.clone(), self.plain(task))
            .with_file_groups(vec![FileGroup::new(vec![piece])])
            .with_projection_indices(Some(vec![self.column]))?
            .with_limit(Some(rows))
            .with_expr_adapter(Some(Arc::clone(&self.field_ids) as _))
            .build();
        let scan = DataSourceExec::from_data_source(config);
        let batches: Vec<RecordBatch> = scan.execute(0, Arc::clone(task))?.try_collect().await?;
        Ok(batches.iter().filter_map(|batch| batch.columns().first().cloned()).collect())
    }

    /// A source of all of the table's columns, without conditions.
    fn plain(&self, task: &Arc<TaskContext>) -> Arc<dyn FileSource> {
        let footers = task.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(self.source.store().data_files()), footers);
        let mut parquet = ParquetSource::new(self.source.table_schema().clone())
            .with_table_parquet_options(self.options.clone())
            .with_parquet_file_reader_factory(Arc::new(readers));
        if let Some(hint) = self.options.global.metadata_size_hint {
            parquet = parquet.with_metadata_size_hint(hint);
        }
        Arc::new(self.source.plain(Arc::new(parquet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_spread_over_all_of_the_files() {
        let few: Vec<_> = spread(&[1, 2, 3]).copied().collect();
        assert_eq!(few, [1, 2, 3]);
        let files: Vec<usize> = (0..1600).collect();
        let many: Vec<_> = spread(&files).copied().collect();
        assert_eq!((many.len(), many[0], many[1], many[15]), (16, 0, 100, 1500));
        assert_eq!(spread::<usize>(&[]).count(), 0);
    }
}
