//! Values from text: PostgreSQL's input syntax, and its errors.
//!
//! What always holds: what PostgreSQL refuses is refused with its SQLSTATE and message; what Arrow has no room for
//! (`NaN` in numeric, more than 16 digits after the point of a numeric without precision, arrays of several dimensions)
//! is refused with `0A000` and a hint. The usual forms are read from the bytes without allocation; the rest takes a
//! slower way. Casts between types that are not text are the engine's.

pub(crate) mod array;
pub(crate) mod boolean;
pub(crate) mod bytea;
pub(crate) mod datetime;
pub(crate) mod float;
pub(crate) mod integer;
pub(crate) mod interval;
pub(crate) mod json;
pub(crate) mod numeric;
pub(crate) mod string;
pub(crate) mod uuid;

use std::borrow::Cow;

use arrow::array::ArrayRef;
use wharf_catalog::SqlType;

use crate::column_builder::ColumnBuilder;
use crate::error::SqlError;
use crate::format::TextFormat;

/// Reads one value: an array of length 1 of the type's Arrow type (of text for `unknown`).
///
/// Errors are those of PostgreSQL's input function: `22P02` and `22007` for bad syntax, `22003` and `22008` for values
/// out of range, `22001` for strings that are too long, `0A000` for what cannot be stored.
pub fn parse(ty: &SqlType, text: &str, format: &TextFormat) -> Result<ArrayRef, SqlError> {
    let mut builder = ColumnBuilder::new(ty, format);
    builder.push_text(text.as_bytes())?;
    Ok(builder.finish())
}

/// What C's `isspace` calls space.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The text without spaces around it.
#[inline]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let Some(start) = text.iter().position(|byte| !is_space(*byte)) else {
        return &[];
    };
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The text for an error message.
pub(crate) fn shown(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}
