//! What a column's values can be in a partition: the way from a partition value back to its sources.
//!
//! What always holds: a range contains every value that the transform maps into the partition; it may contain more.

use datafusion::common::ScalarValue;
use iceberg::spec::{PrimitiveLiteral, PrimitiveType, Transform};

use super::transform::{apply, first_day_of_month};
use crate::write::{next_bytes, next_text};

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;

/// The least and the greatest value, both included; none where there is no such bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SourceRange {
    pub(crate) lower: Option<PrimitiveLiteral>,
    pub(crate) upper: Option<PrimitiveLiteral>,
}

/// The values that a source column can have where its partition values are between these two.
pub(crate) fn source_range(
    transform: Transform,
    source: &PrimitiveType,
    lower: Option<&PrimitiveLiteral>,
    upper: Option<&PrimitiveLiteral>,
) -> SourceRange {
    match transform {
        Transform::Identity => SourceRange { lower: lower.cloned(), upper: upper.cloned() },
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => SourceRange {
            lower: lower.and_then(|value| beginning(transform, source, earliest(value)?)),
            upper: upper.and_then(|value| {
                let PrimitiveLiteral::Int(value) = value else { return None };
                match beginning(transform, source, i64::from(*value) + 1)? {
                    PrimitiveLiteral::Int(next) => next.checked_sub(1).map(PrimitiveLiteral::Int),
                    PrimitiveLiteral::Long(next) => next.checked_sub(1).map(PrimitiveLiteral::Long),
                    _ => None,
                }
            }),
        },
        Transform::Truncate(width) => {
            SourceRange { lower: lower.cloned(), upper: upper.and_then(|value| last_of_prefix(value, width)) }
        }
        Transform::Bucket(_) | Transform::Void | Transform::Unknown => SourceRange::default(),
    }
}

/// A unit of time. Some writers put times before 1970 into the unit after theirs, so one unit more may be meant.
fn earliest(value: &PrimitiveLiteral) -> Option<i64> {
    match value {
        PrimitiveLiteral::Int(value) if *value <= 0 => Some(i64::from(*value) - 1),
        PrimitiveLiteral::Int(value) => Some(i64::from(*value)),
        _ => None,
    }
}

/// The first value of a unit of time counted from 1970; none when it is out of range.
fn beginning(transform: Transform, source: &PrimitiveType, unit: i64) -> Option<PrimitiveLiteral> {
    let hours = match transform {
        Transform::Year => first_day_of_month(unit.checked_mul(12)?).checked_mul(24)?,
        Transform::Month => first_day_of_month(unit).checked_mul(24)?,
        Transform::Day => unit.checked_mul(24)?,
        _ => unit,
    };
    match source {
        PrimitiveType::Date => i32::try_from(hours.div_euclid(24)).ok().map(PrimitiveLiteral::Int),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => hours.checked_mul(HOUR_US).map(PrimitiveLiteral::Long),
        _ => None,
    }
}

/// The greatest value that is cut to this one, or one above.
fn last_of_prefix(value: &PrimitiveLiteral, width: u32) -> Option<PrimitiveLiteral> {
    let more = i64::from(width) - 1;
    Some(match value {
        PrimitiveLiteral::Int(value) => {
            PrimitiveLiteral::Int(i32::try_from(i64::from(*value) + more).unwrap_or(i32::MAX))
        }
        PrimitiveLiteral::Long(value) => PrimitiveLiteral::Long(value.saturating_add(more)),
        PrimitiveLiteral::Int128(value) => PrimitiveLiteral::Int128(value.saturating_add(more.into())),
        // Longer than the width: it is not what was cut.
        PrimitiveLiteral::String(text) if text.chars().count() > width as usize => return None,
        PrimitiveLiteral::Binary(bytes) if bytes.len() > width as usize => return None,
        // Shorter than the width: nothing was cut off.
        PrimitiveLiteral::String(text) if text.chars().count() < width as usize => value.clone(),
        PrimitiveLiteral::String(text) => PrimitiveLiteral::String(next_text(text)?),
        PrimitiveLiteral::Binary(bytes) if bytes.len() < width as usize => value.clone(),
        PrimitiveLiteral::Binary(bytes) => PrimitiveLiteral::Binary(next_bytes(bytes)?),
        _ => return None,
    })
}

