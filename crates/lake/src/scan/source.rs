//! DataFusion's Parquet source, with four differences.
//!
//! Errors of reading and decoding name the file they are about, and a panic of a decoder over damaged bytes is such an
//! error. Scans are spread over partitions by whole row groups, which is how the parts of a file arrive here, and not by byte
//! ranges that cut through them, and their order is told to who reads ahead. Before a file that has deletes is read, they are loaded,
//! and its scan leaves those rows out. Rows are held against the filters that joins find while they run (`runtime_filters`).
//! Everything else is passed on. Other errors, those of evaluating a filter for instance,
//! are left as they are, since they say what is wrong with the query.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::{FileGroup, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use datafusion_datasource::{PartitionedFile, TableSchema};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::ahead::ReadAhead;
use super::bundles::{BundlePlanner, is_bundle, unbundled};
use super::column_sizes::ColumnSizes;
use super::field_ids::FieldIds;
use super::late_statistics::{ReadOrder, with_statistics};
use super::runtime_filters::{RowFilters, RuntimeFilters, is_over_arrays};
use crate::deletes::FileDeletes;
use crate::error::LakeError;
use crate::store::Store;
use crate::table::LakeTable;

/// How many rows a batch has when nobody has said it.
const BATCH_ROWS: usize = 8192;

/// The file source of a table.
#[derive(Clone)]
pub(super) struct LakeSource {
    inner: Arc<dyn FileSource>,
    store: Arc<Store>,
    /// See [`LakeTable::reading`](crate::LakeTable).
    _reading: Arc<()>,
    /// How much of the table is read, for EXPLAIN.
    pub(super) read: Arc<str>,
    /// Reads ahead, where that is worth it.
    ahead: Option<Arc<ReadAhead>>,
    runtime_filters: RuntimeFilters,
    batch_rows: usize,
    /// In which order files are best read.
    order: Option<ReadOrder>,
    /// How much of the files columns take, where manifests say it.
    column_sizes: Option<Arc<ColumnSizes>>,
    /// Where columns are in files; none for files that are not a table's.
    pub(super) field_ids: Option<Arc<FieldIds>>,
}

impl LakeSource {
    pub(super) fn new(
        inner: Arc<dyn FileSource>,
        table: &LakeTable,
        column_sizes: &Arc<ColumnSizes>,
        field_ids: &Arc<FieldIds>,
        read: String,
        ahead: Option<Arc<ReadAhead>>,
    ) -> LakeSource {
        LakeSource {
            _reading: table.reading(),
            ahead,
            column_sizes: Some(Arc::clone(column_sizes)),
            field_ids: Some(Arc::clone(field_ids)),
            ..LakeSource::foreign(inner, table.store(), read)
        }
    }

    /// A table's source on a node that was sent the scan. That the table is being read is known where the scan comes from.
    pub(super) fn arrived(
        inner: Arc<dyn FileSource>,
        store: &Arc<Store>,
        field_ids: &Arc<FieldIds>,
        read: String,
    ) -> LakeSource {
        let filters: Vec<_> = inner.filter().iter().flat_map(split_conjunction).map(Arc::clone).collect();
        let runtime_filters = RuntimeFilters::default().with(&filters);
        let field_ids = Some(Arc::clone(field_ids));
        LakeSource { field_ids, runtime_filters, ..LakeSource::foreign(inner, store, read) }
    }

    /// A source of files that are not a table's.
    pub(super) fn foreign(inner: Arc<dyn FileSource>, store: &Arc<Store>, read: String) -> LakeSource {
        LakeSource {
            inner,
            store: Arc::clone(store),
            _reading: Arc::default(),
            read: read.into(),
            ahead: None,
            runtime_filters: RuntimeFilters::default(),
            batch_rows: BATCH_ROWS,
            order: None,
            column_sizes: None,
            field_ids: None,
        }
    }

    /// The same source, with its rows held against filters that are made while the query runs, if one of them is wanted, by its id.
    pub(super) fn with_row_filters(&self, wanted: impl Fn(u64) -> bool) -> Option<Arc<dyn FileSource>> {
        let runtime_filters = self.runtime_filters.placed(wanted)?;
        Some(Arc::new(LakeSource { runtime_filters, ..self.clone() }))
    }

    /// About how much is read of so many bytes of files.
    pub(super) fn bytes_read(&self, of: u64) -> u64 {
        match (&self.column_sizes, self.projection()) {
            (Some(sizes), Some(projection)) => sizes.share(of, projection.column_indices()),
            _ => of,
        }
    }

