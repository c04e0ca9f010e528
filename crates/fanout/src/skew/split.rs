//! A join whose hot keys are split.

use std::sync::Arc;

use datafusion::common::{NullEquality, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExprRef};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::candidates::divided_by_column;
use super::hot::Hot;
use super::salt::{How, SALT, SaltExec};

/// The join with the rows of hot keys spread; it gives the same columns.
///
/// # Errors
/// A join that is none of the [candidates](super::candidates).
pub(super) fn split(join: &HashJoinExec, hot: &Arc<Hot>) -> Result<Arc<dyn ExecutionPlan>> {
    let copied = match join.null_equality() {
        // A row without a key has no partner, wherever it is.
        NullEquality::NullEqualsNothing => Arc::new(hot.without_null()?),
        NullEquality::NullEqualsNull => Arc::clone(hot),
    };
    let (build, build_salt) = salted(join.left(), How::Copy, &copied)?;
    let (probe, probe_salt) = salted(join.right(), How::Deal, hot)?;
    let mut on = join.on().to_vec();
    on.push((build_salt, probe_salt));
    // Without what the one side would tell the scans of the other: they are in other stages.
    let split = join
        .builder()
        .reset_state()
        .with_on(on)
        .with_projection(Some(without_salts(join)))
        .with_new_children(vec![build, probe])?;
    split.build_exec()
}

/// A side of a join, divided by key and salt, and its salt.
fn salted(
    side: &Arc<dyn ExecutionPlan>,
    how: How,
    hot: &Arc<Hot>,
) -> Result<(Arc<dyn ExecutionPlan>, PhysicalExprRef)> {
    let Some(divided) = divided_by_column(side) else { return internal_err!("a side that is not divided by its key") };
    let Partitioning::Hash(keys, partitions) = divided.repartition.partitioning() else {
        return internal_err!("a side that is not divided by its key");
    };
    let input = Arc::clone(divided.repartition.input());
    let salt: PhysicalExprRef = Arc::new(Column::new(SALT, input.schema().fields().len()));
    let mut keys = keys.clone();
    keys.push(Arc::clone(&salt));
    let input = Arc::new(SaltExec::try_new(input, divided.key, how, Arc::clone(hot))?);
    let divided: Arc<dyn ExecutionPlan> =
        Arc::new(RepartitionExec::try_new(input, Partitioning::Hash(keys, *partitions))?);
    Ok((divided, salt))
}

/// Where the columns that the join gives are, once each side has a salt behind its columns.
fn without_salts(join: &HashJoinExec) -> Vec<usize> {
    let columns = |side: &Arc<dyn ExecutionPlan>| side.schema().fields().len();
    // Up to the first salt, columns stay where they are. What is behind the second salt, the mark of a mark join, comes behind the first
    // one where that is the only one.
    let before = match join.join_type() {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => columns(join.right()),
        _ => columns(join.left()),
    };
    let now = |column: usize| if column < before { column } else { column + 1 };
    match &join.projection {
        Some(projection) => projection.iter().map(|column| now(*column)).collect(),
        None => (0..join.join_schema().fields().len()).map(now).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::catalog::memory::MemorySourceConfig;
    use datafusion::common::ScalarValue;
    use datafusion::execution::TaskContext;
    use datafusion::physical_plan::collect;
    use datafusion::physical_plan::joins::{HashJoinExecBuilder, PartitionMode};

    use super::*;

    const PARTITIONS: usize = 4;

    /// Keys with the numbers of their rows, divided by key.
    fn side(keys: impl IntoIterator<Item = Option<i64>>) -> Arc<dyn ExecutionPlan> {
        let keys: Int64Array = keys.into_iter().collect();
        let numbers = Int64Array::from_iter_values(0..i64::try_from(keys.len()).unwrap());
        let fields = vec![Field::new("n", DataType::Int64, false), Field::new("k", DataType::Int64, true)];
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers), Arc::new(keys)]).unwrap();
        let scan: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap();
        let by: Vec<PhysicalExprRef> = vec![Arc::new(Column::new("k", 1))];
        Arc::new(RepartitionExec::try_new(scan, Partitioning::Hash(by, PARTITIONS)).unwrap())
    }

    fn join(join_type: JoinType, nulls: NullEquality, projection: Option<Vec<usize>>) -> Arc<dyn ExecutionPlan> {
        let build = side([Some(7), Some(8), None, Some(7), Some(10), None]);
        let hot = (0..50).map(|_| Some(7)).chain((0..20).map(|_| None));
        let probe = side(hot.chain([Some(8), Some(9), Some(10), Some(10)]));
        let key = || -> PhysicalExprRef { Arc::new(Column::new("k", 1)) };
        HashJoinExecBuilder::new(build, probe, vec![(key(), key())], join_type)
            .with_partition_mode(PartitionMode::Partitioned)
            .with_null_equality(nulls)
            .with_projection(projection)
            .build_exec()
            .unwrap()
    }

    async fn lines(plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
        let batches = collect(plan, Arc::new(TaskContext::default())).await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    #[tokio::test]
    async fn a_split_join_has_the_same_rows() {
        let hot = vec![ScalarValue::Int64(Some(7)), ScalarValue::Int64(None), ScalarValue::Int64(Some(11))];
        let hot = Arc::new(Hot::spread(hot, PARTITIONS).unwrap());
        let kinds = [
            (JoinType::Inner, Some(vec![3, 0])),
            (JoinType::Right, Some(vec![2, 1])),
            (JoinType::RightSemi, Some(vec![1])),
            (JoinType::RightAnti, Some(vec![0])),
            (JoinType::RightMark, Some(vec![2, 0])),
        ];
        for (join_type, projection) in kinds {
            for nulls in [NullEquality::NullEqualsNothing, NullEquality::NullEqualsNull] {
                for projection in [None, projection.clone()] {
                    let whole = join(join_type, nulls, projection);
                    let split = split(whole.downcast_ref().unwrap(), &hot).unwrap();
                    assert_eq!(split.schema(), whole.schema(), "{join_type}");
                    assert_eq!(lines(split).await, lines(whole).await, "{join_type}, {nulls:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_join_that_gives_no_columns_still_gives_its_rows() {
        let hot = Arc::new(Hot::spread(vec![ScalarValue::Int64(Some(7))], PARTITIONS).unwrap());
        let whole = join(JoinType::Inner, NullEquality::NullEqualsNothing, Some(Vec::new()));
        let split = split(whole.downcast_ref().unwrap(), &hot).unwrap();
        let batches = collect(split, Arc::new(TaskContext::default())).await.unwrap();
        // 50 with two partners, and three with one.
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 103);
    }
}
