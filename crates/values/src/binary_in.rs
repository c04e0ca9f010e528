//! Values from the wire's binary format: what PostgreSQL's `recv` functions accept.
//!
//! What always holds: every value passes the same checks as one that comes as text. Bytes that are left over are
//! `22P03`, bytes that are missing `08P01`, as in PostgreSQL; the caller adds which parameter or column it was.

use arrow::array::ArrayRef;
use wharf_catalog::SqlType;

use crate::calendar::{
    MAX_DATE, MAX_TIMESTAMP, MICROS_PER_DAY, MIN_DATE, MIN_TIMESTAMP, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS,
};
use crate::column_builder::{ColumnBuilder, List, Values};
use crate::decimal::Unscaled;
use crate::error::{SqlError, SqlState};
use crate::format::TextFormat;
use crate::interval_parts::Interval;
use crate::text_in::float::Float;
use crate::text_in::interval::out_of_range;
use crate::text_in::numeric::{Parts, Target, accept_parts, not_a_number};

/// Reads one value: an array of length 1 of the type's Arrow type (of text for `unknown`).
pub fn parse_binary(ty: &SqlType, bytes: &[u8]) -> Result<ArrayRef, SqlError> {
    let mut builder = ColumnBuilder::new(ty, &TextFormat::default());
    builder.push_binary(bytes)?;
    Ok(builder.finish())
}

/// Adds a value to a column.
pub(crate) fn push(builder: &mut ColumnBuilder, bytes: &[u8]) -> Result<(), SqlError> {
    let mut message = Message { rest: bytes };
    match &mut builder.values {
        Values::Boolean(values) => values.push(message.whole::<1>()? != [0]),
        Values::Int16(values) => values.push(i16::from_be_bytes(message.whole()?)),
        Values::Int32(values) => values.push(i32::from_be_bytes(message.whole()?)),
        Values::Int64(values) => values.push(i64::from_be_bytes(message.whole()?)),
        Values::Oid(values) => values.push(u32::from_be_bytes(message.whole()?)),
        Values::Float32(values) => values.push(f32::from_be_bytes(message.whole()?).canonical()),
        Values::Float64(values) => values.push(f64::from_be_bytes(message.whole()?).canonical()),
        Values::Decimal128(values, target) => values.push(read_numeric(&mut message, target, short_numeric)?),
        Values::Decimal256(values, target) => values.push(read_numeric(&mut message, target, |_, _| None)?),
        Values::Date(values, _) => values.push(read_date(message.whole()?)?),
        Values::Time(values, _) => {
            let micros = i64::from_be_bytes(message.whole()?);
            if !(0..=MICROS_PER_DAY).contains(&micros) {
                return Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "time out of range"));
            }
            values.push(micros);
        }
        Values::Timestamp(values, _) | Values::TimestampTz(values, _) => {
            values.push(read_timestamp(message.whole()?)?);
        }
        Values::Interval(values, _) => {
            let micros = i64::from_be_bytes(message.take()?);
            let days = i32::from_be_bytes(message.take()?);
            let months = i32::from_be_bytes(message.take()?);
            message.end()?;
            values.push(Interval { months, days, micros }.to_arrow().ok_or_else(out_of_range)?);
        }
        Values::List(list) => read_list(&mut message, list)?,
        Values::Bytea(..) => {
            builder.push_bytes(bytes);
            return Ok(());
        }
        Values::Text(..) => return push_text(builder, bytes),
    }
    builder.added();
    Ok(())
}

/// Adds a value of a type that is kept as a string.
fn push_text(builder: &mut ColumnBuilder, bytes: &[u8]) -> Result<(), SqlError> {
    match builder.sql_type() {
        SqlType::Uuid => {
            let id: [u8; 16] = (Message { rest: bytes }).whole()?;
            let mut buffer = uuid::Uuid::encode_buffer();
            let text = uuid::Uuid::from_bytes(id).hyphenated().encode_lower(&mut buffer);
            builder.push_checked_string(text.as_bytes())
        }
        SqlType::Jsonb => match bytes {
            [1, text @ ..] => builder.push_checked_string(text),
            [] => Err(insufficient()),
            [version, ..] => Err(SqlError::internal(format!("unsupported jsonb version number {version}"))),
        },
        SqlType::QChar => {
            let [byte] = (Message { rest: bytes }).whole()?;
            let text = if byte == 0 { &[][..] } else { &[byte][..] };
            builder.push_checked_string(text)
        }
        _ => builder.push_checked_string(bytes),
    }
}

/// The bytes of a value that have not been read.
struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(insufficient)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], SqlError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(insufficient)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// All the bytes there are, which must be so many.
    #[inline]
    fn whole<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        let bytes = self.take()?;
        self.end()?;
        Ok(bytes)
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format"))
        }
    }
}

#[cold]
fn insufficient() -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

#[cold]
fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

