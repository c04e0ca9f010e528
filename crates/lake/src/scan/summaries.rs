//! Which manifests can list files with rows that a filter wants, by what the manifest list says of their partitions:
//! <https://iceberg.apache.org/spec/#manifest-lists>.
//!
//! What always holds: a manifest that is left out lists no partition with such a row; what cannot be decided is kept. So it is right for
//! manifests of deletes, too: deletes apply to files of their own partition, of which no row is wanted, and those that
//! apply to files of any partition are of a specification without fields, of which nothing is said.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use iceberg::spec::{Datum, FieldSummary, ManifestFile, PrimitiveLiteral, PrimitiveType, Transform};

use super::partitions::{PartitionPlace, PartitionedColumn};
use super::prune;
use crate::manifest;
use crate::partition::{SourceRange, bucket_of, source_range};
use crate::table::{LakeTable, listed_files};

/// Of each manifest whether it may list files with rows for which all filters are true, or deletes of such rows; none when all may.
pub(super) fn matching(
    table: &LakeTable,
    manifests: &[ManifestFile],
    filters: &[Expr],
    session: &dyn Session,
) -> Option<Vec<bool>> {
    if filters.is_empty() || manifests.iter().all(|file| fields(file).is_empty()) {
        return None;
    }
    let mut wanted = evaluate(table, manifests, filters, session).unwrap_or_else(|error| {
        tracing::debug!(%error, "manifests are not pruned");
        None
    })?;
    for (wanted, file) in wanted.iter_mut().zip(manifests) {
        // How many files are left out is said of every scan.
        *wanted |= listed_files(file).is_none();
    }
    let live = wanted.iter().zip(manifests).filter(|(_, file)| manifest::is_live(file));
    live.clone().any(|(wanted, _)| !wanted).then_some(wanted)
}

/// Of each manifest whether its files are among the first that together have so many rows; none when that are all, or when
/// nobody knows.
pub(super) fn enough(manifests: &[ManifestFile], limit: u64) -> Option<Vec<bool>> {
    let live = || manifests.iter().filter(|file| manifest::is_live(file));
    if live().any(|file| manifest::has_deletes(file) || listed_files(file).is_none()) {
        return None;
    }
    let mut rows = 0_u64;
    let wanted: Vec<bool> = manifests
        .iter()
        .map(|file| {
            let wanted = rows < limit;
            let known = file.added_rows_count.zip(file.existing_rows_count);
            rows = rows.saturating_add(known.map_or(0, |(added, existing)| added.saturating_add(existing)));
            wanted
        })
        .collect();
    wanted.contains(&false).then_some(wanted)
}

fn evaluate(
    table: &LakeTable,
    manifests: &[ManifestFile],
    filters: &[Expr],
    session: &dyn Session,
) -> Result<Option<Vec<bool>>> {
    let schema = table.schema();
    let Some(predicate) = prune::predicate(&schema, filters, session)? else { return Ok(None) };
    predicate.prune(&Summaries { table, manifests, schema: &schema }).map(Some)
}

fn fields(file: &ManifestFile) -> &[FieldSummary] {
    file.partitions.as_deref().unwrap_or_default()
}

/// What a manifest list says of the columns of a table.
struct Summaries<'a> {
    table: &'a LakeTable,
    manifests: &'a [ManifestFile],
    schema: &'a SchemaRef,
}

impl Summaries<'_> {
    fn column(&self, column: &Column) -> Option<(usize, PartitionedColumn)> {
        let index = self.schema.index_of(column.name()).ok()?;
        Some((index, PartitionedColumn::new(self.table, index)?))
    }

    /// A bound of a column for each manifest.
    fn bounds(&self, column: &Column, pick: impl Fn(SourceRange) -> Option<PrimitiveLiteral>) -> Option<ArrayRef> {
        let (index, partitioned) = self.column(column)?;
        let unknown = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let bounds = self.manifests.iter().map(|file| {
            let known = partitioned
                .summaries(file)
                .find_map(|(place, summary)| partitioned.seen(&pick(range(place, partitioned.source(), summary))?));
            known.unwrap_or_else(|| unknown.clone())
        });
        ScalarValue::iter_to_array(bounds.collect::<Vec<_>>()).ok()
    }
}