    /// Where its files are.
    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The same files by another source, without the order that is best for this scan, what it reads ahead, and the filters that joins make for it.
    pub(super) fn plain(&self, inner: Arc<dyn FileSource>) -> LakeSource {
        LakeSource { inner, ahead: None, runtime_filters: RuntimeFilters::default(), order: None, ..self.clone() }
    }

    /// DataFusion's source in it.
    pub(super) fn inner(&self) -> &Arc<dyn FileSource> {
        &self.inner
    }

    fn with(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(LakeSource { inner, ..self.clone() })
    }
}

impl FileSource for LakeSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        // Files are opened by the other way; this one would not leave out deleted rows, and knows no bundles.
        let other = |file: &PartitionedFile| deletes_of(file).is_some() || is_bundle(file);
        if config.file_groups.iter().flat_map(FileGroup::iter).any(other) {
            let what = "files with deletes and bundles have to be planned as morsels";
            return Err(DataFusionError::Internal(what.to_owned()));
        }
        self.inner.create_file_opener(object_store, config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        // With a limit, the decoder counts rows before they could be left out here.
        let filters = match config.limit {
            Some(_) => None,
            None => self.runtime_filters.rows(self.projection(), self.batch_rows, self.metrics(), partition),
        };
        Ok(Box::new(NamingMorselizer {
            inner: Arc::from(self.inner.create_morselizer(object_store, config, partition)?),
            store: Arc::clone(&self.store),
            filters,
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let inner = self.inner.with_batch_size(batch_size);
        Arc::new(LakeSource { inner, batch_rows: batch_size, ..self.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(t, f)?;
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(f, ", {}", self.read),
            DisplayFormatType::TreeRender => Ok(()),
        }
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        _: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        let parts: Vec<_> = config.file_groups.iter().flat_map(FileGroup::iter).cloned().collect();
        let groups = target_partitions.min(parts.len());
        if output_ordering.is_some() || groups <= config.file_groups.len() {
            return Ok(None);
        }
        let groups = balanced_groups(parts, groups);
        Ok(Some(FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build()))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let schema = self.table_schema().table_schema();
        let taken: Vec<bool> = filters.iter().map(|filter| !is_over_arrays(filter, schema)).collect();
        let filters: Vec<_> =
            filters.into_iter().zip(&taken).filter_map(|(filter, taken)| taken.then_some(filter)).collect();
        let runtime_filters = self.runtime_filters.with(&filters);
        let pushed = self.inner.try_pushdown_filters(filters, config)?;
        let updated =
            |inner| -> Arc<dyn FileSource> { Arc::new(LakeSource { inner, runtime_filters, ..self.clone() }) };
        let mut answers = pushed.filters.into_iter();
        let answer = |taken: bool| if taken { answers.next() } else { None }.unwrap_or(PushedDown::No);
        let filters = taken.into_iter().map(answer).collect();
        Ok(FilterPushdownPropagation { filters, updated_node: pushed.updated_node.map(updated) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        let read_order = ReadOrder::new(order, self.table_schema().file_schema());
        let pushed = self.inner.try_pushdown_sort(order, properties)?;
        let with = |inner| -> Arc<dyn FileSource> { Arc::new(LakeSource { inner, order: read_order, ..self.clone() }) };
        Ok(pushed.map(with))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        let files = match &self.order {
            // A bundle that cannot be taken apart says so when it is read.
            Some(order) => order.of_files(unbundled(&files).unwrap_or(files)),
            None => files,
        };
        // It has no bounds of the files that were ordered here, and leaves them as they are.
        let files = self.inner.reorder_files(files);
        if let Some(ahead) = &self.ahead {
            ahead.queue(&files);
        }
        files
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let pushed = self.inner.try_pushdown_projection(projection)?;
        Ok(pushed.map(|inner| self.with(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

/// Parts spread over groups of about equal size; each group keeps their order.
pub(super) fn balanced_groups(parts: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    let mut by_size: Vec<usize> = (0..parts.len()).collect();
    by_size.sort_by_key(|index| std::cmp::Reverse(parts[*index].effective_size()));
    let mut filled = vec![(0_u64, Vec::new()); groups.max(1)];
    for index in by_size {
        let lightest = filled.iter_mut().min_by_key(|(size, _)| *size);
        let (size, members) = lightest.expect("there is at least one group");
        *size += parts[index].effective_size().max(1);
        members.push(index);
    }
    let mut parts: Vec<_> = parts.into_iter().map(Some).collect();
    filled
        .into_iter()
        .map(|(_, mut members)| {
            members.sort_unstable();
            let files = members.into_iter().filter_map(|index| parts[index].take());
            FileGroup::new(files.collect())
        })
        .filter(|group| !group.is_empty())
        .collect()
}

/// Which file this is about, for errors.
#[derive(Clone, Debug)]
struct Name {
    store: Arc<Store>,
    path: Path,
}

impl Name {
    fn location(&self) -> String {
        self.store.location(&self.path)
    }

    /// The error with the name of the file, if it is one of reading or decoding.
    fn on(&self, error: DataFusionError) -> DataFusionError {
        if !is_about_file(error.find_root()) {
            return error;
        }
        LakeError::DataFile { location: self.location(), source: Box::new(error) }.into()
    }

    /// As [`on`](Name::on), and tells a file that is missing from one that cannot be read. The reader makes a text of what
    /// the store says, so the store is asked.
    async fn on_reading(&self, error: DataFusionError) -> DataFusionError {
        if !is_about_file(error.find_root()) {
            return error;
        }
        match self.store.objects().head(&self.path).await {
            Err(object_store::Error::NotFound { .. }) => LakeError::NotFound { location: self.location() }.into(),
            _ => self.on(error),
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> DataFusionError {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let what = format!("the decoder panicked: {}", text.unwrap_or("no message"));
        let source = Box::new(DataFusionError::Execution(what));
        LakeError::DataFile { location: self.location(), source }.into()
    }
}

/// Errors of the store, of Parquet, and of Arrow when it wraps those two. A row filter that fails comes as an error of
/// Parquet, too, and is about the query.
fn is_about_file(root: &DataFusionError) -> bool {
    match root {
        DataFusionError::ParquetError(_) => !is_of_filter(root),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => true,
        // The file has another number of rows than its manifest says.
        DataFusionError::Execution(text) => text.starts_with("Invalid Parquet RowSelection"),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::ParquetError(_) => !is_of_filter(root),
            ArrowError::IoError(..) | ArrowError::ExternalError(_) => true,
            _ => false,
        },
        _ => false,
    }
}

/// Has a condition failed while a file was read? The reader makes a text of what it said.
pub fn failed_in_filter(error: &DataFusionError) -> bool {
    is_of_filter(error.find_root())
}

fn is_of_filter(root: &DataFusionError) -> bool {
    const TEXT: &str = "evaluating filter predicate";
    match root {
        DataFusionError::ParquetError(error) => error.to_string().contains(TEXT),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::ParquetError(text) | ArrowError::ComputeError(text) => text.contains(TEXT),
            _ => false,
        },
        _ => false,
    }
}

/// The deletes that apply to a file.
pub(super) fn deletes_of(file: &PartitionedFile) -> Option<&Arc<FileDeletes>> {
    file.extension::<Arc<FileDeletes>>()
}

#[derive(Clone, Debug)]
struct NamingMorselizer {
    inner: Arc<dyn Morselizer>,
    store: Arc<Store>,
    filters: Option<Arc<RowFilters>>,
}

impl Morselizer for NamingMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        if is_bundle(&file) {
            return Ok(Box::new(BundlePlanner::new(&file, Arc::new(self.clone()))?));
        }
        let file = with_statistics(file);
        let name = Name { store: Arc::clone(&self.store), path: file.path().clone() };
        let filters = self.filters.clone();
        if let Some(deletes) = deletes_of(&file).cloned() {
            return Ok(Box::new(DeletingPlanner { inner: Arc::clone(&self.inner), file, deletes, name, filters }));
        }
        let inner = self.inner.plan_file(file).map_err(|error| name.on(error))?;
        Ok(Box::new(NamingPlanner { inner, name, filters }))
    }
}

/// Loads the deletes of a file, and then plans the rows that are left.
#[derive(Debug)]
struct DeletingPlanner {
    inner: Arc<dyn Morselizer>,
    file: PartitionedFile,
    deletes: Arc<FileDeletes>,
    name: Name,
    filters: Option<Arc<RowFilters>>,
}

impl MorselPlanner for DeletingPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let DeletingPlanner { inner, file, deletes, name, filters } = *self;
        let load = async move {
            let rows = deletes.selection().await?;
            let inner = inner.plan_file(file.with_extension(rows)).map_err(|error| name.on(error))?;
            Ok(Box::new(NamingPlanner { inner, name, filters }) as Box<dyn MorselPlanner>)
        };
        Ok(Some(MorselPlan::new().with_pending_planner(load)))
    }
}

#[derive(Debug)]
struct NamingPlanner {
    inner: Box<dyn MorselPlanner>,
    name: Name,
    filters: Option<Arc<RowFilters>>,
}

impl MorselPlanner for NamingPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let NamingPlanner { inner, name, filters } = *self;
        let planned =
            catch_unwind(AssertUnwindSafe(|| inner.plan())).unwrap_or_else(|panic| Err(name.panicked(&*panic)));
        let Some(mut plan) = planned.map_err(|error| name.on(error))? else {
            return Ok(None);
        };
        let naming = |inner| -> Box<dyn MorselPlanner> {
            Box::new(NamingPlanner { inner, name: name.clone(), filters: filters.clone() })
        };
        let morsels = plan.take_morsels().into_iter();
        let morsels = morsels.map(|inner| -> Box<dyn Morsel> {
            Box::new(NamingMorsel { inner, name: name.clone(), filters: filters.clone() })
        });
        let planners = plan.take_ready_planners().into_iter().map(naming);
        let pending = plan.take_pending_planner();
        let mut plan = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = pending {
            let (name, filters) = (name.clone(), filters.clone());
            plan.set_pending_planner(async move {
                let planned = AssertUnwindSafe(pending.into_future()).catch_unwind().await;
                let planned = planned.unwrap_or_else(|panic| Err(name.panicked(&*panic)));
                match planned {
                    Ok(inner) => Ok(Box::new(NamingPlanner { inner, name, filters }) as Box<dyn MorselPlanner>),
                    Err(error) => Err(name.on_reading(error).await),
                }
            });
        }
        Ok(Some(plan))
    }
}

#[derive(Debug)]
struct NamingMorsel {
    inner: Box<dyn Morsel>,
    name: Name,
    filters: Option<Arc<RowFilters>>,
}

impl Morsel for NamingMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let NamingMorsel { inner, name, filters } = *self;
        let stream = AssertUnwindSafe(inner.into_stream()).catch_unwind();
        let named = stream.then(move |item| {
            let name = name.clone();
            async move {
                match item {
                    Ok(Ok(batch)) => Ok(batch),
                    Ok(Err(error)) => Err(name.on_reading(error).await),
                    Err(panic) => Err(name.panicked(&*panic)),
                }
            }
        });
        match filters {
            Some(filters) => filters.apply(named.boxed()),
            None => named.boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::{CacheOptions, StoreOptions};

    #[test]
    fn parts_are_spread_by_size_and_keep_their_order() {
        let sizes = [50, 10, 30, 20, 40, 10];
        let parts = sizes.iter().enumerate();
        let parts = parts.map(|(i, size)| PartitionedFile::new(format!("{i}"), *size)).collect();
        let groups = balanced_groups(parts, 2);
        let names = |group: &FileGroup| {
            let names: Vec<_> = group.iter().map(|file| file.path().to_string()).collect();
            names.concat()
        };
        let sizes = |group: &FileGroup| group.iter().map(PartitionedFile::effective_size).sum::<u64>();
        assert_eq!(groups.iter().map(sizes).collect::<Vec<_>>(), [80, 80]);
        for group in &groups {
            let names = names(group);
            let mut sorted: Vec<_> = names.chars().collect();
            sorted.sort_unstable();
            assert_eq!(names, String::from_iter(sorted));
        }
        assert_eq!(balanced_groups(vec![PartitionedFile::new("a", 1)], 4).len(), 1);
    }

    #[test]
    fn only_errors_about_the_file_get_its_name() {
        let store = Store::open("memory://", &StoreOptions::default(), &CacheOptions::default()).unwrap();
        let name = Name { store: Arc::new(store), path: Path::from("lake/a.parquet") };
        let decode = DataFusionError::ParquetError(Box::new(parquet::errors::ParquetError::EOF("no more".to_owned())));
        assert!(name.on(decode).to_string().contains("could not read data file \"memory:///lake/a.parquet\""));
        let query = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert!(!name.on(query).to_string().contains("file"));
        let filter = DataFusionError::ParquetError(Box::new(parquet::errors::ParquetError::ArrowError(
            "Error evaluating filter predicate: Divide by zero".to_owned(),
        )));
        assert!(!name.on(filter).to_string().contains("data file"));
    }
}
