//! Iceberg's transforms over arrays of stored values.
//!
//! They are computed here and not by the library's, which truncates days of times before 1970 that are not whole seconds
//! towards zero. What always holds: null, and only null, becomes null (`void` makes everything null), and a result is what
//! <https://iceberg.apache.org/spec/#partition-transforms> says.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Date32Array, Int32Array, PrimitiveArray, StringViewArray, new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use iceberg::spec::Transform;

use super::hash::bucket_hash;
use crate::error::LakeError;

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a day.
const DAY_US: i64 = 24 * HOUR_US;

/// The transform of each value.
///
/// # Errors
/// A transform that the type of the array does not have, and a result that does not fit.
pub(crate) fn apply(transform: Transform, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
    match transform {
        Transform::Identity => Ok(Arc::clone(array)),
        Transform::Void => Ok(new_null_array(array.data_type(), array.len())),
        Transform::Bucket(count) => bucket(array, count),
        Transform::Truncate(width) => truncate(array, width),
        Transform::Year => calendar(array, |days| year_and_month(days).0 - 1970),
        Transform::Month => calendar(array, |days| {
            let (year, month) = year_and_month(days);
            (year - 1970) * 12 + month - 1
        }),
        Transform::Day => day(array),
        Transform::Hour => hour(array),
        Transform::Unknown => Err(unfit(transform, array.data_type())),
    }
}

/// The Arrow type of what [`apply`] gives.
pub(crate) fn result_type(transform: Transform, source: &DataType) -> DataType {
    match transform {
        Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour => DataType::Int32,
        Transform::Day => DataType::Date32,
        Transform::Identity | Transform::Truncate(_) | Transform::Void | Transform::Unknown => source.clone(),
    }
}

fn unfit(transform: Transform, data_type: &DataType) -> LakeError {
    LakeError::Unsupported(format!("partition transform {transform} of {data_type}"))
}

fn out_of_range(transform: Transform) -> LakeError {
    LakeError::Batch(format!("a value is out of the range of partition transform {transform}"))
}

fn bucket(array: &ArrayRef, count: u32) -> Result<ArrayRef, LakeError> {
    let of = |hash: u32| ((hash & i32::MAX as u32) % count.max(1)) as i32;
    fn longs<T: ArrowPrimitiveType>(array: &ArrayRef, of: impl Fn(u32) -> i32) -> Int32Array
    where
        T::Native: Into<i64>,
    {
        let hash = |value: T::Native| {
            let long: i64 = value.into();
            of(bucket_hash(&long.to_le_bytes()))
        };
        array.as_primitive::<T>().unary(hash)
    }
    Ok(Arc::new(match array.data_type() {
        DataType::Int32 => longs::<Int32Type>(array, of),
        DataType::Int64 => longs::<Int64Type>(array, of),
        DataType::Date32 => longs::<Date32Type>(array, of),
        DataType::Time64(TimeUnit::Microsecond) => longs::<Time64MicrosecondType>(array, of),
        DataType::Timestamp(TimeUnit::Microsecond, _) => longs::<TimestampMicrosecondType>(array, of),
        DataType::Decimal128(..) => {
            let hash = |value: i128| {
                let bytes = value.to_be_bytes();
                of(bucket_hash(shortest(&bytes)))
            };
            array.as_primitive::<Decimal128Type>().unary(hash)
        }
        DataType::Utf8View => {
            let values = array.as_string_view().iter();
            values.map(|value| value.map(|value| of(bucket_hash(value.as_bytes())))).collect()
        }
        DataType::BinaryView => {
            let values = array.as_binary_view().iter();
            values.map(|value| value.map(|value| of(bucket_hash(value)))).collect()
        }
        other => return Err(unfit(Transform::Bucket(count), other)),
    }))
}

/// The fewest bytes of a big-endian number in two's complement.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let filler = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let redundant = |at: &usize| bytes[*at] == filler && (bytes[at + 1] ^ filler) & 0x80 == 0;
    let start = (0..15).take_while(redundant).count();
    &bytes[start..]
}

