//! The operator that sees the keys of a join's first side on their way.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::Statistics;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream, StatisticsArgs,
};
use datafusion_distributed::DistributedTaskContext;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::keys::Keys;

/// Which keys are for which filter.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Gathered {
    /// The filter, by its id.
    pub(crate) filter: u64,
    /// The columns with the keys on this side.
    pub(crate) keys: Vec<usize>,
    /// The columns that the filter is over where the join is: names and places.
    pub(crate) probe: Vec<(String, usize)>,
}

/// Passes rows on, and tells the nodes of the query the keys of all rows of its task when the last one has passed.
#[derive(Debug)]
pub(crate) struct GatherKeysExec {
    input: Arc<dyn ExecutionPlan>,
    gathered: Arc<Gathered>,
    task: Arc<Mutex<OfTask>>,
}

/// What a task has seen.
#[derive(Debug)]
struct OfTask {
    keys: Keys,
    /// How many partitions have not ended.
    partitions_left: usize,
}

impl GatherKeysExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, gathered: Arc<Gathered>) -> GatherKeysExec {
        let keys = Keys::new(gathered.keys.len());
        let partitions_left = input.properties().partitioning.partition_count();
        GatherKeysExec { input, gathered, task: Arc::new(Mutex::new(OfTask { keys, partitions_left })) }
    }

    pub(crate) fn gathered(&self) -> &Arc<Gathered> {
        &self.gathered
    }

    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for GatherKeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let names: Vec<&str> = self.gathered.keys.iter().map(|key| schema.field(*key).name().as_str()).collect();
        write!(f, "GatherKeysExec: keys=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for GatherKeysExec {
    fn name(&self) -> &'static str {
        "GatherKeysExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else { return internal_err!("keys are those of one input") };
        Ok(Arc::new(GatherKeysExec::new(input, Arc::clone(&self.gathered))))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => internal_err!("keys are those of one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let Some(exchange) = context.session_config().get_extension::<Exchange>() else { return Ok(rows) };
        let of_partition = Gathering {
            rows,
            keys: Keys::new(self.gathered.keys.len()),
            gathered: Arc::clone(&self.gathered),
            of_task: Arc::clone(&self.task),
            exchange,
            task: DistributedTaskContext::from_ctx(&context),
        };
        let rows = stream::unfold(of_partition, |mut of_partition| async move {
            let next = of_partition.next().await?;
            Some((next, of_partition))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// The rows of a partition, passing.
struct Gathering {
    rows: SendableRecordBatchStream,
    keys: Keys,
    gathered: Arc<Gathered>,
    of_task: Arc<Mutex<OfTask>>,
    exchange: Arc<Exchange>,
    task: Arc<DistributedTaskContext>,
}

impl Gathering {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self.rows.next().await {
            Some(Ok(batch)) => {
                let columns: Vec<ArrayRef> =
                    self.gathered.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
                Some(self.keys.add(&columns).map(|()| batch))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.end();
                None
            }
        }
    }

    fn end(&mut self) {
        let columns = self.gathered.keys.len();
        let keys = std::mem::replace(&mut self.keys, Keys::new(columns));
        let mut of_task = self.of_task.lock();
        of_task.keys.merge(keys);
        of_task.partitions_left = of_task.partitions_left.saturating_sub(1);
        if of_task.partitions_left == 0 {
            let keys = std::mem::replace(&mut of_task.keys, Keys::new(columns)).told();
            drop(of_task);
            self.exchange.tell(self.gathered.filter, &self.task, &keys);
        }
    }
}
