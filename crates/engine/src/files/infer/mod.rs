//! The columns of files: their names and types, as far as the files say them.
//!
//! Parquet says both. Of CSV, text and JSON the beginning of some of the files is read: [`SAMPLE_BYTES`] of each of at most
//! [`SAMPLED_FILES`], the first and the last among them. What always holds: every value that was read is taken by the type
//! that its column gets, by the input function that COPY uses; a column of which no value was read is text. A value further on
//! may be of another type, which is then an error of the load.

mod kind;

use arrow::array::{Array, AsArray};
use bytes::{Bytes, BytesMut};
use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt, stream};
use wharf_catalog::{Column, SqlType};
use wharf_values::{ColumnBuilder, SqlError, SqlState, TextFormat, mapping};

use self::kind::Kind;
use super::contents;
use super::described::Described;
use super::job::parquet_files;
use super::progress::Progress;
use crate::bind::BindContext;
use crate::copy::{CopyFormat, sample};
use crate::engine::Engine;
use crate::functions::json::{self, Parts, as_text, string_text};

/// Bytes that are read of a file, uncompressed.
const SAMPLE_BYTES: usize = 1 << 20;
/// Files that are read.
const SAMPLED_FILES: usize = 32;
/// Of which so many at a time.
const SIDE_BY_SIDE: usize = 8;
/// Lines of JSON that are read of a file.
const MAX_LINES: usize = 10_000;
/// PostgreSQL's limit of a name, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// What one file says of a column.
#[derive(Clone, Debug)]
struct Found {
    name: String,
    kind: Kind,
    /// The file that says so; of several the one that said the most.
    file: usize,
}

/// The columns of files; their field ids come later.
///
/// # Errors
/// What is wrong with the files; `22P04` for files with different columns, `42804` for a column of different types, both
/// with the names of the files; `0A000` for columns of types that SQL does not have.
pub(crate) async fn columns(
    engine: &Engine,
    described: &Described,
    context: &BindContext,
) -> Result<Vec<Column>, SqlError> {
    let columns = match described.options.format {
        CopyFormat::Parquet => parquet(engine, described, context).await?,
        CopyFormat::Json | CopyFormat::Csv | CopyFormat::Text | CopyFormat::Binary => {
            sampled(described, &context.format).await?
        }
    };
    if let Some((name, _)) = columns.iter().find(|(name, _)| name.len() > MAX_NAME_BYTES) {
        let message = format!("the name of column \"{name}\" of the files is longer than {MAX_NAME_BYTES} bytes");
        return Err(SqlError::new(SqlState::NAME_TOO_LONG, message).with_hint(BY_HAND));
    }
    if columns.is_empty() {
        return Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "the files have no columns").with_hint(BY_HAND));
    }
    let column = |(name, ty)| Column { name, ty, nullable: true, field_id: 0, comment: None, default: None };
    Ok(columns.into_iter().map(column).collect())
}

const BY_HAND: &str = "Create the table with the columns that it is to have, and load the files by COPY.";

/// Columns by their names and types.
type Columns = Vec<(String, SqlType)>;

async fn parquet(engine: &Engine, described: &Described, context: &BindContext) -> Result<Columns, SqlError> {
    let files = parquet_files(engine, described.files.clone(), context).await?;
    if let Some((column, ty)) = files.unreadable().first() {
        let message = format!("column \"{column}\" of the files is of type {ty}, which SQL does not have");
        return Err(SqlError::unsupported(message)
            .with_hint("Create the table with the other columns, and name these in COPY: COPY table (a, b) FROM .."));
    }
    let schema = files.schema();
    Ok(schema.fields().iter().map(|field| (field.name().clone(), mapping::sql_type(field))).collect())
}

