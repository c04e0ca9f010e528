//! Rows that are kept until they may be given out: in memory as long as they are few, then in spill files.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{SendableRecordBatchStream, SpillManager};
use futures::StreamExt;
use futures::stream::BoxStream;
use wharf_values::SqlError;

use crate::cast::as_stored;
use crate::error::{from_datafusion, to_datafusion};

/// How much of them stays in memory.
const MEMORY_BYTES: usize = 8 << 20;

/// Rows in the order in which they came.
#[derive(Clone)]
pub(crate) struct KeptRows {
    spill: SpillManager,
    chunks: VecDeque<Arc<dyn datafusion::execution::spill_file::SpillFile>>,
    last: Vec<RecordBatch>,
    last_bytes: usize,
}

impl KeptRows {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>, schema: SchemaRef) -> KeptRows {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let spill = SpillManager::new(Arc::clone(runtime), metrics, schema);
        KeptRows { spill, chunks: VecDeque::new(), last: Vec::new(), last_bytes: 0 }
    }

    /// Keeps more rows.
    ///
    /// # Errors
    /// `53100` and its like when they cannot be spilled.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        self.last_bytes += batch.get_array_memory_size();
        self.last.push(batch);
        if self.last_bytes > MEMORY_BYTES {
            let batches = std::mem::take(&mut self.last);
            self.last_bytes = 0;
            let file = self.spill.spill_record_batch_and_finish(&batches, "RETURNING").map_err(from_datafusion)?;
            self.chunks.extend(file);
        }
        Ok(())
    }

    /// The rows as a table with these columns, to be read any number of times.
    ///
    /// # Errors
    /// None but for a bug.
    pub(super) fn into_table(self, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>, SqlError> {
        let partition = Arc::new(KeptTable { rows: self, schema: Arc::clone(schema) });
        let table = StreamingTable::try_new(Arc::clone(schema), vec![partition]).map_err(from_datafusion)?;
        Ok(Arc::new(table))
    }

    /// The rows.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<RecordBatch, SqlError>> {
        let KeptRows { spill, chunks, last, .. } = self;
        let files = futures::stream::unfold((chunks, spill, None), |(mut chunks, spill, open)| async move {
            let mut open: Option<SendableRecordBatchStream> = open;
            loop {
                if let Some(stream) = &mut open
                    && let Some(batch) = stream.next().await
                {
                    return Some((batch.map_err(from_datafusion), (chunks, spill, open)));
                }
                let file = chunks.pop_front()?;
                match spill.read_spill_as_stream(file, None) {
                    Ok(stream) => open = Some(stream),
                    Err(error) => return Some((Err(from_datafusion(error)), (VecDeque::new(), spill, None))),
                }
            }
        });
        files.chain(futures::stream::iter(last.into_iter().map(Ok))).boxed()
    }
}

/// Kept rows as a table.
struct KeptTable {
    rows: KeptRows,
    schema: SchemaRef,
}

impl std::fmt::Debug for KeptTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for KeptTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = self.rows.clone().into_stream();
        let rows = rows.map(move |batch| typed(&batch.map_err(to_datafusion)?, &schema));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// A batch at the types of a table's columns, such as texts in one form of Arrow's where they came in another.
fn typed(batch: &RecordBatch, schema: &SchemaRef) -> datafusion::error::Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| as_stored(column, field.data_type()).map_err(to_datafusion));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect::<datafusion::error::Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
