//! The conversions, by source and target type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericListArray, IntervalMonthDayNanoArray, StringViewBuilder,
    Time64MicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int64Type, IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType,
};
use wharf_catalog::SqlType;
use wharf_values::ColumnBuilder;
use wharf_values::TextFormat;
use wharf_values::mapping;
use wharf_values::text_out::encoder;
use wharf_values::{SqlError, SqlState};

use super::{CastMode, numbers};
use crate::functions::json::{Kind, kind};
use crate::time_zone;

/// Converts an array to a SQL type.
///
/// # Errors
/// The SQLSTATE PostgreSQL gives: `22P02` and relatives for text that is no value of the type, `22003` out of range,
/// `22001` for a string too long in an assignment, `42846` where PostgreSQL has no such cast.
pub(crate) fn cast_array(
    array: &ArrayRef,
    from: &Field,
    to: &SqlType,
    target: &Field,
    format: &TextFormat,
    mode: CastMode,
) -> Result<ArrayRef, SqlError> {
    let source = mapping::sql_type(from);
    let target_type = target.data_type();
    if array.data_type().is_null() {
        return Ok(arrow::array::new_null_array(target_type, array.len()));
    }
    match (&source, to) {
        (SqlType::Array(_), SqlType::Array(item)) => cast_list(array, item, target_type, format, mode),
        (_, to) if is_text(to) => to_text(array, from, &source, to, format, mode),
        (source, to) if is_text(source) => from_text(array, to, format),
        (SqlType::Json, SqlType::Jsonb) => from_text(array, to, format),
        (SqlType::Jsonb, SqlType::Json) => plain(array, target_type, &source, to),
        (SqlType::Boolean, SqlType::Integer) => plain(array, target_type, &source, to),
        (SqlType::Integer, SqlType::Boolean) => plain(array, target_type, &source, to),
        (source, to) if is_number(source) && is_integer(to) => numbers::to_integer(array, to),
        (SqlType::Real | SqlType::Double, SqlType::Numeric(_)) => floats_to_numeric(array, to, format),
        (source, SqlType::Numeric(_)) if is_number(source) => numbers::to_decimal(array, target_type),
        (SqlType::Double, SqlType::Real) => doubles_to_reals(array),
        (source, SqlType::Real | SqlType::Double) if is_number(source) => plain(array, target_type, source, to),
        (SqlType::Timestamp, SqlType::TimestampTz) => time_zone::local_to_instant(&microseconds(array, None)?, format),
        (SqlType::Date, SqlType::TimestampTz) => {
            let local = plain(array, &DataType::Timestamp(TimeUnit::Microsecond, None), &source, to)?;
            time_zone::local_to_instant(&local, format)
        }
        (SqlType::TimestampTz, SqlType::Timestamp) => time_zone::instant_to_local(array, format),
        (SqlType::TimestampTz, SqlType::Date | SqlType::Time) => {
            let local = time_zone::instant_to_local(array, format)?;
            timestamp_part(&local, to, target_type)
        }
        (SqlType::Timestamp, SqlType::Date | SqlType::Time) => timestamp_part(array, to, target_type),
        (SqlType::Date, SqlType::Timestamp) => plain(array, target_type, &source, to),
        (SqlType::Time, SqlType::Interval) => {
            let micros: &Time64MicrosecondArray = array.as_primitive();
            let spans: IntervalMonthDayNanoArray =
                micros.unary(|micros| IntervalMonthDayNano::new(0, 0, micros * 1000));
            Ok(Arc::new(spans))
        }
        (SqlType::Interval, SqlType::Time) => {
            let spans: &IntervalMonthDayNanoArray = array.as_primitive();
            // Months and days do not count; what is left of the time is that of a day.
            let times: Time64MicrosecondArray = spans.unary(|span| (span.nanoseconds / 1000).rem_euclid(DAY_MICROS));
            Ok(Arc::new(times))
        }
        (SqlType::Jsonb, to) if *to == SqlType::Boolean || is_number(to) => scalar_of_json(array, to, target, format),
        (source, to) if source.category() == to.category() => plain(array, target_type, source, to),
        (SqlType::Unknown, _) => from_text(array, to, format),
        (source, to) => Err(cannot_cast(source, to)),
    }
}

/// `42846` in PostgreSQL's words.
pub(crate) fn cannot_cast(from: &SqlType, to: &SqlType) -> SqlError {
    SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
}