fn truncate(array: &ArrayRef, width: u32) -> Result<ArrayRef, LakeError> {
    let transform = Transform::Truncate(width);
    if width == 0 {
        return Err(unfit(transform, array.data_type()));
    }
    let below = || out_of_range(transform);
    Ok(match array.data_type() {
        DataType::Int32 => {
            let width = i64::from(width);
            let down = |value: i32| {
                let value = i64::from(value);
                i32::try_from(value - value.rem_euclid(width)).map_err(|_| below())
            };
            Arc::new(array.as_primitive::<Int32Type>().try_unary::<_, Int32Type, _>(down)?)
        }
        DataType::Int64 => {
            let width = i64::from(width);
            let down = |value: i64| value.checked_sub(value.rem_euclid(width)).ok_or_else(below);
            Arc::new(array.as_primitive::<Int64Type>().try_unary::<_, Int64Type, _>(down)?)
        }
        DataType::Decimal128(..) => {
            let width = i128::from(width);
            let values = array.as_primitive::<Decimal128Type>();
            let down = |value: i128| value - value.rem_euclid(width);
            let truncated: PrimitiveArray<Decimal128Type> = values.unary(down);
            Arc::new(truncated.with_data_type(array.data_type().clone()))
        }
        DataType::Utf8View => {
            let values = array.as_string_view().iter();
            let kept = values.map(|value| value.map(|value| first_chars(value, width as usize)));
            Arc::new(kept.collect::<StringViewArray>())
        }
        DataType::BinaryView => {
            let values = array.as_binary_view().iter();
            let kept = values.map(|value| value.map(|value| &value[..value.len().min(width as usize)]));
            Arc::new(kept.collect::<BinaryViewArray>())
        }
        other => return Err(unfit(transform, other)),
    })
}

/// The first characters of a text.
fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// A number made of the days since 1970.
fn calendar(array: &ArrayRef, of: impl Fn(i64) -> i64) -> Result<ArrayRef, LakeError> {
    // Times of 64 bits are some 300,000 years: their years and months fit.
    let narrow = |days: i64| of(days) as i32;
    let values: Int32Array = match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().unary(|days| narrow(days.into())),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().unary(|us| narrow(us.div_euclid(DAY_US)))
        }
        other => return Err(unfit(Transform::Year, other)),
    };
    Ok(Arc::new(values))
}

fn day(array: &ArrayRef) -> Result<ArrayRef, LakeError> {
    match array.data_type() {
        DataType::Date32 => Ok(Arc::clone(array)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let days: Date32Array =
                array.as_primitive::<TimestampMicrosecondType>().unary(|us| us.div_euclid(DAY_US) as i32);
            Ok(Arc::new(days))
        }
        other => Err(unfit(Transform::Day, other)),
    }
}

fn hour(array: &ArrayRef) -> Result<ArrayRef, LakeError> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let hours = |us: i64| i32::try_from(us.div_euclid(HOUR_US)).map_err(|_| out_of_range(Transform::Hour));
            let values = array.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(values.try_unary::<_, Int32Type, _>(hours)?))
        }
        other => Err(unfit(Transform::Hour, other)),
    }
}

/// The year and the month, from 1, of a day counted from 1970, in the calendar of ISO 8601 without an end. Howard Hinnant's
/// `civil_from_days`: <https://howardhinnant.github.io/date_algorithms.html>.
pub(super) fn year_and_month(days: i64) -> (i64, i64) {
    let (year, month, _) = date(days);
    (year, month)
}