/// The bucket of a value, in the type that is stored; none for NULL and what has no bucket.
pub(crate) fn bucket_of(count: u32, value: &ScalarValue) -> Option<i32> {
    let array = apply(Transform::Bucket(count), &value.to_array().ok()?).ok()?;
    match super::literal(&array, 0)? {
        iceberg::spec::Literal::Primitive(PrimitiveLiteral::Int(bucket)) => Some(bucket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringViewArray, TimestampMicrosecondArray};
    use iceberg::spec::Literal;

    use super::*;

    fn primitive(array: &ArrayRef, row: usize) -> PrimitiveLiteral {
        match super::super::literal(array, row).unwrap() {
            Literal::Primitive(value) => value,
            other => panic!("{other:?} is not primitive"),
        }
    }

    /// Every value is in the range of its partition.
    fn holds(transforms: &[Transform], source: &PrimitiveType, array: ArrayRef) {
        for transform in transforms {
            let partitions = apply(*transform, &array).unwrap();
            for row in 0..array.len() {
                let (value, partition) = (primitive(&array, row), primitive(&partitions, row));
                let range = source_range(*transform, source, Some(&partition), Some(&partition));
                let fits = range.lower.as_ref().is_none_or(|lower| *lower <= value)
                    && range.upper.as_ref().is_none_or(|upper| value <= *upper);
                assert!(fits, "{transform} of {value:?} is {partition:?}: {range:?}");
            }
        }
    }

    #[test]
    fn a_range_has_every_value_of_its_partition() {
        let times = (-2000..2000_i64).map(|i| i * 7_654_321_987 + i);
        let extremes = [i64::MIN, i64::MAX];
        let calendar = [Transform::Year, Transform::Month, Transform::Day];
        let timestamps = TimestampMicrosecondArray::from_iter_values(times.clone().chain(extremes));
        holds(&calendar, &PrimitiveType::Timestamp, Arc::new(timestamps));
        let timestamps = TimestampMicrosecondArray::from_iter_values(times);
        holds(&[Transform::Hour], &PrimitiveType::Timestamp, Arc::new(timestamps));
        let truncate = [1, 3, 1000].map(Transform::Truncate);
        let ints = Int32Array::from_iter_values((-50..50).chain([i32::MAX, i32::MIN + 1000]));
        holds(&truncate, &PrimitiveType::Int, Arc::new(ints));
        let decimals = Decimal128Array::from_iter_values((-50..50).chain([10_i128.pow(37)]));
        let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
        holds(&truncate, &PrimitiveType::Decimal { precision: 38, scale: 2 }, Arc::new(decimals));
        let texts = StringViewArray::from(vec!["", "a", "abcd", "äöüß", "\u{10FFFF}\u{10FFFF}\u{10FFFF}z", "abc"]);
        holds(&truncate, &PrimitiveType::String, Arc::new(texts));
    }

    #[test]
    fn a_day_is_a_day() {
        let day = |value| PrimitiveLiteral::Int(value);
        let range = source_range(Transform::Day, &PrimitiveType::Timestamp, Some(&day(2)), Some(&day(2)));
        let long = |value| Some(PrimitiveLiteral::Long(value));
        assert_eq!(range, SourceRange { lower: long(48 * HOUR_US), upper: long(72 * HOUR_US - 1) });
        let range = source_range(Transform::Month, &PrimitiveType::Date, Some(&day(1)), Some(&day(1)));
        assert_eq!(range, SourceRange { lower: Some(day(31)), upper: Some(day(58)) });
    }

    #[test]
    fn buckets_of_scalars() {
        assert_eq!(bucket_of(16, &ScalarValue::Int32(Some(34))), Some(3));
        assert_eq!(bucket_of(16, &ScalarValue::Int32(None)), None);
        assert_eq!(bucket_of(16, &ScalarValue::Float64(Some(1.0))), None);
    }
}
