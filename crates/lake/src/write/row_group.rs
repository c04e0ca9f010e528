//! One row group: a task for each column encodes what is sent to it, so that all cores have work.
//!
//! At most [`BATCHES_IN_FLIGHT`] batches wait for each column, besides what is encoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::common::runtime::SpawnedTask;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, compute_leaves};
use parquet::errors::{ParquetError, Result};
use tokio::sync::mpsc;

use super::encoder::EncodedChunk;

/// How many batches may wait for a column.
const BATCHES_IN_FLIGHT: usize = 4;

/// A row group that takes rows.
pub(super) struct RowGroup {
    columns: Vec<Column>,
    rows: usize,
}

struct Column {
    leaves: mpsc::Sender<ArrowLeafColumn>,
    task: SpawnedTask<Result<ArrowColumnChunk>>,
    /// About how many bytes the chunk has.
    size_bytes: Arc<AtomicUsize>,
    nans: u64,
}

/// A row group that is complete and perhaps still being encoded.
pub(super) struct ClosedRowGroup {
    columns: Vec<(SpawnedTask<Result<ArrowColumnChunk>>, u64)>,
}

impl RowGroup {
    pub(super) fn new(writers: Vec<ArrowColumnWriter>) -> RowGroup {
        RowGroup { columns: writers.into_iter().map(Column::new).collect(), rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes it has; what still waits is not counted.
    pub(super) fn size_bytes(&self) -> usize {
        let sizes = self.columns.iter();
        sizes.map(|column| column.size_bytes.load(Ordering::Relaxed)).sum()
    }

    /// Sends rows to the columns. False when a column has failed: closing and [`ClosedRowGroup::chunks`] say why.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        let schema = batch.schema();
        let values = schema.fields().iter().zip(batch.columns());
        for ((field, array), column) in values.zip(&mut self.columns) {
            column.nans += nan_count(array);
            for leaf in compute_leaves(field, array)? {
                if column.leaves.send(leaf).await.is_err() {
                    return Ok(false);
                }
            }
        }
        self.rows += batch.num_rows();
        Ok(true)
    }

    pub(super) fn close(self) -> ClosedRowGroup {
        // Dropping a sender tells its column that there is no more.
        let columns = self.columns.into_iter().map(|column| (column.task, column.nans));
        ClosedRowGroup { columns: columns.collect() }
    }
}

impl Column {
    fn new(mut writer: ArrowColumnWriter) -> Column {
        let (leaves, mut receiver) = mpsc::channel::<ArrowLeafColumn>(BATCHES_IN_FLIGHT);
        let size_bytes = Arc::new(AtomicUsize::new(0));
        let size = Arc::clone(&size_bytes);
        let task = SpawnedTask::spawn(async move {
            while let Some(leaf) = receiver.recv().await {
                writer.write(&leaf)?;
                size.store(writer.get_estimated_total_bytes(), Ordering::Relaxed);
            }
            writer.close()
        });
        Column { leaves, task, size_bytes, nans: 0 }
    }
}

impl ClosedRowGroup {
    /// The chunks of all columns, when they are encoded.
    pub(super) async fn chunks(self) -> Result<Vec<EncodedChunk>> {
        let mut chunks = Vec::with_capacity(self.columns.len());
        for (task, nans) in self.columns {
            let chunk = task.join().await.map_err(|error| ParquetError::External(Box::new(error)))??;
            chunks.push(EncodedChunk { chunk, nans });
        }
        Ok(chunks)
    }
}

/// Encodes a few rows at once, without tasks.
pub(super) fn encode_now(writers: Vec<ArrowColumnWriter>, batches: &[RecordBatch]) -> Result<Vec<EncodedChunk>> {
    let columns = writers.into_iter().enumerate();
    columns
        .map(|(index, mut writer)| {
            let mut nans = 0;
            for batch in batches {
                let array = batch.column(index);
                nans += nan_count(array);
                for leaf in compute_leaves(batch.schema_ref().field(index), array)? {
                    writer.write(&leaf)?;
                }
            }
            let chunk = writer.close()?;
            Ok(EncodedChunk { chunk, nans })
        })
        .collect()
}

/// How many values of a column are NaN; its metrics leave them out.
fn nan_count(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Float32 => count(array.as_primitive::<Float32Type>(), |value| value.is_nan()),
        DataType::Float64 => count(array.as_primitive::<Float64Type>(), |value| value.is_nan()),
        _ => 0,
    }
}

fn count<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, is_nan: impl Fn(T::Native) -> bool) -> u64 {
    let nans = match array.nulls() {
        None => array.values().iter().filter(|value| is_nan(**value)).count(),
        Some(_) => array.iter().flatten().filter(|value| is_nan(*value)).count(),
    };
    nans as u64
}