fn is_text(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name | SqlType::QChar | SqlType::Unknown
    )
}

fn is_number(ty: &SqlType) -> bool {
    ty.is_number()
        || matches!(ty, SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole)
}

fn is_integer(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Oid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regnamespace
            | SqlType::Regrole
    )
}

/// Arrow's own conversion, for the pairs where it means the same.
fn plain(array: &ArrayRef, target: &DataType, from: &SqlType, to: &SqlType) -> Result<ArrayRef, SqlError> {
    cast(array, target).map_err(|_| cannot_cast(from, to))
}

/// Any text as another type, by that type's input rules.
fn from_text(array: &ArrayRef, to: &SqlType, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    let strings = strings(array)?;
    let mut builder = ColumnBuilder::new(to, format).explicit_cast();
    for value in strings.as_string_view() {
        match value {
            Some(text) => builder.push_text(text.as_bytes())?,
            None => builder.push_null(),
        }
    }
    Ok(builder.finish())
}

fn strings(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    cast(array, &DataType::Utf8View).map_err(|error| SqlError::internal(error.to_string()))
}

/// Any type as text, by its output rules, held to the length of the target.
fn to_text(
    array: &ArrayRef,
    from: &Field,
    source: &SqlType,
    to: &SqlType,
    format: &TextFormat,
    mode: CastMode,
) -> Result<ArrayRef, SqlError> {
    let texts = match source {
        SqlType::Boolean => booleans_to_text(array.as_boolean()),
        source if is_text(source) || matches!(source, SqlType::Json | SqlType::Jsonb | SqlType::Uuid) => {
            strings(array)?
        }
        _ => {
            let mut encoder = encoder(from, array, format)?;
            let mut builder = StringViewBuilder::with_capacity(array.len());
            let mut buffer = Vec::new();
            for row in 0..array.len() {
                if encoder.is_null(row) {
                    builder.append_null();
                    continue;
                }
                buffer.clear();
                encoder.write(row, &mut buffer);
                builder.append_value(std::str::from_utf8(&buffer).map_err(|e| SqlError::internal(e.to_string()))?);
            }
            Arc::new(builder.finish())
        }
    };
    match to {
        SqlType::Varchar(Some(length)) => hold_to_length(&texts, *length as usize, to, mode, false),
        // `bpchar` has no length to hold to.
        SqlType::Char(0) => Ok(texts),
        SqlType::Char(length) => hold_to_length(&texts, *length as usize, to, mode, true),
        SqlType::Name => hold_to_length(&texts, 63, to, CastMode::Explicit, false),
        _ => Ok(texts),
    }
}

fn booleans_to_text(array: &BooleanArray) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(array.len());
    for value in array {
        builder.append_option(value.map(|value| if value { "true" } else { "false" }));
    }
    Arc::new(builder.finish())
}

/// Cuts (explicit cast) or refuses (assignment) what is longer than `length` characters; blanks past it always go.
/// `char(n)` is held without its padding, which is added where values leave.
fn hold_to_length(
    texts: &ArrayRef,
    length: usize,
    to: &SqlType,
    mode: CastMode,
    blank_padded: bool,
) -> Result<ArrayRef, SqlError> {
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    for value in texts.as_string_view() {
        let Some(text) = value else {
            builder.append_null();
            continue;
        };
        let mut kept = text;
        if text.len() > length
            && let Some((cut, _)) = text.char_indices().nth(length)
        {
            if mode == CastMode::Assignment && text[cut..].bytes().any(|byte| byte != b' ') {
                return Err(SqlError::new(
                    SqlState::STRING_DATA_RIGHT_TRUNCATION,
                    format!("value too long for type {to}"),
                ));
            }
            kept = &text[..cut];
        }
        builder.append_value(if blank_padded { kept.trim_end_matches(' ') } else { kept });
    }
    Ok(Arc::new(builder.finish()))
}