/// As [`year_and_month`], with the day, from 1.
pub(super) fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on the first of March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The first day, counted from 1970, of a month counted from January 1970.
pub(super) fn first_day_of_month(months: i64) -> i64 {
    let (year, month) = (1970 + months.div_euclid(12), months.rem_euclid(12) + 1);
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Decimal128Array, Int64Array, Time64MicrosecondArray, TimestampMicrosecondArray};

    use super::*;

    fn ints(transform: Transform, array: impl Array + 'static) -> Vec<Option<i32>> {
        apply(transform, &(Arc::new(array) as ArrayRef)).unwrap().as_primitive::<Int32Type>().iter().collect()
    }

    fn days(array: impl Array + 'static) -> Vec<Option<i32>> {
        apply(Transform::Day, &(Arc::new(array) as ArrayRef)).unwrap().as_primitive::<Date32Type>().iter().collect()
    }

    /// The examples of the specification, appendix B.
    #[test]
    fn buckets_are_those_of_the_specification() {
        let all = Transform::Bucket(i32::MAX as u32);
        let hash = |value: i32| Some((value & i32::MAX) % i32::MAX);
        assert_eq!(ints(all, Int32Array::from(vec![Some(34), None])), [hash(2017239379), None]);
        assert_eq!(ints(all, Int64Array::from(vec![34])), [hash(2017239379)]);
        let decimal = Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(ints(all, decimal), [hash(-500754589)]);
        assert_eq!(ints(all, Date32Array::from(vec![17486])), [hash(-653330422)]);
        assert_eq!(ints(all, Time64MicrosecondArray::from(vec![81_068_000_000])), [hash(-662762989)]);
        let at = TimestampMicrosecondArray::from(vec![1_510_871_468_000_000]);
        assert_eq!(ints(all, at), [hash(-2047944441)]);
        assert_eq!(ints(all, StringViewArray::from(vec!["iceberg"])), [hash(1210000089)]);
        assert_eq!(ints(all, BinaryViewArray::from_iter_values([[0, 1, 2, 3]])), [hash(-188683207)]);
    }

    #[test]
    fn decimals_are_hashed_by_their_fewest_bytes() {
        assert_eq!(shortest(&0_i128.to_be_bytes()), [0]);
        assert_eq!(shortest(&127_i128.to_be_bytes()), [0x7f]);
        assert_eq!(shortest(&128_i128.to_be_bytes()), [0, 0x80]);
        assert_eq!(shortest(&(-128_i128).to_be_bytes()), [0x80]);
        assert_eq!(shortest(&(-129_i128).to_be_bytes()), [0xff, 0x7f]);
        assert_eq!(shortest(&i128::MIN.to_be_bytes()).len(), 16);
    }

    #[test]
    fn truncation_goes_down_and_keeps_whole_characters() {
        assert_eq!(
            ints(Transform::Truncate(10), Int32Array::from(vec![1, -1, -10, 19])),
            [Some(0), Some(-10), Some(-10), Some(10)]
        );
        let least: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN]));
        apply(Transform::Truncate(10), &least).unwrap_err();
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![1065, -1]).with_precision_and_scale(9, 2).unwrap());
        let truncated = apply(Transform::Truncate(50), &decimals).unwrap();
        assert_eq!(truncated.as_primitive::<Decimal128Type>().values(), &[1050, -50]);
        assert_eq!(truncated.data_type(), decimals.data_type());
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("äö🚀x"), Some("ä"), None]));
        let truncated = apply(Transform::Truncate(3), &texts).unwrap();
        assert_eq!(truncated.as_string_view().iter().collect::<Vec<_>>(), [Some("äö🚀"), Some("ä"), None]);
    }

    #[test]
    fn times_before_1970_belong_to_the_unit_they_are_in() {
        let at = |us: &[i64]| TimestampMicrosecondArray::from(us.to_vec());
        assert_eq!(days(at(&[0, -1, -DAY_US, -DAY_US - 500_000])), [0, -1, -1, -2].map(Some));
        assert_eq!(ints(Transform::Hour, at(&[-1, -HOUR_US, -HOUR_US - 1])), [-1, -1, -2].map(Some));
        assert_eq!(ints(Transform::Month, at(&[-1, 0, 31 * DAY_US])), [-1, 0, 1].map(Some));
        assert_eq!(ints(Transform::Year, at(&[-1, 0])), [-1, 0].map(Some));
        assert_eq!(ints(Transform::Year, Date32Array::from(vec![-1, 0, 365, -719_529])), [-1, 0, 1, -1971].map(Some));
    }

    #[test]
    fn dates_and_months_agree() {
        for months in -30_000..30_000 {
            let first = first_day_of_month(months);
            assert_eq!(year_and_month(first), (1970 + months.div_euclid(12), months.rem_euclid(12) + 1));
            assert_eq!(date(first).2, 1);
            assert_ne!(year_and_month(first - 1), year_and_month(first));
        }
        assert_eq!(date(19_782), (2024, 2, 29));
    }
}
