//! Which joins can be split without another answer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, Partitioning, PhysicalExprRef};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::InterleaveExec;

/// A join that can be split, if it has hot keys.
pub(super) struct Candidate<'a> {
    pub(super) plan: &'a Arc<dyn ExecutionPlan>,
    pub(super) join: &'a HashJoinExec,
    /// What is below the division of the first side.
    pub(super) build: &'a Arc<dyn ExecutionPlan>,
    /// Which of its columns is the key.
    pub(super) build_key: usize,
    /// The same of the second side.
    pub(super) probe: &'a Arc<dyn ExecutionPlan>,
    pub(super) probe_key: usize,
    /// Into how many partitions they are divided.
    pub(super) partitions: usize,
}

/// By which an operator of a plan is found again.
pub(super) fn address(plan: &Arc<dyn ExecutionPlan>) -> usize {
    Arc::as_ptr(plan).cast::<()>() as usize
}

/// The joins of a plan that can be split.
pub(super) fn candidates(plan: &Arc<dyn ExecutionPlan>) -> Vec<Candidate<'_>> {
    let mut found = Found::default();
    visit(plan, false, &mut found);
    let Found { candidates, relied_on } = found;
    candidates.into_iter().filter(|candidate| !relied_on.contains(&address(candidate.plan))).collect()
}

#[derive(Default)]
struct Found<'a> {
    candidates: Vec<Candidate<'a>>,
    /// The joins above which something relies on where rows are. An operator can be in a plan at two places.
    relied_on: HashSet<usize>,
}

/// `relied`: whether what is above needs the rows of a key in one partition, and no operator between brings them there.
fn visit<'a>(plan: &'a Arc<dyn ExecutionPlan>, relied: bool, found: &mut Found<'a>) {
    if let Some(candidate) = candidate(plan) {
        if relied {
            found.relied_on.insert(address(plan));
        } else {
            found.candidates.push(candidate);
        }
    }
    let requirements = plan.input_distribution_requirements();
    for (index, child) in plan.children().into_iter().enumerate() {
        let relied = match requirements.child_distribution(index) {
            Some(Distribution::SinglePartition) => false,
            #[expect(deprecated, reason = "the former name is still a variant")]
            Some(Distribution::HashPartitioned(_) | Distribution::KeyPartitioned(_)) => true,
            // It takes the same partition of all of its inputs, and was made because they are divided alike.
            Some(Distribution::UnspecifiedDistribution) | None if plan.is::<InterleaveExec>() => true,
            Some(Distribution::UnspecifiedDistribution) | None => relied && !moves_rows(plan),
        };
        visit(child, relied, found);
    }
}

/// Whether an operator's partitions are others than those of its input.
fn moves_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>()
}

/// A join that can be split as far as it is concerned.
fn candidate(plan: &Arc<dyn ExecutionPlan>) -> Option<Candidate<'_>> {
    let join = plan.downcast_ref::<HashJoinExec>()?;
    // By each row of the second side alone, and nothing of the first side that has no partner: it is there several times.
    let by_second_side = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    let ordered = join.properties().output_ordering().is_some();
    if join.mode != PartitionMode::Partitioned || !by_second_side || join.null_aware || ordered {
        return None;
    }
    let [(left, right)] = join.on() else { return None };
    let (build, probe) = (divided_by_column(join.left())?, divided_by_column(join.right())?);
    let is =
        |key: &PhysicalExprRef, column: usize| key.downcast_ref::<Column>().is_some_and(|key| key.index() == column);
    let type_of = |side: &RepartitionExec, key: usize| side.input().schema().field(key).data_type().clone();
    let key_type = type_of(probe.repartition, probe.key);
    let alike = key_type == type_of(build.repartition, build.key) && build.partitions == probe.partitions;
    let fits = is(left, build.key) && is(right, probe.key) && alike;
    // Rows that are all in one partition stay there.
    (fits && probe.partitions > 1 && has_one_form(&key_type)).then(|| Candidate {
        plan,
        join,
        build: build.repartition.input(),
        build_key: build.key,
        probe: probe.repartition.input(),
        probe_key: probe.key,
        partitions: probe.partitions,
    })
}

/// An operator that divides rows by one of their columns.
pub(super) struct Divided<'a> {
    pub(super) repartition: &'a RepartitionExec,
    pub(super) key: usize,
    pub(super) partitions: usize,
}

/// Such an operator, if that is what the plan is.
pub(super) fn divided_by_column(plan: &Arc<dyn ExecutionPlan>) -> Option<Divided<'_>> {
    let repartition = plan.downcast_ref::<RepartitionExec>().filter(|repartition| !repartition.preserve_order())?;
    let Partitioning::Hash(keys, partitions) = repartition.partitioning() else { return None };
    let [key] = keys.as_slice() else { return None };
    Some(Divided { repartition, key: key.downcast_ref::<Column>()?.index(), partitions: *partitions })
}

/// Whether equal values of a type have the same bits, which those of floats do not.
fn has_one_form(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_temporal() && !matches!(data_type, DataType::Interval(_))
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Decimal128(..)
                | DataType::Decimal256(..)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Schema};
    use datafusion::catalog::memory::MemorySourceConfig;
    use datafusion::common::NullEquality;
    use datafusion::physical_plan::joins::HashJoinExecBuilder;

    use super::*;

    fn side(divided: bool) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let scan: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap();
        if divided { by_key(scan) } else { scan }
    }

    fn by_key(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let keys: Vec<PhysicalExprRef> = vec![Arc::new(Column::new("k", 0))];
        Arc::new(RepartitionExec::try_new(plan, Partitioning::Hash(keys, 4)).unwrap())
    }

    fn join(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        join_type: JoinType,
    ) -> Arc<dyn ExecutionPlan> {
        let key = || -> PhysicalExprRef { Arc::new(Column::new("k", 0)) };
        HashJoinExecBuilder::new(left, right, vec![(key(), key())], join_type)
            .with_partition_mode(PartitionMode::Partitioned)
            .with_null_equality(NullEquality::NullEqualsNothing)
            .build_exec()
            .unwrap()
    }

    #[test]
    fn only_joins_by_the_rows_of_the_second_side_can_be_split() {
        for split in [JoinType::Inner, JoinType::Right, JoinType::RightSemi, JoinType::RightAnti, JoinType::RightMark] {
            assert_eq!(candidates(&join(side(true), side(true), split)).len(), 1, "{split}");
        }
        for whole in [JoinType::Left, JoinType::Full, JoinType::LeftSemi, JoinType::LeftAnti, JoinType::LeftMark] {
            assert!(candidates(&join(side(true), side(true), whole)).is_empty(), "{whole}");
        }
    }

    #[test]
    fn a_join_whose_places_are_relied_on_stays_whole() {
        let lower = || join(side(true), side(true), JoinType::Inner);
        // The upper join takes the rows where the lower one has put them, ..
        let upper = join(lower(), side(true), JoinType::Inner);
        assert!(candidates(&upper).is_empty());
        // .. or has them divided again.
        assert_eq!(candidates(&join(by_key(lower()), side(true), JoinType::Inner)).len(), 2);
        // Who gathers rows does not ask where they were.
        let gathered: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(lower()));
        assert_eq!(candidates(&gathered).len(), 1);
    }

    #[test]
    fn equal_floats_are_not_of_one_form() {
        assert!(has_one_form(&DataType::Utf8View) && has_one_form(&DataType::Date32));
        assert!(!has_one_form(&DataType::Float64) && !has_one_form(&DataType::Float32));
    }
}