/// `jsonb` that is a number or a boolean, as one.
fn scalar_of_json(array: &ArrayRef, to: &SqlType, target: &Field, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    let documents = strings(array)?;
    let wanted = if *to == SqlType::Boolean { Kind::Boolean } else { Kind::Number };
    // Numbers round to whole ones as numerics do.
    let read_as = if is_number(to) && !matches!(to, SqlType::Numeric(_)) { &SqlType::Numeric(None) } else { to };
    let mut builder = ColumnBuilder::new(read_as, format).explicit_cast();
    for document in documents.as_string_view() {
        match document {
            None => builder.push_null(),
            Some(text) if kind(text) == wanted => builder.push_text(text.as_bytes())?,
            Some(text) => {
                let found = match kind(text) {
                    Kind::Boolean => "boolean",
                    Kind::Number => "numeric",
                    other => other.name(),
                };
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("cannot cast jsonb {found} to type {to}"),
                ));
            }
        }
    }
    let values = builder.finish();
    if read_as == to {
        return Ok(values);
    }
    let field = mapping::field("cast", read_as, true);
    cast_array(&values, &field, to, target, format, CastMode::Explicit)
}

fn doubles_to_reals(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    let reals: arrow::array::Float32Array = array.as_primitive::<Float64Type>().try_unary(|value| {
        let real = value as f32;
        if (real.is_infinite() && value.is_finite()) || (real == 0.0 && value != 0.0) {
            return Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value out of range: {}", if real == 0.0 { "underflow" } else { "overflow" }),
            ));
        }
        Ok(real)
    })?;
    Ok(Arc::new(reals))
}

/// A float as numeric keeps the digits the type guarantees: 15 for double precision, 6 for real.
fn floats_to_numeric(array: &ArrayRef, to: &SqlType, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    let mut builder = ColumnBuilder::new(to, format).explicit_cast();
    let mut push = |value: Option<f64>, digits: usize| -> Result<(), SqlError> {
        match value {
            None => builder.push_null(),
            Some(value) => builder.push_text(format!("{value:.*e}", digits - 1).as_bytes())?,
        }
        Ok(())
    };
    match array.data_type() {
        DataType::Float32 => {
            for value in array.as_primitive::<Float32Type>() {
                push(value.map(f64::from), 6)?;
            }
        }
        _ => {
            for value in array.as_primitive::<Float64Type>() {
                push(value, 15)?;
            }
        }
    }
    Ok(builder.finish())
}

fn microseconds(array: &ArrayRef, zone: Option<Arc<str>>) -> Result<ArrayRef, SqlError> {
    cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone)).map_err(|e| SqlError::internal(e.to_string()))
}

const DAY_MICROS: i64 = 86_400_000_000;

/// The date or the time of day of a timestamp.
fn timestamp_part(array: &ArrayRef, to: &SqlType, target: &DataType) -> Result<ArrayRef, SqlError> {
    let micros = microseconds(array, None)?;
    let values = micros.as_primitive::<TimestampMicrosecondType>();
    if *to == SqlType::Date {
        let days: arrow::array::Date32Array = values.try_unary(|value| match value {
            i64::MAX => Ok(i32::MAX),
            i64::MIN => Ok(i32::MIN),
            value => i32::try_from(value.div_euclid(DAY_MICROS))
                .map_err(|_| SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")),
        })?;
        return Ok(Arc::new(days));
    }
    let times: arrow::array::PrimitiveArray<Int64Type> = values.unary(|value| value.rem_euclid(DAY_MICROS));
    cast(&times, target).map_err(|e| SqlError::internal(e.to_string()))
}

fn cast_list(
    array: &ArrayRef,
    item: &SqlType,
    target: &DataType,
    format: &TextFormat,
    mode: CastMode,
) -> Result<ArrayRef, SqlError> {
    let DataType::List(target_item) = target else {
        return Err(SqlError::internal("the target of an array cast is not a list"));
    };
    let source = match array.data_type() {
        DataType::List(_) => Arc::clone(array),
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            cast(array, &DataType::List(Arc::clone(field))).map_err(|e| SqlError::internal(e.to_string()))?
        }
        other => return Err(SqlError::internal(format!("{other} is not an array"))),
    };
    let list: &GenericListArray<i32> = source.as_list();
    let DataType::List(source_item) = source.data_type() else {
        return Err(SqlError::internal("the source of an array cast is not a list"));
    };
    let values = match source_item.data_type() {
        DataType::List(_) => {
            return Err(SqlError::unsupported("casts of multidimensional arrays are not supported")
                .with_hint("Cast the elements of which the array is made."));
        }
        _ => cast_array(list.values(), source_item, item, target_item, format, mode)?,
    };
    let list = GenericListArray::<i32>::try_new(
        Arc::clone(target_item),
        list.offsets().clone(),
        values,
        list.nulls().cloned(),
    )
    .map_err(|e| SqlError::internal(e.to_string()))?;
    Ok(Arc::new(list))
}
