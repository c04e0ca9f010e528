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
/// What a text, or a list, is supposed to take as long as nothing is known.
const VIEW_BYTES: usize = 16;

/// A row group that takes rows.
pub(super) struct RowGroup {
    columns: Vec<Column>,
    rows: usize,
}

struct Column {
    /// Values, and how many rows the group has with them.
    leaves: mpsc::Sender<(ArrowLeafColumn, usize)>,
    task: SpawnedTask<Result<ArrowColumnChunk>>,
    encoded: Arc<Encoded>,
    /// What a value takes, about, as long as none is encoded.
    value_bytes: usize,
    nans: u64,
}

/// How far the encoding of a column chunk has come.
#[derive(Default)]
struct Encoded {
    /// About how many bytes the chunk has.
    size_bytes: AtomicUsize,
    /// How many rows are in it.
    rows: AtomicUsize,
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
        sizes.map(|column| column.encoded.size_bytes.load(Ordering::Relaxed)).sum()
    }

    /// About how many bytes it will have when what still waits is encoded, too.
    pub(super) fn final_bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.final_bytes(self.rows)).sum()
    }

    /// Sends rows to the columns. False when a column has failed: closing and [`ClosedRowGroup::chunks`] say why.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        let schema = batch.schema();
        self.rows += batch.num_rows();
        let values = schema.fields().iter().zip(batch.columns());
        for ((field, array), column) in values.zip(&mut self.columns) {
            column.nans += nan_count(array);
            column.value_bytes = array.data_type().primitive_width().unwrap_or(VIEW_BYTES);
            for leaf in compute_leaves(field, array)? {
                if column.leaves.send((leaf, self.rows)).await.is_err() {
                    return Ok(false);
                }
            }
        }
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
        let (leaves, mut receiver) = mpsc::channel::<(ArrowLeafColumn, usize)>(BATCHES_IN_FLIGHT);
        let encoded = Arc::new(Encoded::default());
        let progress = Arc::clone(&encoded);
        let task = SpawnedTask::spawn(async move {
            while let Some((leaf, rows)) = receiver.recv().await {
                writer.write(&leaf)?;
                progress.size_bytes.store(writer.get_estimated_total_bytes(), Ordering::Relaxed);
                progress.rows.store(rows, Ordering::Relaxed);
            }
            writer.close()
        });
        Column { leaves, task, encoded, value_bytes: 0, nans: 0 }
    }

    fn final_bytes(&self, rows: usize) -> u64 {
        let encoded = self.encoded.rows.load(Ordering::Relaxed) as u64;
        let size_bytes = self.encoded.size_bytes.load(Ordering::Relaxed) as u64;
        let rows = rows as u64;
        match encoded {
            0 => rows.saturating_mul(self.value_bytes as u64),
            _ => size_bytes.saturating_mul(rows) / encoded,
        }
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