/// Reads samples of files and brings together what they say.
async fn sampled(described: &Described, format: &TextFormat) -> Result<Columns, SqlError> {
    let chosen = spread(described.files.len()).into_iter();
    let reads: Vec<_> = chosen.map(|index| beginning(index, described)).collect();
    let samples: Vec<_> = stream::iter(reads).buffered(SIDE_BY_SIDE).try_collect().await?;
    let mut merged: Vec<Found> = Vec::new();
    let mut first_names: Option<(usize, Vec<String>)> = None;
    for (index, bytes, whole) in samples {
        let name = &described.files[index].name;
        let found = match described.options.format {
            CopyFormat::Json => Ok(json_lines(index, whole, &bytes)),
            _ => separated(described, index, whole, &bytes),
        };
        let found = found.map_err(|error| error.with_context(format!("file \"{name}\"")))?;
        if found.is_empty() {
            continue;
        }
        let names: Vec<String> = found.iter().map(|(found, _)| found.name.clone()).collect();
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            let message = format!("column \"{}\" specified more than once", names[twice]);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message).with_context(format!("file \"{name}\"")));
        }
        check_names(described, &mut first_names, index, names)?;
        for (mut found, values) in found {
            // What looks like a type need not be a value of it: the 31st of February.
            if !takes(&found.kind.sql_type(), &values, format) {
                found.kind = Kind::Text;
            }
            match merged.iter_mut().find(|known| known.name == found.name) {
                None => merged.push(found),
                Some(known) => join(described, known, &found)?,
            }
        }
    }
    Ok(merged.into_iter().map(|found| (found.name, found.kind.sql_type())).collect())
}

/// By COPY values go to columns by their places, so all files have to have the same columns: unless a header says which is
/// which, or keys do.
fn check_names(
    described: &Described,
    first: &mut Option<(usize, Vec<String>)>,
    index: usize,
    names: Vec<String>,
) -> Result<(), SqlError> {
    if described.options.format == CopyFormat::Json || described.options.is_by_name() {
        return Ok(());
    }
    let Some((known, expected)) = first else {
        *first = Some((index, names));
        return Ok(());
    };
    if *expected == names {
        return Ok(());
    }
    let (known, other) = (&described.files[*known].name, &described.files[index].name);
    let (expected, names) = (expected.join(","), names.join(","));
    let message = format!("the columns of file \"{other}\" are not those of file \"{known}\"");
    Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
        .with_detail(format!("They are {names} and {expected}."))
        .with_hint("With MATCH_BY_COLUMN_NAME each file may have some of the columns."))
}

/// Joins what two files say of a column.
fn join(described: &Described, known: &mut Found, other: &Found) -> Result<(), SqlError> {
    let joined = known.kind.join(other.kind);
    if joined == Kind::Text && known.kind.is_specific() && other.kind.is_specific() {
        let (name, known_type, other_type) = (&known.name, known.kind.sql_type(), other.kind.sql_type());
        let (known_file, other_file) = (&described.files[known.file].name, &described.files[other.file].name);
        let message = format!(
            "column \"{name}\" is of type {known_type} in file \"{known_file}\" and of type {other_type} in file \"{other_file}\""
        );
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(BY_HAND));
    }
    if joined != known.kind {
        known.file = other.file;
    }
    known.kind = joined;
    Ok(())
}

/// Does a type take all of these values?
fn takes(ty: &SqlType, values: &[String], format: &TextFormat) -> bool {
    if *ty == SqlType::Text {
        return true;
    }
    let mut builder = ColumnBuilder::new(ty, format);
    values.iter().all(|value| builder.push_text(value.as_bytes()).is_ok())
}

/// At most so many of `count` files, from the first to the last.
fn spread(count: usize) -> Vec<usize> {
    if count <= SAMPLED_FILES {
        return (0..count).collect();
    }
    (0..SAMPLED_FILES).map(|number| number * (count - 1) / (SAMPLED_FILES - 1)).collect()
}

/// The beginning of a file, with its number, and whether that is all.
async fn beginning(index: usize, described: &Described) -> Result<(usize, Bytes, bool), SqlError> {
    let mut chunks = contents::chunks(&described.files[index], &described.file_options, &Progress::unlisted()).await?;
    let mut bytes = BytesMut::new();
    while bytes.len() < SAMPLE_BYTES {
        match chunks.next().await {
            Some(chunk) => bytes.extend_from_slice(&chunk?),
            None => return Ok((index, bytes.freeze(), true)),
        }
    }
    bytes.truncate(SAMPLE_BYTES);
    Ok((index, bytes.freeze(), false))
}

