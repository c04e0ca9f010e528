//! JSON, one object a line: `{"a":1,"b":"x"}`.
//!
//! What always holds: a line written is what PostgreSQL's `row_to_json` answers. Read, a member goes to the column of its
//! name: a string as its text, `null` as a null, anything else as it is written, each by the input function of the
//! column's type. A column without a member is null; a member without a column is passed over.

use std::borrow::Cow;

use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, validate_json};

use super::fields::Fields;
use crate::functions::json::{Kind, Parts, as_text, kind, string_text};

/// Splits a line into the columns' values.
pub(super) struct JsonLine {
    names: Vec<String>,
    /// Where in the line's members each column's value is.
    found: Vec<Option<(usize, usize)>>,
}

impl JsonLine {
    pub(super) fn new(names: &[&str]) -> JsonLine {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        JsonLine { found: vec![None; names.len()], names }
    }

    /// False for a line without anything.
    pub(super) fn parse(&mut self, line: &[u8], number: u64, fields: &mut Fields) -> Result<bool, SqlError> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
            fields.place_error(SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message), number)
        })?;
        if text.trim_matches([' ', '\t', '\r']).is_empty() {
            return Ok(false);
        }
        validate_json(text).map_err(|error| fields.line_error(error, number, line))?;
        if kind(text) != Kind::Object {
            let error = SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "a line of JSON is not an object");
            return Err(fields.line_error(error, number, line));
        }
        self.found.fill(None);
        for (key, value) in Parts::of(text) {
            let key = string_text(key);
            if let Some(column) = self.names.iter().position(|name| *name == key) {
                let start = value.as_ptr() as usize - text.as_ptr() as usize;
                self.found[column] = Some((start, start + value.len()));
            }
        }
        for column in 0..self.names.len() {
            let value = self.found[column].map(|(start, end)| &text[start..end]);
            let is_json = matches!(fields.columns[column].ty, SqlType::Json | SqlType::Jsonb);
            let is_list = matches!(fields.columns[column].ty, SqlType::Array(_));
            match value {
                None => put(column, None, number, line, fields)?,
                // A null of JSON is a value of its columns only within a document.
                Some(value) if kind(value) == Kind::Null => put(column, None, number, line, fields)?,
                Some(value) if is_json => put(column, Some(value), number, line, fields)?,
                Some(value) if is_list && kind(value) == Kind::Array => {
                    put(column, Some(&list_text(value)), number, line, fields)?;
                }
                Some(value) => put(column, as_text(value).as_deref(), number, line, fields)?,
            }
        }
        Ok(true)
    }
}

fn put(column: usize, value: Option<&str>, number: u64, line: &[u8], fields: &mut Fields) -> Result<(), SqlError> {
    match value {
        Some(value) => fields.push(column, value.as_bytes(), number),
        None if fields.columns[column].nullable => {
            fields.push_null(column);
            Ok(())
        }
        None => Err(fields.null_error(column, number, line)),
    }
}

/// An array of JSON as PostgreSQL writes an array.
fn list_text(document: &str) -> String {
    let mut out = String::from("{");
    for (index, (_, value)) in Parts::of(document).enumerate() {
        if index > 0 {
            out.push(',');
        }
        match kind(value) {
            Kind::Null => out.push_str("NULL"),
            Kind::Array => out.push_str(&list_text(value)),
            kind => {
                let text = if kind == Kind::String { string_text(value) } else { Cow::Borrowed(value) };
                out.push('"');
                for letter in text.chars() {
                    if matches!(letter, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(letter);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    out
}
