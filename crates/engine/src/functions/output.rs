//! Values of any type as text, for functions that take any type (`concat`, `format`, `to_json`, `array_to_string`).
//!
//! What always holds: the text is the type's output function's, in the session's formats. Text itself is not copied
//! through an encoder.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Field};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, TextEncoder, TextFormat, text_out};

use super::call::{Call, Result};

/// Writes the values of one argument (or of any array) as text.
pub(super) struct TextOutput {
    source: Source,
    constant: bool,
    scratch: Vec<u8>,
}

enum Source {
    Null,
    Text(StringViewArray),
    Encoder(Box<dyn TextEncoder + Send>),
}

impl TextOutput {
    /// The values of an argument.
    pub(super) fn new(call: &Call<'_>, index: usize) -> Result<TextOutput> {
        let argument = &call.arguments[index];
        let mut output = TextOutput::of(&argument.array, &call.fields[index], &call.text_format())?;
        output.constant = argument.constant;
        Ok(output)
    }

    /// The values of an array; the field's metadata says which SQL type it has.
    pub(super) fn of(array: &ArrayRef, field: &Field, format: &TextFormat) -> Result<TextOutput> {
        let source = match array.data_type() {
            DataType::Null => Source::Null,
            // char(n) keeps its padding here, which its encoder writes.
            DataType::Utf8View if !matches!(wharf_values::sql_type(field), SqlType::Char(1..)) => {
                Source::Text(array.as_string_view().clone())
            }
            data_type => {
                let field = Field::new(field.name(), data_type.clone(), true).with_metadata(field.metadata().clone());
                Source::Encoder(text_out::encoder(&field, array, format)?)
            }
        };
        Ok(TextOutput { source, constant: false, scratch: Vec::new() })
    }

    fn row(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        let row = self.row(row);
        match &self.source {
            Source::Null => true,
            Source::Text(text) => text.is_null(row),
            Source::Encoder(encoder) => encoder.is_null(row),
        }
    }

    /// Appends a value; null appends nothing.
    pub(super) fn write(&mut self, row: usize, out: &mut String) -> Result<()> {
        let row = self.row(row);
        match &mut self.source {
            Source::Null => {}
            Source::Text(text) => {
                if text.is_valid(row) {
                    out.push_str(text.value(row));
                }
            }
            Source::Encoder(encoder) => {
                if !encoder.is_null(row) {
                    self.scratch.clear();
                    encoder.write(row, &mut self.scratch);
                    let text = std::str::from_utf8(&self.scratch);
                    out.push_str(text.map_err(|error| SqlError::internal(error.to_string()))?);
                }
            }
        }
        Ok(())
    }
}

/// A field for the items of a list.
pub(super) fn item_field(list: &Field) -> Arc<Field> {
    match list.data_type() {
        DataType::List(item) => {
            // The list's own metadata names the type of its items as `type[]`.
            match wharf_values::sql_type(list).innermost() {
                SqlType::Unknown => Arc::clone(item),
                ty if item.metadata().is_empty() && !matches!(item.data_type(), DataType::List(_)) => {
                    let metadata = wharf_values::mapping::metadata(ty);
                    Arc::new(Field::clone(item).with_metadata(metadata))
                }
                _ => Arc::clone(item),
            }
        }
        _ => Arc::new(list.clone()),
    }
}