impl PruningStatistics for Summaries<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |range| range.lower)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |range| range.upper)
    }

    fn num_containers(&self) -> usize {
        self.manifests.len()
    }

    /// The manifest list does not count NULLs, it says whether there are any. As if each manifest had one row, which is NULL
    /// where all are.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (_, partitioned) = self.column(column)?;
        let nulls = self.manifests.iter().map(|file| {
            partitioned.summaries(file).find_map(|(place, summary)| {
                match (summary.contains_null, all_null(place, summary)) {
                    (false, _) => Some(0),
                    (true, true) => Some(1),
                    (true, false) => None,
                }
            })
        });
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from(vec![1; self.manifests.len()])))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (_, partitioned) = self.column(column)?;
        let wanted = partitioned.wanted(values)?;
        let answer = |file: &ManifestFile| {
            let may_have = partitioned.summaries(file).all(|(place, summary)| may_have(place, summary, &wanted));
            (!may_have).then_some(false)
        };
        Some(self.manifests.iter().map(answer).collect())
    }
}

/// Whether all values of a partition field are NULL.
fn all_null(place: &PartitionPlace, summary: &FieldSummary) -> bool {
    // Bounds leave out NaN, so without any there is NULL alone only where there is no NaN.
    let no_nan = !is_float(&place.ty) || summary.contains_nan == Some(false);
    summary.contains_null && no_nan && summary.lower_bound.is_none() && summary.upper_bound.is_none()
}

/// False when no partition can have any of these values.
fn may_have(place: &PartitionPlace, summary: &FieldSummary, wanted: &[ScalarValue]) -> bool {
    if all_null(place, summary) {
        return false;
    }
    let (Transform::Bucket(count), (lower, upper)) = (place.transform, partition_bounds(place, summary)) else {
        return true;
    };
    let above = |bucket: i32| lower.as_ref().is_none_or(|lower| *lower <= PrimitiveLiteral::Int(bucket));
    let below = |bucket: i32| upper.as_ref().is_none_or(|upper| PrimitiveLiteral::Int(bucket) <= *upper);
    wanted.iter().any(|value| bucket_of(count, value).is_none_or(|bucket| above(bucket) && below(bucket)))
}

/// The values that a column can have where a partition field of it has such values, if they are not NULL.
fn range(place: &PartitionPlace, source: &PrimitiveType, summary: &FieldSummary) -> SourceRange {
    let (lower, upper) = partition_bounds(place, summary);
    source_range(place.transform, source, lower.as_ref(), upper.as_ref())
}

/// The least and the greatest value of a partition field. NaN, which is above all numbers, is not in the bounds; and a bound that is
/// zero does not say which of the two zeros it is.
fn partition_bounds(
    place: &PartitionPlace,
    summary: &FieldSummary,
) -> (Option<PrimitiveLiteral>, Option<PrimitiveLiteral>) {
    let bound = |bytes: Option<&[u8]>, zero: f64| {
        let literal = Datum::try_from_bytes(bytes?, place.ty.clone()).ok()?.literal().clone();
        match literal {
            PrimitiveLiteral::Float(value) if value.is_nan() => None,
            PrimitiveLiteral::Double(value) if value.is_nan() => None,
            PrimitiveLiteral::Float(value) if value.0 == 0.0 => Some(PrimitiveLiteral::Float((zero as f32).into())),
            PrimitiveLiteral::Double(value) if value.0 == 0.0 => Some(PrimitiveLiteral::Double(zero.into())),
            literal => Some(literal),
        }
    };
    let lower = bound(summary.lower_bound.as_ref().map(|bytes| bytes.as_slice()), -0.0);
    let upper = match is_float(&place.ty) && summary.contains_nan != Some(false) {
        true => None,
        false => bound(summary.upper_bound.as_ref().map(|bytes| bytes.as_slice()), 0.0),
    };
    (lower, upper)
}

