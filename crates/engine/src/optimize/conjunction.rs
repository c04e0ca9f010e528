//! Conditions of several parts, each asked only of the rows that the parts before have left.
//!
//! DataFusion computes `a AND b AND c` pair by pair: where few rows are left after `a` it takes these out of the whole batch,
//! all its columns, computes `b` for them and puts the answers back in their places, run by run; then the same again for `c`. Here rows are
//! taken out once when few are left, only of the columns that are still asked for, and put back at the end.
//!
//! What always holds: the condition is true for the same rows as before. Where it would be NULL it is false, which is the same to a
//! filter, so only filters get one.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::FilterBuilder;
use arrow::datatypes::{DataType, Schema};
use arrow::util::bit_util;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal, lit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

/// Rows are taken out when at most one in so many is left.
const FEW: usize = 5;

/// Gives filters with several parts their [`Conjunction`]. To be run late: other rules look into conditions.
#[derive(Debug, Default)]
pub(crate) struct NarrowFilters;

impl PhysicalOptimizerRule for NarrowFilters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let narrowed = plan.transform_up(|plan| {
            let filter = plan.downcast_ref::<FilterExec>().map(narrow).transpose()?.flatten();
            Ok(match filter {
                Some(filter) => Transformed::yes(Arc::new(filter) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(plan),
            })
        })?;
        Ok(narrowed.data)
    }

    fn name(&self) -> &str {
        "narrow_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The filter with a conjunction, if that is of use.
fn narrow(filter: &FilterExec) -> Result<Option<FilterExec>> {
    // What equals something tells operators above how rows are ordered, so DataFusion must see it.
    let (plain, mut parts): (Vec<_>, Vec<_>) =
        split_conjunction(filter.predicate()).into_iter().cloned().partition(is_equality);
    if parts.len() < 2 {
        return Ok(None);
    }
    let schema = filter.input().schema();
    parts.sort_by_cached_key(|part| !is_quick(part, &schema));
    let together: Arc<dyn PhysicalExpr> = Arc::new(Conjunction::new(parts));
    let predicate = conjunction(plain.into_iter().chain([together]));
    let narrowed = FilterExecBuilder::from(filter).with_predicate(predicate).build()?;
    // A range of one value is such a thing, too; then all stays as it is.
    let known = |filter: &FilterExec| {
        let properties = filter.properties().equivalence_properties();
        (properties.constants(), properties.oeq_class().clone())
    };
    Ok((known(&narrowed) == known(filter)).then_some(narrowed))
}

fn is_equality(part: &Arc<dyn PhysicalExpr>) -> bool {
    part.downcast_ref::<BinaryExpr>().is_some_and(|part| *part.op() == Operator::Eq)
}

/// Does a condition compare numbers or times with a constant, and nothing else? It cannot fail, so it may come before others, and the
/// others are asked of fewer rows then.
fn is_quick(part: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let Some(comparison) = part.downcast_ref::<BinaryExpr>() else { return false };
    let is_short = |side: &Arc<dyn PhysicalExpr>| {
        side.data_type(schema).is_ok_and(|data_type| data_type.primitive_width().is_some())
    };
    comparison.op().supports_propagation()
        && is_short(comparison.left())
        && match (comparison.left().is::<Column>(), comparison.right().is::<Column>()) {
            (true, false) => comparison.right().is::<Literal>(),
            (false, true) => comparison.left().is::<Literal>(),
            _ => false,
        }
}

/// Several conditions that all must be true; false where one is NULL.
#[derive(Debug)]
pub(crate) struct Conjunction {
    parts: Vec<Arc<dyn PhysicalExpr>>,
    /// The same as DataFusion has it.
    plain: Arc<dyn PhysicalExpr>,
    /// For each part the columns that it and those after it ask for, ascending.
    columns: Vec<Vec<usize>>,
}

impl PartialEq for Conjunction {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Conjunction {}

impl Hash for Conjunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl fmt::Display for Conjunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt(f)
    }
}

impl Conjunction {
    fn new(parts: Vec<Arc<dyn PhysicalExpr>>) -> Conjunction {
        let columns_of = |parts: &[Arc<dyn PhysicalExpr>]| {
            let mut columns: Vec<usize> = parts.iter().flat_map(collect_columns).map(|column| column.index()).collect();
            columns.sort_unstable();
            columns.dedup();
            columns
        };
        let columns = (0..parts.len()).map(|first| columns_of(&parts[first..])).collect();
        let plain = conjunction(parts.iter().cloned());
        Conjunction { parts, plain, columns }
    }

    /// The rows that are true in a mask, in the columns that are asked for from a part on; the others have as many rows of anything.
    fn take_out(&self, batch: &RecordBatch, from: usize, mask: BooleanBuffer, rows: usize) -> Result<RecordBatch> {
        let filter = FilterBuilder::new(&BooleanArray::new(mask, None)).optimize().build();
        let take = |(index, column): (usize, &ArrayRef)| match self.columns[from].binary_search(&index) {
            Ok(_) => filter.filter(column),
            Err(_) => Ok(column.slice(0, rows)),
        };
        let columns = batch.columns().iter().enumerate().map(take).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
    }
}

/// Where a condition is true.
fn truth(values: &BooleanArray) -> BooleanBuffer {
    match values.nulls() {
        Some(nulls) => values.values() & nulls.inner(),
        None => values.values().clone(),
    }
}

