//! Arrays (`{1,2,NULL,"a b"}`) and anonymous rows (`(1,"a b",)`).
//!
//! What always holds: an element is quoted exactly when PostgreSQL quotes it, so that the text reads back. Nested lists
//! are the further dimensions of one array.

use arrow::array::{Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use wharf_catalog::SqlType;

use super::{BoxedEncoder, encoder, is_plain_in_arrays};
use crate::encoder::Encoder;
use crate::error::SqlError;
use crate::format::TextFormat;
use crate::mapping::item_field;

/// The encoder of a list column.
pub(super) fn list_encoder(
    field: &Field,
    ty: &SqlType,
    array: &ListArray,
    format: &TextFormat,
) -> Result<BoxedEncoder, SqlError> {
    let DataType::List(item) = array.data_type() else {
        return Err(SqlError::internal("a list array whose type is not a list"));
    };
    let item = item_field(field, ty, item);
    let nested = matches!(item.data_type(), DataType::List(_));
    Ok(Box::new(Lists {
        offsets: array.offsets().clone(),
        nulls: array.nulls().cloned(),
        items: encoder(&item, array.values(), format)?,
        plain: nested || is_plain_in_arrays(item.data_type()),
        scratch: Vec::new(),
    }))
}

struct Lists {
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    items: BoxedEncoder,
    /// No item ever needs quotes.
    plain: bool,
    scratch: Vec<u8>,
}

impl Encoder for Lists {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        let items = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        out.push(b'{');
        for item in items.clone() {
            if item > items.start {
                out.push(b',');
            }
            if self.items.is_null(item) {
                out.extend_from_slice(b"NULL");
            } else {
                let start = out.len();
                self.items.write(item, out);
                if !self.plain && needs_quotes(&out[start..]) {
                    quote(start, &mut self.scratch, out, |byte| matches!(byte, b'"' | b'\\').then_some(b'\\'));
                }
            }
        }
        out.push(b'}');
    }
}

/// What `array_in` would not read back as it stands.
fn needs_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text
            .iter()
            .any(|byte| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c))
}

/// Puts quotes around what was written from `start` on, and before some bytes the one that escapes them.
fn quote(start: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>, escape: impl Fn(u8) -> Option<u8>) {
    scratch.clear();
    scratch.extend_from_slice(&out[start..]);
    out.truncate(start);
    out.push(b'"');
    for byte in scratch.iter() {
        out.extend(escape(*byte));
        out.push(*byte);
    }
    out.push(b'"');
}

/// The encoder of a struct column.
pub(super) fn record_encoder(array: &StructArray, format: &TextFormat) -> Result<BoxedEncoder, SqlError> {
    let columns = array
        .fields()
        .iter()
        .zip(array.columns())
        .map(|(field, column)| encoder(field, column, format))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(Records { columns, nulls: array.nulls().cloned(), scratch: Vec::new() }))
}

struct Records {
    columns: Vec<BoxedEncoder>,
    nulls: Option<NullBuffer>,
    scratch: Vec<u8>,
}

impl Encoder for Records {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'(');
        for (index, column) in self.columns.iter_mut().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if column.is_null(row) {
                continue;
            }
            let start = out.len();
            column.write(row, out);
            let text = &out[start..];
            let special = text.is_empty()
                || text.iter().any(|byte| {
                    matches!(byte, b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
                });
            if special {
                // Rows double what arrays escape.
                quote(start, &mut self.scratch, out, |byte| matches!(byte, b'"' | b'\\').then_some(byte));
            }
        }
        out.push(b')');
    }
}
