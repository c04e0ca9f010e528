//! A scan on its way to another node.
//!
//! DataFusion can write a Parquet scan down, but not what makes it one of a table: where columns are in files, the values of those
//! that a file lacks, which rows are deleted, how files are read and what their errors say. So a scan is taken apart into a plain
//! one, for DataFusion to write down, and bytes with the rest; where it arrives, both are put together over the store and the caches
//! of that node. Every node has the same warehouse; a scan of another one is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource_parquet::CachedParquetFileReaderFactory;
use serde::{Deserialize, Serialize};

use super::bundles::unbundled;
use super::field_ids::FieldIds;
use super::source::{LakeSource, balanced_groups, deletes_of};
use crate::deletes::{DeleteStore, FileDeletes, WireDeletes, columns_from_row, columns_to_row};
use crate::warehouse::Warehouse;

/// What a plain scan lacks.
#[derive(Deserialize, Serialize)]
struct Rest {
    warehouse: String,
    read: String,
    ids: BTreeMap<String, i32>,
    /// The values of columns that files may lack: a row, by the columns' names.
    initial: Option<String>,
    /// The columns that have no values where a file lacks them.
    #[serde(default)]
    absent: BTreeSet<String>,
    deletes: Vec<WireDeletes>,
    /// The columns that equality deletes can speak of, when there are such deletes.
    equality: Option<Equality>,
    /// For each file of the scan, which of the deletes are its own.
    files: Vec<Option<usize>>,
}

#[derive(Deserialize, Serialize)]
struct Equality {
    row: String,
    others: Vec<i32>,
}

/// A scan of a table as a plain Parquet scan and the rest; none when the plan is not one that can travel: not a scan of a table's files,
/// or one that says where rows are.
///
/// # Errors
/// Values that Arrow cannot write down.
pub fn take_apart(plan: &Arc<dyn ExecutionPlan>, warehouse: &Warehouse) -> Result<Option<(FileScanConfig, Vec<u8>)>> {
    let Some((config, source)) = lake_scan(plan) else { return Ok(None) };
    let Some(field_ids) = &source.field_ids else { return Ok(None) };
    if !config.file_source().table_schema().virtual_columns().is_empty() {
        return Ok(None);
    }
    let mut config = config.clone();
    for group in &mut config.file_groups {
        *group = FileGroup::new(unbundled(group.iter())?);
    }
    let mut deletes: Vec<&Arc<FileDeletes>> = Vec::new();
    let mut known: HashMap<*const FileDeletes, usize> = HashMap::new();
    let mut files = Vec::new();
    for file in config.file_groups.iter().flat_map(FileGroup::iter) {
        let found = deletes_of(file).map(|found| {
            *known.entry(Arc::as_ptr(found)).or_insert_with(|| {
                deletes.push(found);
                deletes.len() - 1
            })
        });
        files.push(found);
    }
    let shared = deletes.iter().find(|deletes| !deletes.equality.is_empty()).map(|deletes| &deletes.shared);
    let equality = match shared {
        Some(shared) => {
            let (row, others) = columns_to_row(&shared.columns)?;
            Some(Equality { row: written(&row)?, others })
        }
        None => None,
    };
    let rest = Rest {
        warehouse: warehouse.url(),
        read: source.read.to_string(),
        ids: field_ids.ids.iter().map(|(name, id)| (name.clone(), *id)).collect(),
        initial: match field_ids.initial.is_empty() {
            true => None,
            false => Some(written(&values_to_row(&field_ids.initial)?)?),
        },
        absent: field_ids.absent.iter().cloned().collect(),
        deletes: deletes.into_iter().map(|deletes| WireDeletes::of(deletes)).collect(),
        equality,
        files,
    };
    let rest = serde_json::to_vec(&rest).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let plain = FileScanConfigBuilder::from(config).with_source(Arc::clone(source.inner())).build();
    Ok(Some((plain, rest)))
}

/// A scan of a table of what [`take_apart`] has made of it.
///
/// # Errors
/// What no node of ours has written, and a scan of another warehouse.
pub fn put_together(
    plain: &Arc<dyn ExecutionPlan>,
    rest: &[u8],
    warehouse: &Warehouse,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    let rest: Rest = serde_json::from_slice(rest).map_err(|error| DataFusionError::External(Box::new(error)))?;
    if rest.warehouse != warehouse.url() {
        return internal_err!("a scan of the warehouse {} on a node of {}", rest.warehouse, warehouse.url());
    }
    let Some(config) = file_scan(plain) else { return internal_err!("not a scan of files") };
    let Some(parquet) = config.file_source().downcast_ref::<ParquetSource>() else {
        return internal_err!("not a scan of Parquet files");
    };
    let store = warehouse.store();
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let readers = CachedParquetFileReaderFactory::new(Arc::clone(store.data_files()), footers);
    let mut parquet = parquet.clone().with_parquet_file_reader_factory(Arc::new(readers));
    if let Some(hint) = parquet.table_parquet_options().global.metadata_size_hint {
        parquet = parquet.with_metadata_size_hint(hint);
    }
    let initial = rest.initial.as_deref().map(read_back).transpose()?;
    let initial = initial.as_ref().map(values_from_row).transpose()?.unwrap_or_default();
    let absent = rest.absent.into_iter().collect();
    let field_ids = Arc::new(FieldIds { ids: rest.ids.into_iter().collect(), initial, absent });
    let columns = match &rest.equality {
        Some(equality) => columns_from_row(&read_back(&equality.row)?, &equality.others)?,
        None => BTreeMap::new(),
    };
    let shared = DeleteStore::new(store, warehouse.delete_cache(), columns);
    let deletes = rest.deletes.into_iter().map(|deletes| Ok(Arc::new(deletes.arrive(&shared)?)));
    let deletes = deletes.collect::<Result<Vec<_>>>()?;
    let mut files = rest.files.into_iter();
    let mut file_groups = Vec::with_capacity(config.file_groups.len());
    for group in &config.file_groups {
        let mut members = Vec::with_capacity(group.len());
        for file in group.iter().cloned() {
            members.push(match files.next() {
                Some(None) => file,
                Some(Some(index)) if index < deletes.len() => file.with_extension(Arc::clone(&deletes[index])),
                _ => return internal_err!("a scan with more files than it says"),
            });
        }
        file_groups.push(FileGroup::new(members));
    }
    let source = LakeSource::arrived(Arc::new(parquet), store, &field_ids, rest.read);
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(source))
        .with_file_groups(file_groups)
        .with_expr_adapter(Some(field_ids as _))
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

