//! A table for DataFusion.
//!
//! Planning a scan asks nothing of the object store: files were chosen from manifests in memory. Filters are used to leave out
//! files here, and DataFusion pushes them into the Parquet scan by itself, which leaves out row groups and pages; it evaluates
//! them over the rows all the same (`Inexact`).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource_parquet::CachedParquetFileReaderFactory;

use super::field_ids::FieldIds;
use super::source::{LakeSource, balanced_groups};
use super::{merged_statistics, prune};
use crate::table::{FileSet, LakeFile, LakeTable};

/// A state of a table that can be scanned.
pub struct LakeProvider {
    table: Arc<LakeTable>,
    files: Arc<FileSet>,
    schema: SchemaRef,
    field_ids: Arc<FieldIds>,
}

impl std::fmt::Debug for LakeProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeProvider").field("location", &self.table.metadata_location()).finish_non_exhaustive()
    }
}

impl LakeProvider {
    pub(crate) fn new(table: Arc<LakeTable>, files: Arc<FileSet>) -> LakeProvider {
        LakeProvider { schema: table.schema(), field_ids: Arc::new(FieldIds::new(table.columns())), table, files }
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
    ) -> (Vec<Arc<LakeFile>>, Statistics) {
        let all = &self.files.files;
        let chosen = match limit {
            // Without a filter, files that together have enough rows suffice.
            Some(limit) if filters.is_empty() => enough(all, limit as u64),
            _ => prune::matching(all, &self.schema, filters, session),
        };
        match chosen {
            None => (all.clone(), (*self.files.statistics(&self.schema)).clone()),
            Some(chosen) => {
                let statistics = merged_statistics(&chosen, &self.schema);
                (chosen, statistics)
            }
        }
    }
}

/// The first files that have as many rows; none when that is all of them.
fn enough(files: &[Arc<LakeFile>], limit: u64) -> Option<Vec<Arc<LakeFile>>> {
    let mut rows = 0;
    let count = files.iter().take_while(|file| {
        let wanted = rows < limit;
        rows += file.entry.record_count();
        wanted
    });
    let count = count.count();
    (count < files.len()).then(|| files[..count].to_vec())
}

#[async_trait]
impl TableProvider for LakeProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let parts: Vec<_> = files.iter().flat_map(|file| file.parts.iter().cloned()).collect();
        if parts.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let groups = session.config().target_partitions().min(parts.len());
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let store = self.table.store();
        let footers = session.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(store.objects()), footers);
        let mut parquet = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        if let Some(hint) = session.config_options().execution.parquet.metadata_size_hint {
            parquet = parquet.with_metadata_size_hint(hint);
        }
        let source = LakeSource::new(Arc::new(parquet), Arc::clone(store));
        let config = FileScanConfigBuilder::new(store.url().clone(), Arc::new(source))
            .with_file_groups(balanced_groups(parts, groups))
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
        Some((*self.files.statistics(&self.schema)).clone())
    }
}
