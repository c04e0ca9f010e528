//! Columns of Parquet files by field id, and position delete files: <https://iceberg.apache.org/spec/#position-delete-files>.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource_parquet::{DefaultParquetFileReaderFactory, ParquetFileReaderFactory};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::metadata_columns::{
    RESERVED_COL_NAME_DELETE_FILE_PATH, RESERVED_COL_NAME_DELETE_FILE_POS, RESERVED_FIELD_ID_DELETE_FILE_PATH,
    RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use object_store::ObjectStoreExt;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use roaring::RoaringTreemap;

use super::{DeleteStore, only_data_file};
use crate::error::LakeError;
use crate::manifest::Entry;

/// A column to be read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) field_id: i32,
    /// Its name where the file has no field ids; none: such a file is an error.
    pub(super) name: Option<&'static str>,
    pub(super) data_type: DataType,
    /// Its value in a file that lacks it; none: such a file is an error.
    pub(super) missing: Option<ScalarValue>,
}

/// Columns of a Parquet file, batch by batch, each in its wanted type.
///
/// # Errors
/// A file that is missing or damaged; it is named.
pub(super) async fn columns<'a>(
    shared: &'a DeleteStore,
    entry: &'a Entry,
    wanted: &'a [Wanted],
) -> Result<BoxStream<'a, Result<Vec<ArrayRef>, LakeError>>, LakeError> {
    let location = entry.file_path();
    let path = shared.store.path(location)?;
    let file = PartitionedFile::new(path.clone(), entry.file_size_in_bytes());
    let readers = DefaultParquetFileReaderFactory::new(Arc::clone(shared.store.data_files()));
    let reader: Box<dyn AsyncFileReader> = readers.create_reader(0, file, None, &ExecutionPlanMetricsSet::new())?;
    let opened = AssertUnwindSafe(ParquetRecordBatchStreamBuilder::new(reader)).catch_unwind().await;
    let builder = match opened.unwrap_or_else(|_| Err(panicked())) {
        Ok(builder) => builder,
        // The reader makes a text of what the store says, so the store is asked.
        Err(error) => match shared.store.objects().head(&path).await {
            Err(missing) => return Err(LakeError::store(location, missing)),
            Ok(_) => return Err(failed(location, error)),
        },
    };
    let fields = builder.schema().fields();
    let id = |field: &arrow::datatypes::FieldRef| field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse::<i32>().ok();
    let has_ids = fields.iter().any(|field| id(field).is_some());
    let mut roots = Vec::with_capacity(wanted.len());
    for column in wanted {
        let root = fields.iter().position(|field| match column.name {
            Some(name) if !has_ids => field.name() == name,
            _ => id(field) == Some(column.field_id),
        });
        let may_lack = column.missing.is_some() && (has_ids || fields.is_empty());
        if root.is_none() && !may_lack {
            let reason = format!("it has no column with field id {}", column.field_id);
            return Err(LakeError::corrupt(location, reason));
        }
        roots.push(root);
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied().flatten());
    let stream = builder.with_projection(mask).build().map_err(|error| failed(location, error))?;
    let stream = AssertUnwindSafe(stream).catch_unwind().map(move |item| {
        let batch = item.unwrap_or_else(|_| Err(panicked())).map_err(|error| failed(location, error))?;
        arrange(&batch, wanted, &roots).map_err(|error| LakeError::corrupt(location, error))
    });
    Ok(stream.boxed())
}

/// The columns of a batch, which are in the order of the file, in the wanted order.
fn arrange(batch: &RecordBatch, wanted: &[Wanted], roots: &[Option<usize>]) -> Result<Vec<ArrayRef>, DataFusionError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let arranged = wanted.iter().zip(roots).map(|(column, root)| match root {
        None => match &column.missing {
            Some(value) => value.to_array_of_size(batch.num_rows()),
            None => Ok(new_null_array(&column.data_type, batch.num_rows())),
        },
        Some(root) => {
            // Roots that are read come in the file's order, each once.
            let index = roots.iter().flatten().filter(|other| *other < root).count();
            Ok(cast_with_options(batch.column(index), &column.data_type, &options)?)
        }
    });
    arranged.collect()
}

fn failed(location: &str, error: ParquetError) -> LakeError {
    match error {
        ParquetError::External(error) => match error.downcast::<object_store::Error>() {
            Ok(error) => LakeError::store(location, *error),
            Err(error) => LakeError::corrupt(location, error),
        },
        error => LakeError::corrupt(location, error),
    }
}

fn panicked() -> ParquetError {
    ParquetError::General("the decoder panicked".to_owned())
}

/// All positions of a position delete file, by the path of the data file.
pub(super) async fn positions(
    shared: &DeleteStore,
    entry: &Entry,
) -> Result<HashMap<String, RoaringTreemap>, LakeError> {
    let wanted = [
        Wanted {
            field_id: RESERVED_FIELD_ID_DELETE_FILE_PATH,
            name: Some(RESERVED_COL_NAME_DELETE_FILE_PATH),
            data_type: DataType::Utf8,
            missing: None,
        },
        Wanted {
            field_id: RESERVED_FIELD_ID_DELETE_FILE_POS,
            name: Some(RESERVED_COL_NAME_DELETE_FILE_POS),
            data_type: DataType::Int64,
            missing: None,
        },
    ];
    let location = entry.file_path();
    let mut found = HashMap::<String, RoaringTreemap>::new();
    let mut rows = 0;
    let mut batches = columns(shared, entry, &wanted).await?;
    while let Some(columns) = batches.try_next().await? {
        let (paths, positions) = (columns[0].as_string::<i32>(), columns[1].as_primitive::<Int64Type>());
        if paths.null_count() + positions.null_count() > 0 {
            return Err(LakeError::corrupt(location, "it has a NULL"));
        }
        rows += positions.len() as u64;
        let mut begin = 0;
        // The rows are sorted by path, so one lookup serves a run of them; if they are not it is only slower.
        while begin < paths.len() {
            let path = paths.value(begin);
            let run = (begin..paths.len()).take_while(|row| paths.value(*row) == path).count();
            let rows = found.entry(shared.path(path)).or_default();
            for position in &positions.values()[begin..begin + run] {
                let position = u64::try_from(*position);
                rows.insert(position.map_err(|_| LakeError::corrupt(location, "it has a negative position"))?);
            }
            begin += run;
        }
    }
    if rows != entry.record_count() {
        let reason = format!("it has {rows} rows instead of {}", entry.record_count());
        return Err(LakeError::corrupt(location, reason));
    }
    if let Some(only) = only_data_file(entry).map(|only| shared.path(&only))
        && let Some(other) = found.keys().find(|path| **path != only)
    {
        return Err(LakeError::corrupt(location, format!("it names \"{other}\", which its manifest does not")));
    }
    Ok(found)
}