fn is_float(ty: &PrimitiveType) -> bool {
    matches!(ty, PrimitiveType::Float | PrimitiveType::Double)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn place(transform: Transform, ty: PrimitiveType) -> PartitionPlace {
        PartitionPlace { at: 0, transform, ty }
    }

    fn summary(contains_null: bool, contains_nan: Option<bool>, bounds: [Option<Datum>; 2]) -> FieldSummary {
        let [lower_bound, upper_bound] = bounds.map(|bound| bound.map(|bound| bound.to_bytes().unwrap()));
        FieldSummary { contains_null, contains_nan, lower_bound, upper_bound }
    }

    #[test]
    fn nan_is_above_the_upper_bound_unless_there_is_none() {
        let doubles = place(Transform::Identity, PrimitiveType::Double);
        let bounds = [Some(Datum::double(1.0)), Some(Datum::double(2.0))];
        let double = |value: f64| Some(PrimitiveLiteral::Double(value.into()));
        for (nan, upper) in [(None, None), (Some(true), None), (Some(false), double(2.0))] {
            let range = range(&doubles, &PrimitiveType::Double, &summary(false, nan, bounds.clone()));
            assert_eq!(range, SourceRange { lower: double(1.0), upper });
        }
        // Some writers have had NaN as a bound.
        let bounds = [Some(Datum::double(f64::NAN)), Some(Datum::double(f64::NAN))];
        let range = range(&doubles, &PrimitiveType::Double, &summary(false, Some(false), bounds));
        assert_eq!(range, SourceRange::default());
    }

    #[test]
    fn both_zeros_are_between_bounds_that_are_zero() {
        let floats = place(Transform::Identity, PrimitiveType::Float);
        let bounds = [Some(Datum::float(0.0)), Some(Datum::float(-0.0))];
        let (lower, upper) = partition_bounds(&floats, &summary(false, Some(false), bounds));
        let sign = |bound: Option<PrimitiveLiteral>| match bound {
            Some(PrimitiveLiteral::Float(value)) => value.is_sign_negative(),
            other => panic!("{other:?} is no float"),
        };
        assert!(sign(lower) && !sign(upper));
    }

    #[test]
    fn without_bounds_all_are_null_unless_some_may_be_nan() {
        let none = || [None, None];
        let longs = place(Transform::Identity, PrimitiveType::Long);
        assert!(all_null(&longs, &summary(true, None, none())));
        assert!(!all_null(&longs, &summary(false, None, none())));
        assert!(!all_null(&longs, &summary(true, None, [Some(Datum::long(1)), Some(Datum::long(1))])));
        let doubles = place(Transform::Identity, PrimitiveType::Double);
        assert!(!all_null(&doubles, &summary(true, None, none())));
        assert!(!all_null(&doubles, &summary(true, Some(true), none())));
        assert!(all_null(&doubles, &summary(true, Some(false), none())));
    }

    #[test]
    fn bounds_of_a_type_before_promotion_and_those_that_are_none() {
        let longs = place(Transform::Identity, PrimitiveType::Long);
        let ints = [Some(Datum::int(-3)), Some(Datum::int(5))];
        let expected = [-3, 5].map(|value| Some(PrimitiveLiteral::Long(value)));
        assert_eq!(<[_; 2]>::from(partition_bounds(&longs, &summary(false, None, ints))), expected);
        let texts = [Some(Datum::string("abc")), Some(Datum::string("abcdefghi"))];
        let (lower, _) = partition_bounds(&longs, &summary(false, None, texts));
        assert_eq!(lower, None, "three bytes are no number");
    }

    #[test]
    fn values_are_looked_for_in_the_buckets_between_the_bounds() {
        let wanted = |value: i64| [ScalarValue::Int64(Some(value))];
        let bucket = bucket_of(16, &wanted(34)[0]).unwrap();
        let buckets = place(Transform::Bucket(16), PrimitiveType::Int);
        let between = |lower: Option<i32>, upper: Option<i32>| {
            summary(false, None, [lower.map(Datum::int), upper.map(Datum::int)])
        };
        assert!(may_have(&buckets, &between(Some(bucket), Some(bucket)), &wanted(34)));
        assert!(may_have(&buckets, &between(None, Some(bucket)), &wanted(34)));
        assert!(may_have(&buckets, &between(Some(bucket), None), &wanted(34)));
        assert!(!may_have(&buckets, &between(Some(bucket + 1), Some(15)), &wanted(34)));
        assert!(!may_have(&buckets, &between(Some(0), Some(bucket - 1)), &wanted(34)));
        assert!(!may_have(&buckets, &summary(true, None, [None, None]), &wanted(34)), "all are NULL");
    }

    #[test]
    fn the_last_of_a_prefix_is_above_all_that_begin_with_it() {
        let texts = place(Transform::Truncate(2), PrimitiveType::String);
        let of = |upper: &str| {
            let bounds = [Some(Datum::string("a")), Some(Datum::string(upper))];
            range(&texts, &PrimitiveType::String, &summary(false, None, bounds)).upper
        };
        assert_eq!(of("b"), Some(PrimitiveLiteral::String("b".to_owned())));
        assert_eq!(of("ba"), Some(PrimitiveLiteral::String("bb".to_owned())));
        assert_eq!(of("bad"), None, "it is no value that was cut");
    }
}
