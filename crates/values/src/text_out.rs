//! Values as text: exactly what PostgreSQL prints for them.
//!
//! What always holds: [`encoder`] looks at the column's type once and returns a writer made for it; what it writes reads
//! back through [`crate::text_in`] as the same value under the same settings. Names behind `regclass` and `regtype`
//! numbers are the engine's to look up: such a column prints its numbers.

mod array;
mod bytea;
mod datetime;
mod digits;
mod float;
mod interval;
mod numbers;
mod numeric;

use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowNativeType, DataType, Field};
use wharf_catalog::SqlType;

use crate::columns::{Column, Fixed};
use crate::encoder::{AllNull, BlankPadded, Booleans, BytesArray, FixedWidth, VariableWidth, Verbatim, WriteValue};
use crate::error::SqlError;
use crate::format::{ByteaOutput, TextFormat};
use crate::mapping::{NumericDisplay, sql_type};

pub use crate::encoder::{BoxedEncoder, Encoder as TextEncoder};

/// The writer of a column's values as text.
///
/// `0A000` when the Arrow type holds no SQL values (maps, unions); `22003` and `22008` when a value that another Arrow
/// type can hold is outside the SQL type's range.
pub fn encoder(field: &Field, array: &ArrayRef, format: &TextFormat) -> Result<Box<dyn TextEncoder + Send>, SqlError> {
    let ty = sql_type(field);
    Ok(match Column::new(array, &ty)? {
        Column::Null => Box::new(AllNull),
        Column::Boolean(array) => Booleans::boxed(&array, numbers::Boolean),
        Column::Int16(column) => fixed(column, numbers::Integer),
        Column::Int32(column) => fixed(column, numbers::Integer),
        Column::Int64(column) => fixed(column, numbers::Integer),
        Column::UInt32(column) => fixed(column, numbers::Integer),
        Column::Float32(column) => match format.extra_float_digits {
            1.. => fixed(column, float::Shortest),
            extra => fixed(column, float::Rounded { digits: 6 + extra }),
        },
        Column::Float64(column) => match format.extra_float_digits {
            1.. => fixed(column, float::Shortest),
            extra => fixed(column, float::Rounded { digits: 15 + extra }),
        },
        Column::Decimal128(column, scale) => fixed(column, numeric::Decimal::new(scale, NumericDisplay::of(field))),
        Column::Decimal256(column, scale) => fixed(column, numeric::Decimal::new(scale, NumericDisplay::of(field))),
        Column::Utf8(array) => text(array, &ty),
        Column::LargeUtf8(array) => text(array, &ty),
        Column::Utf8View(array) => text(array, &ty),
        Column::Binary(array) => bytes(array, format),
        Column::LargeBinary(array) => bytes(array, format),
        Column::BinaryView(array) => bytes(array, format),
        Column::FixedSizeBinary(array) if ty == SqlType::Uuid => VariableWidth::boxed(array, numbers::UuidBytes),
        Column::FixedSizeBinary(array) => bytes(array, format),
        Column::Date(column) => fixed(column, datetime::Date::new(format.date_style)),
        Column::Time(column) => fixed(column, datetime::Time),
        Column::Timestamp(column) => datetime::timestamp_encoder(column, ty == SqlType::TimestampTz, format),
        Column::Interval(column) => interval::interval_encoder(column, format.interval_style),
        Column::List(array) => array::list_encoder(field, &ty, &array, format)?,
        Column::Struct(array) => array::record_encoder(&array, format)?,
    })
}

/// The text of one value, for places that are not a hot path; `None` when it is null.
pub fn value_to_text(
    field: &Field,
    array: &ArrayRef,
    row: usize,
    format: &TextFormat,
) -> Result<Option<String>, SqlError> {
    let mut encoder = encoder(field, array, format)?;
    if encoder.is_null(row) {
        return Ok(None);
    }
    let mut out = Vec::new();
    encoder.write(row, &mut out);
    String::from_utf8(out).map(Some).map_err(|_| SqlError::internal("the text of a value is not valid UTF-8"))
}

fn fixed<N, W>(column: Fixed<N>, writer: W) -> BoxedEncoder
where
    N: ArrowNativeType,
    W: WriteValue<N> + Send + 'static,
{
    FixedWidth::boxed(column.values, column.nulls, writer)
}

fn text<A: BytesArray + 'static>(array: A, ty: &SqlType) -> BoxedEncoder {
    match ty {
        SqlType::Char(length @ 1..) => VariableWidth::boxed(array, BlankPadded { length: *length as usize }),
        _ => VariableWidth::boxed(array, Verbatim),
    }
}

fn bytes<A: BytesArray + 'static>(array: A, format: &TextFormat) -> BoxedEncoder {
    match format.bytea_output {
        ByteaOutput::Hex => VariableWidth::boxed(array, bytea::Hex),
        ByteaOutput::Escape => VariableWidth::boxed(array, bytea::Escape),
    }
}

/// Whether the text of a type's values never needs quotes inside an array.
fn is_plain_in_arrays(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Boolean)
}
