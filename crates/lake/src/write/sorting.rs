//! Rows in the order of their table, partition by partition, before they are encoded.
//!
//! DataFusion's own sort does it, which spills where the query that makes the rows would. What always holds: it sees nothing of
//! what it sorts before all of it has come, so nothing is encoded before.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::StreamExt;
use iceberg::spec::{NullOrder, SortDirection, SortOrder, Transform};
use tokio::sync::mpsc;

use super::fanout::Partitioner;
use super::settings::WriteOptions;
use crate::error::LakeError;
use crate::partition;
use crate::table::LakeTable;

/// How many batches may wait on either side of the sort.
const BATCHES_IN_FLIGHT: usize = 2;

/// Takes rows in any order.
pub(super) struct Sorter {
    /// Of each column that is only there to be sorted by, what it is made of.
    computed: Vec<(usize, Transform)>,
    extended: SchemaRef,
    input: mpsc::Sender<RecordBatch>,
    output: Sorted,
}

/// Gives rows in order.
pub(super) struct Sorted {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    /// Ends with the receiver of its results, at the latest when this is dropped. None once its end has been reported.
    task: Option<SpawnedTask<()>>,
}

/// The order that rows are to have: the one that is asked for, else the table's. One that is asked for has the id of the table's
/// order that is the same, and the id of no order where there is none.
///
/// # Errors
/// A column that is not there, or that cannot be ordered by.
pub(super) fn order(table: &LakeTable, options: &WriteOptions) -> Result<SortOrder, LakeError> {
    let metadata = table.metadata();
    if options.order.is_empty() {
        return Ok(SortOrder::clone(metadata.default_sort_order()));
    }
    let asked = partition::sort_order(table.iceberg_schema(), &options.order)?;
    let known = metadata.sort_orders_iter().find(|known| known.fields == asked.fields);
    let unknown = SortOrder::unsorted_order().order_id;
    Ok(SortOrder { order_id: known.map_or(unknown, |known| known.order_id), ..asked })
}

impl Sorter {
    /// The sorter for a table that wants one: one with an order, or with partitions that are to be written one after the
    /// other.
    pub(super) fn new(
        table: &LakeTable,
        order: &SortOrder,
        partitioner: &Partitioner,
        options: &WriteOptions,
    ) -> Result<Option<Sorter>, LakeError> {
        let ordered = !order.fields.is_empty();
        let clustered = partitioner.is_partitioned() && (ordered || options.clustered);
        if !ordered && !clustered {
            return Ok(None);
        }
        let mut keys = Vec::new();
        let mut sorts = Vec::new();
        if clustered {
            for term in partitioner.terms() {
                keys.push(*term);
                sorts.push(SortOptions { descending: false, nulls_first: true });
            }
        }
        let fields = table.iceberg_schema().as_struct().fields();
        for field in &order.fields {
            let column = fields.iter().position(|column| column.id == field.source_id);
            // An order is a wish: one whose column is gone does not keep rows from being written.
            let Some(column) = column else { continue };
            keys.push((column, field.transform));
            sorts.push(SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            });
        }
        let stored = table.storage_schema();
        let mut extended: Vec<_> = stored.fields().iter().cloned().collect();
        let mut computed = Vec::new();
        let mut expressions = Vec::new();
        for ((column, transform), options) in keys.into_iter().zip(sorts) {
            let at = match transform {
                Transform::Identity => column,
                transform => {
                    let data_type = partition::result_type(transform, stored.field(column).data_type());
                    extended.push(Arc::new(Field::new(format!("\0sort{}", extended.len()), data_type, true)));
                    computed.push((column, transform));
                    extended.len() - 1
                }
            };
            expressions.push(PhysicalSortExpr::new(Arc::new(Column::new(extended[at].name(), at)), options));
        }
        let extended: SchemaRef = Arc::new(Schema::new(extended));
        let Some(ordering) = LexOrdering::new(expressions) else { return Ok(None) };
        let (input, receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
        let sorted = sort(Arc::clone(&extended), ordering, receiver, options)?;
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        let task = SpawnedTask::spawn(run(sorted, sender));
        let output = Sorted { schema: Arc::clone(stored), batches, task: Some(task) };
        Ok(Some(Sorter { computed, extended, input, output }))
    }

    /// Takes rows in storage types.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        let keys = self.computed.iter().map(|(column, transform)| partition::apply(*transform, batch.column(*column)));
        let keys = keys.collect::<Result<Vec<ArrayRef>, _>>()?;
        let columns = batch.columns().iter().cloned().chain(keys).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.extended), columns)
            .map_err(|error| LakeError::Batch(error.to_string()))?;
        if self.input.send(batch).await.is_ok() {
            return Ok(());
        }
        match self.output.next().await {
            Err(error) => Err(error),
            Ok(_) => Err(LakeError::Task("the sort ended early".to_owned())),
        }
    }

    /// There are no more rows.
    pub(super) fn finish(self) -> Sorted {
        self.output
    }
}

impl Sorted {
    /// The next rows, in storage types.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        let Some(batch) = self.batches.recv().await else {
            // Rows that end because their task has panicked, or was dropped with the runtime, are not all there are.
            if let Some(task) = self.task.take() {
                task.join().await?;
            }
            return Ok(None);
        };
        let columns = batch?.columns()[..self.schema.fields().len()].to_vec();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map(Some)
            .map_err(|error| LakeError::Batch(error.to_string()))
    }
}

fn sort(
    schema: SchemaRef,
    ordering: LexOrdering,
    receiver: mpsc::Receiver<RecordBatch>,
    options: &WriteOptions,
) -> Result<SendableRecordBatchStream, LakeError> {
    let input = Input { schema: Arc::clone(&schema), receiver: Mutex::new(Some(receiver)) };
    let input = StreamingTableExec::try_new(schema, vec![Arc::new(input)], None, [], false, None)?;
    let mut context = TaskContext::default();
    if let Some(runtime) = &options.runtime {
        context = context.with_runtime(Arc::clone(runtime));
    }
    Ok(SortExec::new(ordering, Arc::new(input)).execute(0, Arc::new(context))?)
}

async fn run(mut sorted: SendableRecordBatchStream, sender: mpsc::Sender<Result<RecordBatch, DataFusionError>>) {
    while let Some(batch) = sorted.next().await {
        if sender.send(batch).await.is_err() {
            return;
        }
    }
}

/// What is to be sorted, as DataFusion wants it.
struct Input {
    schema: SchemaRef,
    receiver: Mutex<Option<mpsc::Receiver<RecordBatch>>>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

impl PartitionStream for Input {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let batches = futures::stream::unfold(receiver, |receiver| async {
            let mut receiver = receiver?;
            let batch = receiver.recv().await?;
            Some((Ok(batch), Some(receiver)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug() {
        panic!("a bug");
    }

    #[tokio::test]
    async fn rows_whose_sort_has_panicked_do_not_just_end() {
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        let task = SpawnedTask::spawn(async move {
            bug();
            drop(sender);
        });
        let mut sorted = Sorted { schema: Arc::new(Schema::empty()), batches, task: Some(task) };
        assert!(matches!(sorted.next().await, Err(LakeError::Join { source }) if source.is_panic()));
    }
}
