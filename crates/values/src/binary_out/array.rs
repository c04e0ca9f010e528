//! Arrays and anonymous rows in binary.
//!
//! What always holds: the lengths of an array's dimensions stand before its items, so every part of a dimension has the
//! same length; a column in which one has not is refused before anything is written.

use arrow::array::{Array, AsArray, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use wharf_catalog::SqlType;

use super::{BoxedEncoder, encoder};
use crate::encoder::Encoder;
use crate::error::SqlError;
use crate::mapping::{item_field, sql_type};

/// The encoder of a list column.
pub(super) fn list_encoder(field: &Field, ty: &SqlType, array: &ListArray) -> Result<BoxedEncoder, SqlError> {
    let mut dimensions = vec![array.offsets().clone()];
    let mut innermost = array.clone();
    let mut item = item_of(field, ty, &innermost)?;
    while let DataType::List(_) = item.data_type() {
        let inner = innermost.values().as_list::<i32>().clone();
        check_lengths(innermost.offsets(), &inner)?;
        dimensions.push(inner.offsets().clone());
        item = item_of(&item, ty, &inner)?;
        innermost = inner;
    }
    Ok(Box::new(Lists {
        nulls: array.nulls().cloned(),
        dimensions,
        item_oid: sql_type(&item).oid(),
        items: encoder(&item, innermost.values())?,
    }))
}

fn item_of(field: &Field, ty: &SqlType, array: &ListArray) -> Result<Field, SqlError> {
    match array.data_type() {
        DataType::List(item) => Ok(item_field(field, ty, item)),
        _ => Err(SqlError::internal("a list array whose type is not a list")),
    }
}

/// `0A000` unless all parts of each list have one length and none is null.
fn check_lengths(outer: &OffsetBuffer<i32>, inner: &ListArray) -> Result<(), SqlError> {
    for parts in outer.windows(2) {
        let parts = parts[0] as usize..parts[1] as usize;
        let length = |part: usize| inner.value_length(part);
        let same = parts.clone().all(|part| inner.is_valid(part) && length(part) == length(parts.start));
        if !same {
            return Err(SqlError::unsupported("arrays whose parts differ in length have no binary format")
                .with_hint("Cast the array to text."));
        }
    }
    Ok(())
}

struct Lists {
    /// The lists of each dimension, from the outside in.
    dimensions: Vec<OffsetBuffer<i32>>,
    nulls: Option<NullBuffer>,
    item_oid: u32,
    items: BoxedEncoder,
}

impl Encoder for Lists {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        let header = out.len();
        // Dimensions, whether there are nulls, the type of the items.
        push_i32(self.dimensions.len() as i32, out);
        push_i32(0, out);
        push_i32(self.item_oid as i32, out);
        // Parts of a dimension lie next to each other, so the items of the whole array are one range.
        let mut range = row..row + 1;
        for offsets in &self.dimensions {
            let length = if range.is_empty() { 0 } else { offsets[range.start + 1] - offsets[range.start] };
            push_i32(length, out);
            push_i32(1, out);
            range = offsets[range.start] as usize..offsets[range.end] as usize;
        }
        if range.is_empty() {
            // An array without items has no dimensions.
            out.truncate(header);
            push_i32(0, out);
            push_i32(0, out);
            push_i32(self.item_oid as i32, out);
            return;
        }
        let mut has_nulls = false;
        for item in range {
            has_nulls |= push_value(&mut self.items, item, out);
        }
        if has_nulls {
            out[header + 7] = 1;
        }
    }
}

/// The encoder of a struct column.
pub(super) fn record_encoder(array: &StructArray) -> Result<BoxedEncoder, SqlError> {
    let columns = array
        .fields()
        .iter()
        .zip(array.columns())
        .map(|(field, column)| Ok((sql_type(field).oid(), encoder(field, column)?)))
        .collect::<Result<_, SqlError>>()?;
    Ok(Box::new(Records { columns, nulls: array.nulls().cloned() }))
}

struct Records {
    columns: Vec<(u32, BoxedEncoder)>,
    nulls: Option<NullBuffer>,
}

impl Encoder for Records {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        push_i32(self.columns.len() as i32, out);
        for (oid, column) in &mut self.columns {
            push_i32(*oid as i32, out);
            push_value(column, row, out);
        }
    }
}

/// Writes a value with its length before it, -1 for null; whether it was null.
fn push_value(column: &mut BoxedEncoder, row: usize, out: &mut Vec<u8>) -> bool {
    if column.is_null(row) {
        push_i32(-1, out);
        return true;
    }
    let at = out.len();
    push_i32(0, out);
    column.write(row, out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    false
}

fn push_i32(value: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}
