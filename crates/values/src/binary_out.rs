//! Values in the wire's binary format: what PostgreSQL's `send` functions produce, big-endian throughout.
//!
//! What always holds: [`encoder`] looks at the column's type once and returns a writer made for it; lengths before
//! values are the caller's, except inside arrays and rows. Nothing here depends on the session's settings.

mod array;
mod numeric;

use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowNativeType, Field, IntervalMonthDayNano};
use wharf_catalog::SqlType;

use crate::calendar::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use crate::columns::{Column, Fixed};
use crate::encoder::{
    AllNull, BlankPadded, Booleans, BoxedEncoder, BytesArray, FixedWidth, VariableWidth, Verbatim, WriteValue,
};
use crate::error::SqlError;
use crate::interval_parts::Interval;
use crate::mapping::{NumericDisplay, sql_type};
use crate::text_in::uuid;

pub use crate::encoder::Encoder as BinaryEncoder;

/// The writer of a column's values in binary.
///
/// `0A000` when the Arrow type holds no SQL values, for arrays whose parts differ in length, and for `regclass` and
/// `regtype` that are names; `22003` and `22008` as for text.
pub fn encoder(field: &Field, array: &ArrayRef) -> Result<Box<dyn BinaryEncoder + Send>, SqlError> {
    let ty = sql_type(field);
    Ok(match Column::new(array, &ty)? {
        Column::Null => Box::new(AllNull),
        Column::Boolean(array) => Booleans::boxed(&array, Boolean),
        Column::Int16(column) => fixed(column, BigEndian),
        Column::Int32(column) => fixed(column, BigEndian),
        Column::Int64(column) => fixed(column, BigEndian),
        Column::UInt32(column) => fixed(column, BigEndian),
        Column::Float32(column) => fixed(column, BigEndian),
        Column::Float64(column) => fixed(column, BigEndian),
        Column::Decimal128(column, scale) => fixed(column, numeric::Decimal::new(scale, NumericDisplay::of(field))),
        Column::Decimal256(column, scale) => fixed(column, numeric::Decimal::new(scale, NumericDisplay::of(field))),
        Column::Utf8(array) => text(array, &ty)?,
        Column::LargeUtf8(array) => text(array, &ty)?,
        Column::Utf8View(array) => text(array, &ty)?,
        Column::Binary(array) => VariableWidth::boxed(array, Verbatim),
        Column::LargeBinary(array) => VariableWidth::boxed(array, Verbatim),
        Column::BinaryView(array) => VariableWidth::boxed(array, Verbatim),
        Column::FixedSizeBinary(array) => VariableWidth::boxed(array, Verbatim),
        Column::Date(column) => fixed(column, Date),
        Column::Time(column) => fixed(column, BigEndian),
        Column::Timestamp(column) => fixed(column, Timestamp),
        Column::Interval(column) => fixed(column, IntervalParts),
        Column::List(array) => array::list_encoder(field, &ty, &array)?,
        Column::Struct(array) => array::record_encoder(&array)?,
    })
}

fn fixed<N, W>(column: Fixed<N>, writer: W) -> BoxedEncoder
where
    N: ArrowNativeType,
    W: WriteValue<N> + Send + 'static,
{
    FixedWidth::boxed(column.values, column.nulls, writer)
}

fn text<A: BytesArray + 'static>(array: A, ty: &SqlType) -> Result<BoxedEncoder, SqlError> {
    Ok(match ty {
        SqlType::Uuid => VariableWidth::boxed(array, Uuid),
        SqlType::Jsonb => VariableWidth::boxed(array, Jsonb),
        SqlType::Char(length @ 1..) => VariableWidth::boxed(array, BlankPadded { length: *length as usize }),
        SqlType::QChar => VariableWidth::boxed(array, SingleByte),
        SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
            return Err(SqlError::unsupported(format!("type {ty} is not supported in the binary format"))
                .with_hint("Cast the value to oid or to text."));
        }
        _ => VariableWidth::boxed(array, Verbatim),
    })
}

/// One byte.
struct Boolean;

impl WriteValue<bool> for Boolean {
    #[inline]
    fn write_value(&mut self, value: bool, out: &mut Vec<u8>) {
        out.push(u8::from(value));
    }
}

/// Numbers as they are.
struct BigEndian;

macro_rules! big_endian {
    ($($number:ty)*) => {
        $(impl WriteValue<$number> for BigEndian {
            #[inline]
            fn write_value(&mut self, value: $number, out: &mut Vec<u8>) {
                out.extend_from_slice(&value.to_be_bytes());
            }
        })*
    };
}

big_endian!(i16 i32 i64 u32 f32 f64);

/// Days since 2000-01-01; infinity stays what it is.
struct Date;

impl WriteValue<i32> for Date {
    #[inline]
    fn write_value(&mut self, value: i32, out: &mut Vec<u8>) {
        let sent = match value {
            i32::MAX | i32::MIN => value,
            days => days.saturating_sub(POSTGRES_EPOCH_DAYS),
        };
        out.extend_from_slice(&sent.to_be_bytes());
    }
}

/// Microseconds since 2000-01-01; infinity stays what it is.
struct Timestamp;

impl WriteValue<i64> for Timestamp {
    #[inline]
    fn write_value(&mut self, value: i64, out: &mut Vec<u8>) {
        let sent = match value {
            i64::MAX | i64::MIN => value,
            micros => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
        };
        out.extend_from_slice(&sent.to_be_bytes());
    }
}

/// Microseconds, days, months.
struct IntervalParts;

impl WriteValue<IntervalMonthDayNano> for IntervalParts {
    fn write_value(&mut self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        let Interval { months, days, micros } = Interval::from_arrow(value);
        out.extend_from_slice(&micros.to_be_bytes());
        out.extend_from_slice(&days.to_be_bytes());
        out.extend_from_slice(&months.to_be_bytes());
    }
}

/// Sixteen bytes from the canonical text.
struct Uuid;

impl WriteValue<&[u8]> for Uuid {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        // Stored UUIDs were checked when they came in.
        out.extend_from_slice(&uuid::to_bytes(value).unwrap_or_default());
    }
}

/// A version, and the text.
struct Jsonb;

impl WriteValue<&[u8]> for Jsonb {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(value);
    }
}

/// `"char"`: one byte, zero for the empty one.
struct SingleByte;

impl WriteValue<&[u8]> for SingleByte {
    fn write_value(&mut self, value: &[u8], out: &mut Vec<u8>) {
        out.push(value.first().copied().unwrap_or(0));
    }
}
