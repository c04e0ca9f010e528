//! One shape per SQL type: whatever Arrow type a plan computed, encoders see the one this crate stores, or a close kin.
//!
//! What always holds: unpacking is column-wise and happens once per batch; the types that stored columns have pass
//! through without a copy. Infinite dates and timestamps keep their sentinels.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, ListArray, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt32Type, i256,
};
use wharf_catalog::SqlType;

use crate::error::{SqlError, SqlState};
use crate::mapping::arrow_type;

/// The values and nulls of a column of a fixed width.
pub(crate) struct Fixed<N: arrow::datatypes::ArrowNativeType> {
    pub(crate) values: ScalarBuffer<N>,
    pub(crate) nulls: Option<NullBuffer>,
}

/// A column in one of the shapes encoders know.
pub(crate) enum Column {
    Null,
    Boolean(BooleanArray),
    Int16(Fixed<i16>),
    Int32(Fixed<i32>),
    Int64(Fixed<i64>),
    UInt32(Fixed<u32>),
    Float32(Fixed<f32>),
    Float64(Fixed<f64>),
    /// Unscaled values and their scale.
    Decimal128(Fixed<i128>, i8),
    /// Unscaled values and their scale.
    Decimal256(Fixed<i256>, i8),
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    FixedSizeBinary(FixedSizeBinaryArray),
    /// Days since 1970-01-01.
    Date(Fixed<i32>),
    /// Microseconds since midnight.
    Time(Fixed<i64>),
    /// Microseconds since 1970-01-01, with or without a time zone.
    Timestamp(Fixed<i64>),
    Interval(Fixed<IntervalMonthDayNano>),
    List(ListArray),
    Struct(StructArray),
}

impl Column {
    /// The column of an array that holds values of a SQL type. `0A000` for Arrow types that hold no SQL values,
    /// `22003` and `22008` for values the SQL type has no room for.
    pub(crate) fn new(array: &ArrayRef, ty: &SqlType) -> Result<Column, SqlError> {
        Ok(match array.data_type() {
            DataType::Null => Column::Null,
            DataType::Boolean => Column::Boolean(array.as_boolean().clone()),
            DataType::Int16 => Column::Int16(fixed::<Int16Type>(array)),
            DataType::Int32 if *ty != SqlType::BigInt => Column::Int32(fixed::<Int32Type>(array)),
            DataType::Int64 if !matches!(ty, SqlType::Numeric(_)) => Column::Int64(fixed::<Int64Type>(array)),
            DataType::UInt32
                if matches!(
                    ty,
                    SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole
                ) =>
            {
                Column::UInt32(fixed::<UInt32Type>(array))
            }
            DataType::Float32 if *ty != SqlType::Double => Column::Float32(fixed::<Float32Type>(array)),
            DataType::Float64 => Column::Float64(fixed::<Float64Type>(array)),
            DataType::Decimal128(_, scale) => Column::Decimal128(fixed::<Decimal128Type>(array), *scale),
            DataType::Decimal256(_, scale) => Column::Decimal256(fixed::<Decimal256Type>(array), *scale),
            DataType::Utf8 => Column::Utf8(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Column::LargeUtf8(array.as_string::<i64>().clone()),
            DataType::Utf8View => Column::Utf8View(array.as_string_view().clone()),
            DataType::Binary => Column::Binary(array.as_binary::<i32>().clone()),
            DataType::LargeBinary => Column::LargeBinary(array.as_binary::<i64>().clone()),
            DataType::BinaryView => Column::BinaryView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(_) => Column::FixedSizeBinary(array.as_fixed_size_binary().clone()),
            DataType::Date32 => Column::Date(fixed::<Date32Type>(array)),
            DataType::Time64(TimeUnit::Microsecond) => Column::Time(fixed::<Time64MicrosecondType>(array)),
            DataType::Timestamp(unit, _) => Column::Timestamp(timestamps(array, *unit)?),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Column::Interval(fixed::<IntervalMonthDayNanoType>(array))
            }
            DataType::List(_) => Column::List(array.as_list::<i32>().clone()),
            DataType::Struct(_) => Column::Struct(array.as_struct().clone()),
            other => {
                let target = storage(other, ty).ok_or_else(|| unsupported(other))?;
                let options = CastOptions { safe: false, ..CastOptions::default() };
                let array = cast_with_options(array, &target, &options).map_err(|error| {
                    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {error}"))
                })?;
                return Column::new(&array, ty);
            }
        })
    }
}

/// The type to unpack a computed type into; `None` for types that have no SQL values. Never the type itself, so
/// that unpacking ends.
fn storage(from: &DataType, ty: &SqlType) -> Option<DataType> {
    match from {
        DataType::Dictionary(_, values) => Some(values.as_ref().clone()),
        DataType::RunEndEncoded(_, values) => Some(values.data_type().clone()),
        DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(DataType::List(item.clone())),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            Some(DataType::Decimal128(*precision, *scale))
        }
        DataType::UInt64 => Some(DataType::Decimal128(20, 0)),
        DataType::Int64 => Some(DataType::Decimal128(19, 0)),
        DataType::Map(_, _) | DataType::Union(_, _) => None,
        other => Some(arrow_type(ty)).filter(|target| target != other),
    }
}

fn unsupported(data_type: &DataType) -> SqlError {
    SqlError::unsupported(format!("values of Arrow type {data_type} have no SQL form"))
        .with_hint("Select the parts of the value by themselves.")
}

fn fixed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Fixed<T::Native> {
    let array = array.as_primitive::<T>();
    Fixed { values: array.values().clone(), nulls: array.nulls().cloned() }
}

/// Timestamps of any unit in microseconds. Finer ones are cut, as PostgreSQL cuts a clock that is finer.
fn timestamps(array: &ArrayRef, unit: TimeUnit) -> Result<Fixed<i64>, SqlError> {
    let scaled = |column: Fixed<i64>, factor: i64| {
        let mut overflow = false;
        let values = column
            .values
            .iter()
            .enumerate()
            .map(|(row, value)| match *value {
                i64::MAX | i64::MIN => *value,
                value => value.checked_mul(factor).unwrap_or_else(|| {
                    overflow |= column.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                    0
                }),
            })
            .collect();
        if overflow {
            return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range"));
        }
        Ok(Fixed { values, nulls: column.nulls })
    };
    match unit {
        TimeUnit::Microsecond => Ok(fixed::<TimestampMicrosecondType>(array)),
        TimeUnit::Second => scaled(fixed::<TimestampSecondType>(array), 1_000_000),
        TimeUnit::Millisecond => scaled(fixed::<TimestampMillisecondType>(array), 1_000),
        TimeUnit::Nanosecond => {
            let column = fixed::<TimestampNanosecondType>(array);
            let cut = |value: &i64| match *value {
                i64::MAX | i64::MIN => *value,
                value => value.div_euclid(1_000),
            };
            Ok(Fixed { values: column.values.iter().map(cut).collect(), nulls: column.nulls })
        }
    }
}
