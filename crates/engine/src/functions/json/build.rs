//! Documents made from values of any type: `to_json`, `json_build_object` and their kin.

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, Field};
use wharf_catalog::SqlType;
use wharf_values::{DateOutput, SqlError, SqlState, TextFormat, normalize_jsonb};

use super::scan::push_string;
use crate::functions::call::{Call, Result, invalid_parameter};
use crate::functions::output::{TextOutput, item_field};
use crate::functions::overload::{Declaration, immutable, stable};
use crate::functions::udf::argument_type;

pub(super) const FUNCTIONS: &[Declaration] = &[
    stable("to_json", "any -> json", to_json),
    stable("to_jsonb", "any -> jsonb", to_json),
    stable("array_to_json", "anyarray -> json", to_json),
    stable("row_to_json", "any -> json", to_json),
    stable("json_build_array", "-> json", build_array).called_on_null(),
    stable("json_build_array", "variadic any -> json", build_array).called_on_null(),
    stable("jsonb_build_array", "-> jsonb", build_array).called_on_null(),
    stable("jsonb_build_array", "variadic any -> jsonb", build_array).called_on_null(),
    stable("json_build_object", "-> json", build_object).called_on_null(),
    stable("json_build_object", "variadic any -> json", build_object).called_on_null(),
    stable("jsonb_build_object", "-> jsonb", build_object).called_on_null(),
    stable("jsonb_build_object", "variadic any -> jsonb", build_object).called_on_null(),
    immutable("json_object", "text[] -> json", object_of_pairs),
    immutable("json_object", "text[], text[] -> json", object_of_lists),
    immutable("jsonb_object", "text[] -> jsonb", object_of_pairs),
    immutable("jsonb_object", "text[], text[] -> jsonb", object_of_lists),
];

/// Writes the values of an array as JSON.
enum Writer {
    /// As its text: numbers, and JSON itself.
    Verbatim(TextOutput),
    /// Doubles, whose infinities and NaN are strings.
    Double(TextOutput),
    Boolean(TextOutput),
    Quoted(TextOutput),
    /// A timestamp: a string with a `T` between date and time.
    Timestamp {
        output: TextOutput,
        zoned: bool,
    },
    List {
        array: arrow::array::ListArray,
        item: Box<Writer>,
    },
    Record {
        array: StructArray,
        members: Vec<(String, Writer)>,
    },
}

impl Writer {
    fn new(array: &ArrayRef, field: &Field, format: &TextFormat) -> Result<Writer> {
        match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>().clone();
                let item = Box::new(Writer::new(list.values(), &item_field(field), format)?);
                return Ok(Writer::List { array: list, item });
            }
            DataType::Struct(fields) => {
                let record = array.as_struct().clone();
                let members = fields
                    .iter()
                    .zip(record.columns())
                    .map(|(field, column)| Ok((field.name().clone(), Writer::new(column, field, format)?)))
                    .collect::<Result<Vec<_>>>()?;
                return Ok(Writer::Record { array: record, members });
            }
            _ => {}
        }
        let ty = match argument_type(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        };
        let mut format = format.clone();
        format.date_style.output = DateOutput::Iso;
        let output = TextOutput::of(array, field, &format)?;
        Ok(match ty {
            SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Numeric(_)
            | SqlType::Json
            | SqlType::Jsonb => Writer::Verbatim(output),
            SqlType::Real | SqlType::Double => Writer::Double(output),
            SqlType::Boolean => Writer::Boolean(output),
            SqlType::Timestamp => Writer::Timestamp { output, zoned: false },
            SqlType::TimestampTz => Writer::Timestamp { output, zoned: true },
            _ => Writer::Quoted(output),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Writer::Verbatim(output)
            | Writer::Double(output)
            | Writer::Boolean(output)
            | Writer::Quoted(output)
            | Writer::Timestamp { output, .. } => output.is_null(row),
            Writer::List { array, .. } => array.is_null(row),
            Writer::Record { array, .. } => array.is_null(row),
        }
    }

    fn write(&mut self, row: usize, out: &mut String) -> Result<()> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match self {
            Writer::Verbatim(output) => output.write(row, out)?,
            Writer::Double(output) => {
                let start = out.len();
                output.write(row, out)?;
                if out[start..].bytes().any(|byte| matches!(byte, b'N' | b'I')) {
                    out.insert(start, '"');
                    out.push('"');
                }
            }
            Writer::Boolean(output) => {
                let mut text = String::new();
                output.write(row, &mut text)?;
                out.push_str(if text == "t" { "true" } else { "false" });
            }
            Writer::Quoted(output) => {
                let mut text = String::new();
                output.write(row, &mut text)?;
                push_string(&text, out);
            }
            Writer::Timestamp { output, zoned } => {
                let mut text = String::new();
                output.write(row, &mut text)?;
                push_timestamp(&text, *zoned, out);
            }
            Writer::List { array, item } => {
                let offsets = array.value_offsets();
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.push('[');
                for index in start..end {
                    if index > start {
                        out.push(',');
                    }
                    item.write(index, out)?;
                }
                out.push(']');
            }
            Writer::Record { members, .. } => write_members(members, row, out)?,
        }
        Ok(())
    }
}