/// A scan of a table divided among `owners` tasks, each of whose scans has as many partitions as the whole has; none when the plan is
/// not such a scan. `owner` says who of so many should read a part of a file, given the path and where the part begins, the best first.
pub fn deal(
    plan: &Arc<dyn ExecutionPlan>,
    owners: usize,
    owner: impl Fn(&str, i64) -> Vec<usize>,
) -> Option<Vec<Arc<dyn ExecutionPlan>>> {
    let (config, _) = lake_scan(plan)?;
    let partitions = config.file_groups.len();
    let mut parts = parts_of(config)?;
    let total: u64 = parts.iter().map(|part| part.effective_size().max(1)).sum();
    // Nobody gets more than a little beyond the others, whomever the parts would like best: all wait for who reads the most.
    let fair = total.div_ceil(owners.max(1) as u64);
    let limit = fair + fair / 20;
    parts.sort_by_key(|part| std::cmp::Reverse(part.effective_size()));
    let mut dealt = vec![(0_u64, Vec::new()); owners.max(1)];
    for part in parts {
        let begins = part.range.as_ref().map_or(0, |range| range.start);
        let size = part.effective_size().max(1);
        let wanted = owner(part.path().as_ref(), begins);
        let fits = wanted.iter().copied().find(|index| dealt.get(*index).is_some_and(|(sum, _)| sum + size <= limit));
        let lightest = || (0..dealt.len()).min_by_key(|index| dealt[*index].0).unwrap_or_default();
        let index = fits.unwrap_or_else(lightest);
        dealt[index].0 += size;
        dealt[index].1.push(part);
    }
    let scan = |parts: Vec<PartitionedFile>| {
        let mut groups = balanced_groups(parts, partitions);
        groups.resize_with(partitions, FileGroup::default);
        let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build();
        DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>
    };
    Some(dealt.into_iter().map(|(_, parts)| scan(parts)).collect())
}

/// About how many bytes of files a scan reads: those of its columns, where it is known how much of the files these take. None when
/// the plan is no scan of files.
pub fn bytes_read(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let config = file_scan(plan)?;
    let of = config.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::effective_size).sum();
    let source = config.file_source().downcast_ref::<LakeSource>();
    Some(source.map_or(of, |source| source.bytes_read(of)))
}

/// Whether a plan is a scan of a table.
pub fn is_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    lake_scan(plan).is_some()
}

/// How many parts of files a scan reads, which is among how many tasks it can be [dealt](deal). None when the plan is no scan of a table.
pub fn parts_read(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let (config, _) = lake_scan(plan)?;
    Some(parts_of(config)?.len())
}

/// The largest part of a file that a scan of a table reads: the path, and where the part begins. None when the plan is no such scan, or one
/// of no files.
pub fn largest_part(plan: &Arc<dyn ExecutionPlan>) -> Option<(String, i64)> {
    let (config, _) = lake_scan(plan)?;
    let largest = parts_of(config)?.into_iter().max_by_key(PartitionedFile::effective_size)?;
    let begins = largest.range.as_ref().map_or(0, |range| range.start);
    Some((largest.path().to_string(), begins))
}

/// The parts of files that a scan reads, one by one. None where those of a bundle cannot be told.
fn parts_of(config: &FileScanConfig) -> Option<Vec<PartitionedFile>> {
    unbundled(config.file_groups.iter().flat_map(FileGroup::iter)).ok()
}

fn file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

pub(super) fn lake_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &LakeSource)> {
    let config = file_scan(plan)?;
    Some((config, config.file_source().downcast_ref::<LakeSource>()?))
}

fn values_to_row(values: &HashMap<String, ScalarValue>) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<_>, Vec<_>) = values
        .iter()
        .map(|(name, value)| Ok((Field::new(name, value.data_type(), true), value.to_array()?)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
}

fn values_from_row(row: &RecordBatch) -> Result<HashMap<String, ScalarValue>> {
    let columns = row.schema_ref().fields().iter().zip(row.columns());
    columns.map(|(field, values)| Ok((field.name().clone(), ScalarValue::try_from_array(values, 0)?))).collect()
}

fn written(row: &RecordBatch) -> Result<String> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, row.schema_ref())?;
    writer.write(row)?;
    writer.finish()?;
    drop(writer);
    Ok(BASE64.encode(bytes))
}

fn read_back(text: &str) -> Result<RecordBatch> {
    let bytes = BASE64.decode(text).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    match reader.next() {
        Some(row) if row.as_ref().map_or(true, |row| row.num_rows() == 1) => Ok(row?),
        _ => internal_err!("not one row"),
    }
}