/// CSV and text.
fn separated(
    described: &Described,
    file: usize,
    whole: bool,
    bytes: &Bytes,
) -> Result<Vec<(Found, Vec<String>)>, SqlError> {
    let name = &described.files[file].name;
    let Some(sample) = sample(&described.options, name, bytes, whole)? else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(sample.names.len());
    for (index, name) in sample.names.into_iter().enumerate() {
        let values: Vec<String> = match sample.columns.get(index).and_then(|column| column.as_string_view_opt()) {
            Some(column) => {
                (0..column.len()).filter(|row| !column.is_null(*row)).map(|row| column.value(row).to_owned()).collect()
            }
            None => Vec::new(),
        };
        let kind = values.iter().map(|value| Kind::of_text(value)).fold(Kind::Nothing, Kind::join);
        found.push((Found { name, kind, file }, values));
    }
    Ok(found)
}

/// JSON, one object a line. Lines that are none are for the load to refuse.
fn json_lines(file: usize, whole: bool, bytes: &Bytes) -> Vec<(Found, Vec<String>)> {
    let mut found: Vec<(Found, Vec<String>)> = Vec::new();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if !whole {
        lines.pop();
    }
    for line in lines.into_iter().take(MAX_LINES) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if wharf_values::validate_json(text).is_err() || json::kind(text) != json::Kind::Object {
            continue;
        }
        for (key, value) in Parts::of(text) {
            let (kind, value) = kind_of_json(value);
            let key = string_text(key);
            let place = match found.iter().position(|(known, _)| known.name == key) {
                Some(place) => place,
                None => {
                    found.push((Found { name: key.into_owned(), kind: Kind::Nothing, file }, Vec::new()));
                    found.len() - 1
                }
            };
            let (known, values) = &mut found[place];
            known.kind = known.kind.join(kind);
            values.extend(value);
        }
    }
    // A document takes whatever it is given, as it is written and not as its text.
    found.iter_mut().filter(|(found, _)| found.kind == Kind::Document).for_each(|(_, values)| values.clear());
    found
}

/// What a value of JSON is, and the text that COPY makes of it; none for null.
fn kind_of_json(value: &str) -> (Kind, Option<String>) {
    let text = || as_text(value).map(|text| text.into_owned());
    match json::kind(value) {
        json::Kind::Null => (Kind::Nothing, None),
        json::Kind::Boolean => (Kind::Boolean, text()),
        json::Kind::Number => (Kind::of_number(value).unwrap_or(Kind::Text), text()),
        json::Kind::Object | json::Kind::Array => (Kind::Document, None),
        json::Kind::String => {
            let text = string_text(value).into_owned();
            // What is written as a string is none of the things that JSON has other words for.
            let kind = match Kind::of_text(&text) {
                Kind::Boolean | Kind::Number(_) | Kind::Double => Kind::Text,
                kind => kind,
            };
            (kind, Some(text))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_keys_of_json_are_columns() {
        let lines = concat!(
            "{\"id\": 1, \"when\": \"2024-01-01\", \"code\": \"7\", \"tags\": [1]}\n",
            "not json\n",
            "{\"when\": \"2024-01-02T10:00:00\", \"id\": 2.5, \"ok\": true, \"n\": null, \"tags\": \"x\"}\n",
            "{\"id\": 1"
        );
        let found = json_lines(0, false, &Bytes::from_static(lines.as_bytes()));
        let found: Vec<_> =
            found.iter().map(|(found, _)| format!("{} {}", found.name, found.kind.sql_type())).collect();
        let expected =
            ["id numeric", "when timestamp without time zone", "code text", "tags jsonb", "ok boolean", "n text"];
        assert_eq!(found, expected);
    }

    #[test]
    fn samples_are_spread_over_many_files() {
        assert_eq!(spread(3), [0, 1, 2]);
        let many = spread(1000);
        assert_eq!((many.len(), many[0], many[31]), (32, 0, 999));
    }

    #[test]
    fn what_only_looks_like_a_value_is_text() {
        assert!(takes(&SqlType::Date, &["2024-02-29".to_owned()], &TextFormat::default()));
        assert!(!takes(&SqlType::Date, &["2024-02-30".to_owned()], &TextFormat::default()));
    }
}
