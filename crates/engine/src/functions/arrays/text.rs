//! Arrays to text and text to arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use wharf_values::TextFormat;

use super::Lists;
use crate::functions::call::{Call, Result, TextColumn, TextItems};
use crate::functions::output::{TextOutput, item_field};
use crate::functions::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    stable("array_to_string", "anyarray, text -> text", array_to_string).called_on_null(),
    stable("array_to_string", "anyarray, text, text -> text", array_to_string).called_on_null(),
    immutable("string_to_array", "text, text -> text[]", string_to_array).called_on_null(),
    immutable("string_to_array", "text, text, text -> text[]", string_to_array).called_on_null(),
    immutable("string_to_table", "text, text -> text[]", string_to_array).called_on_null(),
    immutable("string_to_table", "text, text, text -> text[]", string_to_array).called_on_null(),
];

/// The innermost items of lists of lists, with the output of their type.
struct Leaves {
    lists: Vec<ListArray>,
    output: TextOutput,
}

impl Leaves {
    fn new(call: &Call<'_>, lists: &Lists<'_>, format: &TextFormat) -> Result<Leaves> {
        let mut nested = Vec::new();
        let mut items: ArrayRef = Arc::clone(lists.items());
        let mut field = item_field(&call.fields[0]);
        while let Some(list) = items.as_any().downcast_ref::<ListArray>().cloned() {
            items = Arc::clone(list.values());
            field = item_field(&field);
            nested.push(list);
        }
        Ok(Leaves { lists: nested, output: TextOutput::of(&items, &field, format)? })
    }

    /// The leaves below a range of items of one level.
    fn range(&self, mut range: std::ops::Range<usize>) -> std::ops::Range<usize> {
        for list in &self.lists {
            let offsets = list.value_offsets();
            range = offsets[range.start] as usize..offsets[range.end] as usize;
        }
        range
    }
}

fn array_to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, separator) = (Lists::new(call, 0)?, call.text(1)?);
    let null_text: Option<TextColumn<'_>> = if call.len() == 3 { Some(call.text(2)?) } else { None };
    let mut leaves = Leaves::new(call, &lists, &call.text_format())?;
    call.make_optional_text(|row, out| {
        let (false, Some(separator)) = (lists.is_null(row), separator.get(row)) else { return Ok(false) };
        let null_text = null_text.and_then(|text| text.get(row));
        let mut first = true;
        for index in leaves.range(lists.range(row)) {
            let null = leaves.output.is_null(index);
            if null && null_text.is_none() {
                continue;
            }
            if !first {
                out.push_str(separator);
            }
            first = false;
            match null_text.filter(|_| null) {
                Some(text) => out.push_str(text),
                None => leaves.output.write(index, out)?,
            }
        }
        Ok(true)
    })
}

fn string_to_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    let null_text: Option<TextColumn<'_>> = if call.len() == 3 { Some(call.text(2)?) } else { None };
    call.make_text_list(|row, items: &mut TextItems| {
        let Some(text) = text.get(row) else { return Ok(false) };
        let null_text = null_text.and_then(|text| text.get(row));
        let mut push = |part: &str| {
            if Some(part) == null_text {
                items.push_null();
                Ok(())
            } else {
                items.push(part)
            }
        };
        match separator.get(row) {
            _ if text.is_empty() => {}
            // Without a separator every character is an item.
            None => {
                for (offset, letter) in text.char_indices() {
                    push(&text[offset..offset + letter.len_utf8()])?;
                }
            }
            Some("") => push(text)?,
            Some(separator) => {
                for part in text.split(separator) {
                    push(part)?;
                }
            }
        }
        Ok(true)
    })
}
