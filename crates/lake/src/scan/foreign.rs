//! Parquet files that are not a table's: read where they are, columns by name.
//!
//! What always holds: the schema is that of all files together, at the types that SQL has; a column that a file lacks is NULL
//! in it. Nothing is believed of the values: there are no statistics but those in the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::{PartitionedFile, TableSchema};
use datafusion_datasource_parquet::{CachedParquetFileReaderFactory, ParquetFormat};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};
use wharf_catalog::SqlType;
use wharf_values::mapping;

use super::source::{LakeSource, balanced_groups};
use crate::error::LakeError;
use crate::store::Store;
use crate::warehouse::Warehouse;

/// Footers that are read at a time.
const FOOTERS: usize = 16;
/// Files are divided into parts of this size, which are read side by side.
const PART_BYTES: u64 = 64 << 20;

/// Parquet files as a table.
pub struct ParquetFiles {
    store: Arc<Store>,
    files: Vec<ObjectMeta>,
    schema: TableSchema,
    unreadable: Vec<(String, DataType)>,
}

impl std::fmt::Debug for ParquetFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFiles").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl ParquetFiles {
    /// Reads the footers of some files of a store, whose URLs begin with `origin`, to find out their columns.
    ///
    /// # Errors
    /// What is no Parquet file, and columns that have one name and different types; each names the file.
    pub async fn open(
        session: &dyn Session,
        warehouse: &Warehouse,
        origin: &str,
        objects: Arc<dyn ObjectStore>,
        files: Vec<ObjectMeta>,
    ) -> std::result::Result<ParquetFiles, LakeError> {
        let store = Arc::new(Store::foreign(origin, warehouse.store(), objects));
        let schemas = stream::iter(files.clone())
            .map(|file| {
                let store = &store;
                async move {
                    // INT96 counts as microseconds, as everything else does.
                    let format = ParquetFormat::new().with_coerce_int96(Some("us".to_owned()));
                    let schema = format.infer_schema(session, store.objects(), std::slice::from_ref(&file)).await;
                    let location = store.location(&file.location);
                    schema
                        .map(|schema| (location.clone(), schema))
                        .map_err(|source| LakeError::DataFile { location, source: Box::new(source) })
                }
            })
            .buffered(FOOTERS);
        let (schema, unreadable) = merged(schemas.try_collect::<Vec<_>>().await?)?;
        Ok(ParquetFiles { store, files, schema: Arc::new(schema).into(), unreadable })
    }

    /// Columns whose type SQL does not have; the schema is without them.
    pub fn unreadable(&self) -> &[(String, DataType)] {
        &self.unreadable
    }

    fn parts(&self) -> Vec<PartitionedFile> {
        let parts = self.files.iter().flat_map(|meta| {
            let whole = PartitionedFile::new_from_meta(meta.clone());
            let count = meta.size.div_ceil(PART_BYTES).max(1);
            (0..count).map(move |part| {
                let bound = |at: u64| i64::try_from(meta.size * at / count).unwrap_or(i64::MAX);
                match count {
                    1 => whole.clone(),
                    // A row group belongs to the part in which it begins.
                    _ => whole.clone().with_range(bound(part), bound(part + 1)),
                }
            })
        });
        parts.collect()
    }
}

/// The columns of all files, in the order in which they are met.
fn merged(files: Vec<(String, SchemaRef)>) -> std::result::Result<(Schema, Vec<(String, DataType)>), LakeError> {
    let mut fields: Vec<Field> = Vec::new();
    // The file that each column was met in first.
    let mut places: Vec<String> = Vec::new();
    let mut unreadable = BTreeMap::new();
    for (location, schema) in files {
        for field in schema.fields() {
            let ty = mapping::sql_type_of(field.data_type());
            if has_record(&ty) || ty == SqlType::Interval {
                unreadable.insert(field.name().clone(), field.data_type().clone());
                continue;
            }
            // A column of nothing but NULLs.
            let ty = if ty == SqlType::Unknown { SqlType::Text } else { ty };
            match fields.iter().position(|known| known.name() == field.name()) {
                None => {
                    fields.push(mapping::field(field.name(), &ty, true));
                    places.push(location.clone());
                }
                Some(known) if mapping::sql_type(&fields[known]) == ty => {}
                Some(known) => {
                    let (before, place) = (mapping::sql_type(&fields[known]), &places[known]);
                    let reason =
                        format!("column \"{}\" is of type {ty}, and of type {before} in {place}", field.name());
                    return Err(LakeError::Corrupt { location, reason });
                }
            }
        }
    }
    fields.retain(|field| !unreadable.contains_key(field.name()));
    Ok((Schema::new(fields), unreadable.into_iter().collect()))
}

fn has_record(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => has_record(item),
        ty => *ty == SqlType::Record,
    }
}

#[async_trait]
impl TableProvider for ParquetFiles {
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
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let parts = self.parts();
        let groups = session.config().target_partitions().min(parts.len());
        let mut options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        options.global.coerce_int96 = Some("us".to_owned());
        let footers = session.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(self.store.objects()), footers);
        let parquet = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let bytes: u64 = self.files.iter().map(|file| file.size).sum();
        let read = format!("read={0} of {0} files, {bytes} of {bytes} bytes", self.files.len());
        let source = LakeSource::foreign(Arc::new(parquet), &self.store, read);
        let config = FileScanConfigBuilder::new(self.store.url().clone(), Arc::new(source))
            .with_file_groups(balanced_groups(parts, groups))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
