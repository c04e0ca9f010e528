//! Documents of arrays that aggregates gathered: what `json_agg(x)` and `json_object_agg(k, v)` are calls of, with
//! `array_agg(to_json(x))` in them.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use wharf_values::{SqlError, SqlState, normalize_jsonb};

use super::scan::push_string;
use crate::functions::call::{Call, Column, Result};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("json_of_array", "any -> json", |call| array(call, false)),
    immutable("jsonb_of_array", "any -> jsonb", |call| array(call, true)),
    immutable("json_object_of_arrays", "any, any -> json", |call| object(call, false)),
    immutable("jsonb_object_of_arrays", "any, any -> jsonb", |call| object(call, true)),
];

/// The items of all rows' arrays as text.
fn items(list: &ListArray) -> Result<StringViewArray> {
    let texts = cast(list.values(), &DataType::Utf8View).map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(texts.as_string_view().clone())
}

/// Where in its items an array is.
fn range(column: Column<'_, ListArray>, row: usize) -> std::ops::Range<usize> {
    let row = if column.is_constant() { 0 } else { row };
    let offsets = column.array.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn finish(raw: &str, binary: bool, out: &mut String) -> Result<()> {
    if binary {
        out.push_str(&normalize_jsonb(raw)?);
    } else {
        out.push_str(raw);
    }
    Ok(())
}

fn array(call: &Call<'_>, binary: bool) -> Result<ArrayRef> {
    let list = call.list(0)?;
    let values = items(list.array)?;
    let mut raw = String::new();
    call.make_text(|row, out| {
        raw.clear();
        raw.push('[');
        for (index, item) in range(list, row).enumerate() {
            if index > 0 {
                raw.push_str(", ");
            }
            raw.push_str(if values.is_null(item) { "null" } else { values.value(item) });
        }
        raw.push(']');
        finish(&raw, binary, out)
    })
}

fn object(call: &Call<'_>, binary: bool) -> Result<ArrayRef> {
    let (names, documents) = (call.list(0)?, call.list(1)?);
    let (keys, values) = (items(names.array)?, items(documents.array)?);
    let mut raw = String::new();
    call.make_text(|row, out| {
        raw.clear();
        raw.push_str("{ ");
        for (index, (key, value)) in range(names, row).zip(range(documents, row)).enumerate() {
            if index > 0 {
                raw.push_str(", ");
            }
            if keys.is_null(key) {
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"));
            }
            push_string(keys.value(key), &mut raw);
            raw.push_str(" : ");
            raw.push_str(if values.is_null(value) { "null" } else { values.value(value) });
        }
        raw.push_str(" }");
        finish(&raw, binary, out)
    })
}