/// Writes rows of several columns as objects, as `row_to_json` does.
pub(crate) struct RowWriter {
    members: Vec<(String, Writer)>,
}

impl RowWriter {
    /// A writer for columns with the names of their fields.
    ///
    /// # Errors
    /// `0A000` for a type that has no text.
    pub(crate) fn new(fields: &[Field], columns: &[ArrayRef], format: &TextFormat) -> Result<RowWriter> {
        let members = fields
            .iter()
            .zip(columns)
            .map(|(field, column)| Ok((field.name().clone(), Writer::new(column, field, format)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(RowWriter { members })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// What an output function refuses.
    pub(crate) fn write(&mut self, row: usize, out: &mut String) -> Result<()> {
        write_members(&mut self.members, row, out)
    }
}

fn write_members(members: &mut [(String, Writer)], row: usize, out: &mut String) -> Result<()> {
    out.push('{');
    for (index, (name, writer)) in members.iter_mut().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(name, out);
        out.push(':');
        writer.write(row, out)?;
    }
    out.push('}');
    Ok(())
}

/// `2020-01-01 10:00:00+00` in the form of XML Schema: `"2020-01-01T10:00:00+00:00"`.
fn push_timestamp(text: &str, zoned: bool, out: &mut String) {
    let (text, era) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    out.push('"');
    match text.split_once(' ') {
        None => out.push_str(text),
        Some((date, time)) => {
            out.push_str(date);
            out.push('T');
            out.push_str(time);
            let hours_only = time.rfind(['+', '-']).is_some_and(|sign| !time[sign..].contains(':'));
            if zoned && hours_only {
                out.push_str(":00");
            }
        }
    }
    out.push_str(era);
    out.push('"');
}

/// The writers of a call's arguments, and which row of each a row of the call is.
struct Writers {
    writers: Vec<(Writer, bool)>,
}

impl Writers {
    fn new(call: &Call<'_>) -> Result<Writers> {
        let format = call.text_format();
        let writers = call
            .arguments
            .iter()
            .zip(&call.fields)
            .map(|(argument, field)| Ok((Writer::new(&argument.array, field, &format)?, argument.constant)))
            .collect::<Result<_>>()?;
        Ok(Writers { writers })
    }

    fn write(&mut self, index: usize, row: usize, out: &mut String) -> Result<()> {
        let (writer, constant) = &mut self.writers[index];
        writer.write(if *constant { 0 } else { row }, out)
    }
}

/// `jsonb` is normalized after it has been written.
fn make_document(call: &Call<'_>, mut write: impl FnMut(usize, &mut String) -> Result<()>) -> Result<ArrayRef> {
    let binary = call.return_field.metadata().get(wharf_values::mapping::TYPE_KEY).is_some_and(|ty| ty == "jsonb");
    let mut raw = String::new();
    call.make_text(|row, out| {
        if !binary {
            return write(row, out);
        }
        raw.clear();
        write(row, &mut raw)?;
        out.push_str(&normalize_jsonb(&raw)?);
        Ok(())
    })
}

fn to_json(call: &Call<'_>) -> Result<ArrayRef> {
    let mut writers = Writers::new(call)?;
    make_document(call, |row, out| writers.write(0, row, out))
}

fn build_array(call: &Call<'_>) -> Result<ArrayRef> {
    let mut writers = Writers::new(call)?;
    make_document(call, |row, out| {
        out.push('[');
        for index in 0..call.len() {
            if index > 0 {
                out.push_str(", ");
            }
            writers.write(index, row, out)?;
        }
        out.push(']');
        Ok(())
    })
}

fn build_object(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() % 2 == 1 {
        let hint = format!("The arguments of {}() must consist of alternating keys and values.", call.name);
        return Err(invalid_parameter("argument list must have even number of elements").with_hint(hint));
    }
    for index in (0..call.len()).step_by(2) {
        let composite = matches!(call.arguments[index].array.data_type(), DataType::List(_) | DataType::Struct(_));
        if composite || matches!(argument_type(&call.fields[index]), SqlType::Json | SqlType::Jsonb) {
            return Err(invalid_parameter("key value must be scalar, not array, composite, or json"));
        }
    }
    let mut keys = (0..call.len()).step_by(2).map(|index| TextOutput::new(call, index)).collect::<Result<Vec<_>>>()?;
    let mut writers = Writers::new(call)?;
    let mut key = String::new();
    make_document(call, |row, out| {
        out.push('{');
        for (index, output) in keys.iter_mut().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            let number = 2 * index + 1;
            if output.is_null(row) {
                return Err(if call.name.starts_with("jsonb") {
                    invalid_parameter(format!("argument {number}: key must not be null"))
                } else {
                    invalid_parameter(format!("argument {number} cannot be null"))
                        .with_hint("Object keys should be text.")
                });
            }
            key.clear();
            output.write(row, &mut key)?;
            push_string(&key, out);
            out.push_str(" : ");
            writers.write(number, row, out)?;
        }
        out.push('}');
        Ok(())
    })
}

fn push_pair(key: Option<&str>, value: Option<&str>, first: bool, out: &mut String) -> Result<()> {
    let Some(key) = key else {
        return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key"));
    };
    if !first {
        out.push_str(", ");
    }
    push_string(key, out);
    out.push_str(" : ");
    match value {
        Some(value) => push_string(value, out),
        None => out.push_str("null"),
    }
    Ok(())
}

fn flat_list(call: &Call<'_>, index: usize) -> Result<()> {
    match call.list(index)?.array.values().data_type() {
        DataType::Utf8View => Ok(()),
        _ => Err(SqlError::unsupported(format!("{} of multidimensional arrays is not supported", call.name))
            .with_hint("Use arrays of one dimension.")),
    }
}

fn object_of_pairs(call: &Call<'_>) -> Result<ArrayRef> {
    flat_list(call, 0)?;
    let list = call.list(0)?;
    make_document(call, |row, out| {
        let texts = list.at(row);
        let texts = texts.as_string_view().iter().collect::<Vec<_>>();
        if texts.len() % 2 == 1 {
            return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements"));
        }
        out.push('{');
        for (index, pair) in texts.chunks(2).enumerate() {
            push_pair(pair[0], pair[1], index == 0, out)?;
        }
        out.push('}');
        Ok(())
    })
}

fn object_of_lists(call: &Call<'_>) -> Result<ArrayRef> {
    flat_list(call, 0)?;
    flat_list(call, 1)?;
    let (keys, values) = (call.list(0)?, call.list(1)?);
    make_document(call, |row, out| {
        let (keys, values) = (keys.at(row), values.at(row));
        if keys.len() != values.len() {
            return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions"));
        }
        out.push('{');
        for (index, (key, value)) in keys.as_string_view().iter().zip(values.as_string_view().iter()).enumerate() {
            push_pair(key, value, index == 0, out)?;
        }
        out.push('}');
        Ok(())
    })
}