/// The answers for the rows that a mask let through, in the places of these rows.
fn put_back(mask: &BooleanBuffer, answers: &BooleanBuffer) -> BooleanBuffer {
    let mut places = vec![0_u8; mask.len().div_ceil(8)];
    for (place, answer) in mask.set_indices().zip(answers) {
        if answer {
            bit_util::set_bit(&mut places, place);
        }
    }
    BooleanBuffer::new(places.into(), 0, mask.len())
}

impl PhysicalExpr for Conjunction {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let none = || Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))));
        let mut rows = batch.clone();
        // What is true so far of `rows`, and the masks by which these were taken out, the last innermost.
        let (mut so_far, mut masks): (Option<BooleanBuffer>, Vec<BooleanBuffer>) = (None, Vec::new());
        for (index, part) in self.parts.iter().enumerate() {
            let values = match part.evaluate(&rows)? {
                ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => continue,
                ColumnarValue::Scalar(_) => return none(),
                ColumnarValue::Array(values) => values,
            };
            let truth = truth(as_boolean_array(&values)?);
            let both = match &so_far {
                Some(so_far) => so_far & &truth,
                None => truth,
            };
            let left = both.count_set_bits();
            if left == 0 {
                return none();
            }
            let last = index + 1 == self.parts.len();
            if !last && left * FEW <= rows.num_rows() {
                rows = self.take_out(&rows, index + 1, both.clone(), left)?;
                masks.push(both);
                so_far = None;
            } else {
                so_far = Some(both);
            }
        }
        let so_far = so_far.or_else(|| masks.pop()).unwrap_or_else(|| BooleanBuffer::new_set(batch.num_rows()));
        let all = masks.iter().rev().fold(so_far, |answers, mask| put_back(mask, &answers));
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(all, None))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.parts.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.as_slice() {
            [] if !self.parts.is_empty() => internal_err!("a conjunction of nothing"),
            [] => Ok(lit(true)),
            _ => Ok(Arc::new(Conjunction::new(children))),
        }
    }

    /// What is sent to another node, which knows no conjunctions of this kind.
    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(Arc::clone(&self.plain)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::Int32Array;
    use arrow::compute::filter_record_batch;
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, col};

    use super::*;

    /// Three columns of pseudorandom numbers from 0 to 99, some NULL.
    fn batch() -> RecordBatch {
        let mut state = 20_261_129_u64;
        let mut column = || {
            let values = (0..1_000).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let value = (state >> 33) % 110;
                i32::try_from(value).ok().filter(|value| *value < 100)
            });
            Arc::new(values.collect::<Int32Array>()) as ArrayRef
        };
        RecordBatch::try_from_iter([("a", column()), ("b", column()), ("c", column())]).unwrap()
    }

    fn less(name: &str, than: i32, schema: &Schema) -> Arc<dyn PhysicalExpr> {
        binary(col(name, schema).unwrap(), Operator::Lt, lit(than), schema).unwrap()
    }

    #[test]
    fn it_lets_the_same_rows_through_as_the_parts_joined_by_and() {
        let batch = batch();
        let schema = batch.schema();
        let rows = |condition: Arc<dyn PhysicalExpr>| {
            let mask = condition.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            filter_record_batch(&batch, as_boolean_array(&mask).unwrap()).unwrap()
        };
        let mut seen = 0;
        for bounds in [[90, 90, 90], [15, 90, 15], [90, 10, 40], [10, 10, 90], [15, 15, 15], [0, 50, 50], [50, 50, 0]] {
            let parts: Vec<_> =
                ["a", "b", "c"].into_iter().zip(bounds).map(|(name, bound)| less(name, bound, &schema)).collect();
            let plain = conjunction(parts.iter().cloned());
            let expected = rows(plain);
            seen += expected.num_rows();
            assert_eq!(rows(Arc::new(Conjunction::new(parts))), expected, "{bounds:?}");
        }
        assert!(seen > 500, "{seen}");
    }

    #[test]
    fn constants_are_parts() {
        let batch = batch();
        let schema = batch.schema();
        let count = |parts: Vec<Arc<dyn PhysicalExpr>>| {
            let mask = Conjunction::new(parts).evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
            as_boolean_array(&mask).unwrap().true_count()
        };
        let null = lit(ScalarValue::Boolean(None));
        assert_eq!(count(vec![lit(true), lit(true)]), 1_000);
        assert_eq!(count(vec![less("a", 50, &schema), null]), 0);
        let some = count(vec![less("a", 10, &schema), lit(true)]);
        assert!((50..150).contains(&some), "{some}");
    }

    #[test]
    fn what_is_taken_out_has_the_columns_in_their_places() {
        let batch = batch();
        let schema = batch.schema();
        let parts = vec![less("c", 10, &schema), less("a", 50, &schema)];
        let mask: BooleanBuffer = (0..1_000).map(|row| row % 100 == 7).collect();
        let rows = Conjunction::new(parts).take_out(&batch, 1, mask, 10).unwrap();
        assert_eq!((rows.num_rows(), rows.schema()), (10, schema));
        assert_eq!(rows.column(0).len(), 10);
        let mut expected = Vec::new();
        let a = batch.column(0);
        (0..10).for_each(|row| expected.push(a.slice(row * 100 + 7, 1)));
        let expected: Vec<&dyn Array> = expected.iter().map(|array| array.as_ref()).collect();
        assert_eq!(rows.column(0), &arrow::compute::concat(&expected).unwrap());
    }

    #[test]
    fn its_text_is_that_of_its_parts() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("c", DataType::Int32, true)]);
        let parts = vec![less("a", 1, &schema), less("c", 2, &schema)];
        let plain = conjunction(parts.iter().cloned());
        assert_eq!(Conjunction::new(parts).to_string(), plain.to_string());
    }
}