fn read_date(bytes: [u8; 4]) -> Result<i32, SqlError> {
    let days = i32::from_be_bytes(bytes);
    if matches!(days, i32::MAX | i32::MIN) {
        return Ok(days);
    }
    let days = i64::from(days) + i64::from(POSTGRES_EPOCH_DAYS);
    if (MIN_DATE..=MAX_DATE).contains(&days) {
        Ok(days as i32)
    } else {
        Err(SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range"))
    }
}

fn read_timestamp(bytes: [u8; 8]) -> Result<i64, SqlError> {
    let micros = i64::from_be_bytes(bytes);
    if matches!(micros, i64::MAX | i64::MIN) {
        return Ok(micros);
    }
    micros
        .checked_add(POSTGRES_EPOCH_MICROS)
        .filter(|micros| (MIN_TIMESTAMP..=MAX_TIMESTAMP).contains(micros))
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range"))
}

/// The header of a numeric, and its digits in base 10,000, two bytes each.
struct Groups<'a> {
    weight: i64,
    negative: bool,
    display_scale: i64,
    digits: &'a [u8],
}

impl Groups<'_> {
    fn iter(&self) -> impl Iterator<Item = i16> {
        self.digits.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
    }

    fn count(&self) -> usize {
        self.digits.len() / 2
    }
}

fn read_numeric<N>(
    message: &mut Message<'_>,
    target: &Target,
    short: impl Fn(&Groups<'_>, &Target) -> Option<Result<N, SqlError>>,
) -> Result<N, SqlError>
where
    N: Unscaled + PartialOrd + From<i8> + std::ops::Add<Output = N>,
{
    let count = u16::from_be_bytes(message.take()?);
    let weight = i16::from_be_bytes(message.take()?);
    let sign = u16::from_be_bytes(message.take()?);
    let display_scale = u16::from_be_bytes(message.take()?);
    match sign {
        0 | 0x4000 => {}
        0xc000 => return Err(not_a_number("NaN")),
        0xd000 => return Err(not_a_number("Infinity")),
        0xf000 => return Err(not_a_number("-Infinity")),
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    }
    if display_scale > 0x3fff {
        return Err(invalid("invalid scale in external \"numeric\" value"));
    }
    let digits = message.slice(usize::from(count) * 2)?;
    message.end()?;
    let groups =
        Groups { weight: i64::from(weight), negative: sign == 0x4000, display_scale: i64::from(display_scale), digits };
    if groups.iter().any(|digit| !(0..10_000).contains(&digit)) {
        return Err(invalid("invalid digit in external \"numeric\" value"));
    }
    match short(&groups, target) {
        Some(value) => value,
        None => accept_parts(parts(&groups), target),
    }
}

/// A number of at most nine groups, in 128 bits.
fn short_numeric(groups: &Groups<'_>, target: &Target) -> Option<Result<i128, SqlError>> {
    let count = groups.count();
    if count > 9 {
        return None;
    }
    let mut value = groups.iter().fold(0_i128, |value, digit| value * 10_000 + i128::from(digit));
    let mut scale = (count as i64 - 1 - groups.weight) * 4;
    if scale > groups.display_scale {
        // Digits beyond the display scale do not count.
        let cut = u32::try_from(scale - groups.display_scale).unwrap_or(u32::MAX);
        value = i128::power_of_ten(cut).map_or(0, |power| value / power);
        scale = groups.display_scale;
    }
    let value = if groups.negative { -value } else { value };
    Some(target.accept(value, scale as i32))
}

/// A number of any length, digit by digit.
fn parts(groups: &Groups<'_>) -> Parts {
    let mut digits = Vec::with_capacity(groups.count() * 4);
    for group in groups.iter() {
        digits.extend([group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| digit as u8));
    }
    let point = (groups.weight + 1) * 4;
    digits.truncate(usize::try_from(point + groups.display_scale).unwrap_or(0));
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..zeros);
    Parts { negative: groups.negative, digits, point: point - zeros as i64, display_scale: groups.display_scale }
}

fn read_list(message: &mut Message<'_>, list: &mut List) -> Result<(), SqlError> {
    let dimensions = i32::from_be_bytes(message.take()?);
    let flags = i32::from_be_bytes(message.take()?);
    let item_oid = u32::from_be_bytes(message.take()?);
    if !(0..=6).contains(&dimensions) {
        return Err(invalid(&format!("invalid number of dimensions: {dimensions}")));
    }
    if !(0..=1).contains(&flags) {
        return Err(invalid("invalid array flags"));
    }
    let expected = list.items.sql_type().oid();
    if item_oid != expected {
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, "wrong element type")
            .with_detail(format!("The array has elements of type {item_oid}, type {expected} was expected.")));
    }
    if dimensions > 1 {
        return Err(SqlError::unsupported("multidimensional arrays are not supported")
            .with_hint("Use an array of one dimension."));
    }
    if dimensions == 1 {
        let length = i32::from_be_bytes(message.take()?);
        let lower_bound = i32::from_be_bytes(message.take()?);
        if length > 0 && lower_bound != 1 {
            return Err(
                SqlError::unsupported("array dimensions are not supported").with_hint("Use an array that begins at 1.")
            );
        }
        for _ in 0..length.max(0) {
            match i32::from_be_bytes(message.take()?) {
                -1 => list.items.push_null(),
                length => {
                    let length = usize::try_from(length).map_err(|_| insufficient())?;
                    list.items.push_binary(message.slice(length)?)?;
                }
            }
        }
    }
    message.end()?;
    list.end_row()
}
