//! Arguments brought to the types of the overload that was chosen.
//!
//! What always holds: the conversions are PostgreSQL's implicit casts and, for untyped literals, its input functions,
//! with their errors; a date or timestamp becomes a timestamp with time zone in the session's time zone. DataFusion's
//! casts are not asked, since they differ (rounding, zones, errors). Explicit casts are not made here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use wharf_catalog::SqlType;
use wharf_values::{ColumnBuilder, SqlError, SqlState, TextFormat, arrow_type};

use super::call::Result;
use super::datetime::{USECS_PER_DAY, local_to_utc};
use super::decimal;
use super::overload::canonical;
use super::udf::argument_type;

/// The Arrow type a value of any accepted Arrow type is brought to, before overloads are looked at: one
/// representation for each SQL type.
pub(super) fn representation(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(_, scale) => {
            DataType::Decimal128(decimal::MAX_PRECISION, (*scale).min(decimal::MAX_PRECISION as i8))
        }
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Duration(_) | DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Dictionary(_, values) => representation(values),
        DataType::RunEndEncoded(_, values) => representation(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            let item = Field::clone(item).with_data_type(representation(item.data_type()));
            DataType::List(Arc::new(item))
        }
        other => other.clone(),
    }
}

/// The Arrow type a value has after [`convert`]: that of the parameter, but with an argument's own precision and scale.
pub(super) fn converted_type(field: &Field, to: &SqlType) -> DataType {
    let from = representation(field.data_type());
    match (&from, to) {
        (DataType::Decimal128(..), SqlType::Numeric(_)) => from,
        (DataType::Int16, SqlType::Numeric(_)) => DataType::Decimal128(5, 0),
        (DataType::Int32, SqlType::Numeric(_)) => DataType::Decimal128(10, 0),
        (DataType::Int64, SqlType::Numeric(_)) => DataType::Decimal128(19, 0),
        (DataType::List(_) | DataType::Struct(_), _) if canonical(&wharf_values::sql_type(field)) == *to => from,
        _ => arrow_type(to),
    }
}

/// Brings an argument to a parameter's type.
///
/// # Errors
/// Those of the cast: `22P02` and kin for literals, `22003`, `22008`.
pub(super) fn convert(array: &ArrayRef, field: &Field, to: &SqlType, format: &TextFormat) -> Result<ArrayRef> {
    let from = canonical(&argument_type(field));
    let wanted = converted_type(field, to);
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(&wanted, array.len()));
    }
    let plain = representation(array.data_type());
    let array = if plain == *array.data_type() { Arc::clone(array) } else { arrow_cast(array, &plain)? };
    let array = &array;
    let text_as_it_is = from == SqlType::Unknown && *to == SqlType::Text;
    if from == *to || text_as_it_is {
        return if *array.data_type() == wanted { Ok(Arc::clone(array)) } else { arrow_cast(array, &wanted) };
    }
    match (&from, to) {
        (SqlType::Text | SqlType::Unknown, _) if *array.data_type() == DataType::Utf8View => {
            // JSON, UUID and text share a representation; only an untyped literal must be read.
            parse_text(array, to, format)
        }
        (SqlType::Numeric(_), SqlType::Double | SqlType::Real) => {
            let double = numeric_to_double(array.as_primitive::<Decimal128Type>());
            arrow_cast(&double, &wanted)
        }
        (SqlType::Date, SqlType::Timestamp) => date_to_timestamp(array, None),
        (SqlType::Date, SqlType::TimestampTz) => date_to_timestamp(array, Some(format)),
        (SqlType::Timestamp, SqlType::TimestampTz) => {
            let zone = &format.time_zone;
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let instants = values
                .try_unary::<_, TimestampMicrosecondType, SqlError>(|local| local_to_utc(zone, local))?
                .with_data_type(wanted);
            Ok(Arc::new(instants))
        }
        (SqlType::Time, SqlType::Interval) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            let intervals =
                times.unary::<_, IntervalMonthDayNanoType>(|micros| IntervalMonthDayNano::new(0, 0, micros * 1000));
            Ok(Arc::new(intervals))
        }
        _ => arrow_cast(array, &wanted),
    }
}

fn arrow_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options)
        .map_err(|error| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, error.to_string()))
}

fn parse_text(array: &ArrayRef, to: &SqlType, format: &TextFormat) -> Result<ArrayRef> {
    let text = array.as_string_view();
    let mut builder = ColumnBuilder::new(to, format);
    for row in 0..text.len() {
        if text.is_null(row) {
            builder.push_null();
        } else {
            builder.push_text(text.value(row).as_bytes())?;
        }
    }
    Ok(builder.finish())
}

/// Numeric to double precision, each the nearest.
pub(super) fn numeric_to_double(values: &Decimal128Array) -> ArrayRef {
    let scale = values.scale();
    let doubles: Float64Array = values.unary(|value| decimal::to_double(value, scale));
    Arc::new(doubles)
}

/// A date's midnight: of no zone in particular, or of the session's.
fn date_to_timestamp(array: &ArrayRef, zone: Option<&TextFormat>) -> Result<ArrayRef> {
    let days = array.as_primitive::<Date32Type>();
    let timestamps = days.try_unary::<_, TimestampMicrosecondType, SqlError>(|day| {
        let local = match day {
            i32::MIN => return Ok(i64::MIN),
            i32::MAX => return Ok(i64::MAX),
            day => i64::from(day).checked_mul(USECS_PER_DAY).ok_or_else(|| {
                SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range for timestamp")
            })?,
        };
        match zone {
            None => Ok(local),
            Some(format) => local_to_utc(&format.time_zone, local),
        }
    })?;
    let wanted = arrow_type(if zone.is_some() { &SqlType::TimestampTz } else { &SqlType::Timestamp });
    Ok(Arc::new(timestamps.with_data_type(wanted)))
}
