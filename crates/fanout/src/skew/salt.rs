//! The operator that gives rows their salts.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DataFusionError, Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    SendableRecordBatchStream, StatisticsArgs,
};
use datafusion_distributed::DistributedTaskContext;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::hot::{Hot, WireHot};
use super::rows::{Copies, Dealer, Salting};

/// The name of the column with the salt. Columns go by their places wherever it is, so another one may have that name.
pub(super) const SALT: &str = "<salt>";

/// What becomes of the rows of hot keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum How {
    /// Each has one of the salts.
    Deal,
    /// Each is there with all of the salts.
    Copy,
}

/// The rows of its input with a salt in a column behind the others.
#[derive(Debug)]
pub(crate) struct SaltExec {
    input: Arc<dyn ExecutionPlan>,
    /// Which column is the key.
    key: usize,
    how: How,
    hot: Arc<Hot>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// As it travels, without its input.
#[derive(Deserialize, Serialize)]
struct WireSalt {
    key: usize,
    how: How,
    hot: WireHot,
}

impl SaltExec {
    /// # Errors
    /// A key that the input does not have, or of another type than the hot ones.
    pub(super) fn try_new(input: Arc<dyn ExecutionPlan>, key: usize, how: How, hot: Arc<Hot>) -> Result<SaltExec> {
        let schema = input.schema();
        if schema.fields().get(key).is_none_or(|field| field.data_type() != hot.data_type()) {
            return internal_err!("hot keys of type {} for another column", hot.data_type());
        }
        let properties = Arc::new(properties(&input, with_salt(&schema))?);
        Ok(SaltExec { input, key, how, hot, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// All of it but its input.
    ///
    /// # Errors
    /// What Arrow cannot write down.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let wire = WireSalt { key: self.key, how: self.how, hot: self.hot.to_wire()? };
        serde_json::to_vec(&wire).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// What was written so, over an input.
    ///
    /// # Errors
    /// What no node of this version has written.
    pub(crate) fn from_bytes(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<SaltExec> {
        let wire: WireSalt =
            serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        SaltExec::try_new(input, wire.key, wire.how, Arc::new(Hot::from_wire(wire.hot)?))
    }
}

fn with_salt(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(SALT, DataType::Int32, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// What is equal or constant in the input still is. An order is not promised: nothing that divides rows would keep it.
fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Result<PlanProperties> {
    let mut known = EquivalenceProperties::new(schema);
    known.add_equivalence_group(input.equivalence_properties().eq_group().clone())?;
    let partitions = input.output_partitioning().partition_count();
    let partitioning = Partitioning::UnknownPartitioning(partitions);
    Ok(PlanProperties::new(known, partitioning, input.pipeline_behavior(), input.boundedness()))
}

impl DisplayAs for SaltExec {
    /// Without the keys, which may be what not everyone may see.
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Deal => "deal",
            How::Copy => "copy",
        };
        let schema = self.input.schema();
        let name = schema.field(self.key).name();
        write!(f, "SaltExec: {how}, key={name}@{}, hot={}, ways={}", self.key, self.hot.len(), self.hot.ways())
    }
}

impl ExecutionPlan for SaltExec {
    fn name(&self) -> &'static str {
        "SaltExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("what gives salts has one input".to_owned()))?;
        Ok(Arc::new(SaltExec::try_new(input, self.key, self.how, Arc::clone(&self.hot))?))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let salting = Salting {
            hot: Arc::clone(&self.hot),
            key: self.key,
            schema: self.schema(),
            batch_rows: context.session_config().batch_size(),
            elapsed: metrics.elapsed_compute().clone(),
        };
        let task = DistributedTaskContext::from_ctx(&context).task_index;
        let rows = self.input.execute(partition, context)?;
        let rows = match self.how {
            How::Deal => {
                let partitions = self.properties.partitioning.partition_count();
                let mut dealer = Dealer::new(salting, task * partitions + partition);
                rows.map(move |batch| dealer.deal(&batch?)).boxed()
            }
            How::Copy => {
                let copies = rows.map(move |batch| Copies::new(&salting, batch?));
                copies.map_ok(stream::iter).try_flatten().boxed()
            }
        };
        let rows = rows.inspect(move |next| {
            if let Ok(batch) = next {
                metrics.record_output(batch.num_rows());
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let [input] = inputs else { return internal_err!("what gives salts has one input") };
        let mut statistics = match self.how {
            How::Deal => Statistics::clone(input),
            How::Copy => Statistics::clone(input).to_inexact(),
        };
        statistics.column_statistics.push(ColumnStatistics::new_unknown());
        Ok(Arc::new(statistics))
    }

    /// Of the few rows that are copied, nothing is said: this decides on how many nodes what follows runs.
    fn cardinality_effect(&self) -> CardinalityEffect {
        match self.how {
            How::Deal => CardinalityEffect::Equal,
            How::Copy => CardinalityEffect::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::{Int32Type, Int64Type};
    use datafusion::catalog::memory::MemorySourceConfig;
    use datafusion::common::ScalarValue;
    use datafusion::physical_expr::PhysicalExprRef;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::collect;
    use datafusion::physical_plan::repartition::RepartitionExec;
    use datafusion::prelude::SessionConfig;

    use super::*;

    const WAYS: usize = 6;

    fn scan(batches: Vec<ArrayRef>) -> Arc<dyn ExecutionPlan> {
        let field = Field::new("k", batches[0].data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let batches: Vec<_> =
            batches.into_iter().map(|keys| RecordBatch::try_new(Arc::clone(&schema), vec![keys]).unwrap()).collect();
        MemorySourceConfig::try_new_exec(&[batches], schema, None).unwrap()
    }

    fn numbers(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
        Arc::new(values.into_iter().collect::<Int64Array>())
    }

    fn salted(input: Arc<dyn ExecutionPlan>, how: How, hot: Vec<ScalarValue>) -> Arc<dyn ExecutionPlan> {
        let hot = Arc::new(Hot::spread(hot, WAYS).unwrap());
        Arc::new(SaltExec::try_new(input, 0, how, hot).unwrap())
    }

    fn task(batch_rows: usize) -> Arc<TaskContext> {
        let config = SessionConfig::new().with_batch_size(batch_rows);
        Arc::new(TaskContext::default().with_session_config(config))
    }

    /// How often each pair of key and salt is there.
    fn pairs(batches: &[RecordBatch]) -> BTreeMap<(Option<i64>, i32), usize> {
        let mut pairs = BTreeMap::new();
        for batch in batches {
            let keys = batch.column(0).as_primitive::<Int64Type>();
            let salts = batch.column(1).as_primitive::<Int32Type>();
            for (key, salt) in keys.iter().zip(salts.values()) {
                *pairs.entry((key, *salt)).or_default() += 1;
            }
        }
        pairs
    }

    #[tokio::test]
    async fn rows_of_hot_keys_are_dealt_in_turn() {
        // Two batches, whose turns go on: 610 rows of 7, 20 without a key.
        let first = numbers((0..400).map(|_| Some(7)).chain([Some(8), None]).chain((0..9).map(|_| None)));
        let second = numbers((0..210).map(|_| Some(7)).chain((0..10).map(|_| None)).chain([Some(9)]));
        let hot = vec![ScalarValue::Int64(Some(7)), ScalarValue::Int64(None)];
        let dealt = salted(scan(vec![first, second]), How::Deal, hot);
        let pairs = pairs(&collect(dealt, task(8192)).await.unwrap());
        let of = |wanted: Option<i64>| -> Vec<usize> {
            pairs.iter().filter(|((key, _), _)| *key == wanted).map(|(_, count)| *count).collect()
        };
        let (sevens, nulls) = (of(Some(7)), of(None));
        assert_eq!((sevens.len(), sevens.iter().sum::<usize>()), (WAYS, 610));
        assert!(sevens.iter().all(|count| (101..=102).contains(count)), "{sevens:?}");
        assert_eq!((nulls.len(), nulls.iter().sum::<usize>()), (WAYS, 20));
        assert!(nulls.iter().all(|count| (3..=4).contains(count)), "{nulls:?}");
        assert_eq!((pairs[&(Some(8), 0)], pairs[&(Some(9), 0)]), (1, 1));
    }

    #[tokio::test]
    async fn what_is_dealt_is_divided_evenly() {
        let dealt =
            salted(scan(vec![numbers((0..600).map(|_| Some(7)))]), How::Deal, vec![ScalarValue::Int64(Some(7))]);
        let keys: Vec<PhysicalExprRef> = vec![Arc::new(Column::new("k", 0)), Arc::new(Column::new(SALT, 1))];
        let divided: Arc<dyn ExecutionPlan> =
            Arc::new(RepartitionExec::try_new(dealt, Partitioning::Hash(keys, WAYS)).unwrap());
        let task = task(8192);
        let streams: Vec<_> =
            (0..WAYS).map(|partition| divided.execute(partition, Arc::clone(&task)).unwrap()).collect();
        for stream in streams {
            let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
        }
    }

    #[tokio::test]
    async fn rows_of_hot_keys_are_copied_with_all_salts() {
        let first = numbers([Some(7), Some(8), None, Some(7)]);
        let second = numbers([Some(9)]);
        let copied = salted(scan(vec![first, second]), How::Copy, vec![ScalarValue::Int64(Some(7))]);
        let batches = collect(copied, task(4)).await.unwrap();
        // No batch is longer than it may be.
        assert!(batches.iter().all(|batch| (1..=4).contains(&batch.num_rows())), "{batches:?}");
        let pairs = pairs(&batches);
        let sevens: Vec<_> = pairs.iter().filter(|((key, _), _)| *key == Some(7)).map(|(_, count)| *count).collect();
        assert_eq!(sevens, [2; WAYS]);
        for once in [Some(8), Some(9), None] {
            assert_eq!(pairs[&(once, 0)], 1);
        }
        assert_eq!(pairs.len(), WAYS + 3);
    }

    #[tokio::test]
    async fn texts_are_keys_too() {
        let keys: ArrayRef = Arc::new(StringViewArray::from(vec![Some("hot"), Some("cold"), Some("hot"), None]));
        let copied = salted(scan(vec![keys]), How::Copy, vec![ScalarValue::Utf8View(Some("hot".to_owned()))]);
        let rows: usize = collect(copied, task(8192)).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 2 * WAYS + 2);
    }

    #[test]
    fn it_arrives_as_it_was_sent_and_keeps_keys_to_itself() {
        let input = scan(vec![numbers([Some(7_777)])]);
        let sent = salted(Arc::clone(&input), How::Deal, vec![ScalarValue::Int64(Some(7_777))]);
        let bytes = sent.downcast_ref::<SaltExec>().unwrap().to_bytes().unwrap();
        let arrived: Arc<dyn ExecutionPlan> = Arc::new(SaltExec::from_bytes(&bytes, input).unwrap());
        let text = |plan: &Arc<dyn ExecutionPlan>| {
            datafusion::physical_plan::display::DisplayableExecutionPlan::new(plan.as_ref()).one_line().to_string()
        };
        assert_eq!(text(&arrived), text(&sent));
        assert_eq!(text(&sent).trim_end(), "SaltExec: deal, key=k@0, hot=1, ways=6");
        assert_eq!(arrived.schema(), sent.schema());
    }

    #[test]
    fn hot_keys_of_another_type_are_refused() {
        let hot = Arc::new(Hot::spread(vec![ScalarValue::Int32(Some(7))], WAYS).unwrap());
        assert!(SaltExec::try_new(scan(vec![numbers([Some(7)])]), 0, How::Deal, hot).is_err());
    }
}
