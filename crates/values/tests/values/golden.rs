//! The golden files: their form, and the check of Wharf's answers against them.
//!
//! A line is an input in quotes and what PostgreSQL made of it: `= "text" hex` or `! code "message"` with detail, hint
//! and context. Where Wharf differs on purpose, `~` and its own error follow. `type` and `set` lines say for what.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use wharf_catalog::SqlType;
use wharf_values::{
    ByteaOutput, ColumnBuilder, DateStyle, IntervalStyle, SqlError, TextFormat, TimeZone, binary_in, binary_out, field,
    text_in, text_out,
};

use crate::postgres::Server;

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Value { text: String, binary: Vec<u8> },
    Error { code: String, message: String, detail: Option<String>, hint: Option<String>, context: Option<String> },
}

impl From<SqlError> for Answer {
    fn from(error: SqlError) -> Self {
        Answer::Error {
            code: error.code.to_string(),
            message: error.message,
            detail: error.detail,
            hint: error.hint,
            context: error.context.map(String::from),
        }
    }
}

impl Answer {
    fn print(&self) -> String {
        let mut line = String::new();
        match self {
            Answer::Value { text, binary } => {
                write!(line, "= {} ", quote(text)).unwrap();
                binary.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
            }
            Answer::Error { code, message, detail, hint, context } => {
                write!(line, "! {code} {}", quote(message)).unwrap();
                for (name, text) in [("detail", detail), ("hint", hint), ("context", context)] {
                    if let Some(text) = text {
                        write!(line, " {name} {}", quote(text)).unwrap();
                    }
                }
            }
        }
        line.trim_end().to_owned()
    }
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A line of a golden file.
pub(crate) enum Line {
    /// A comment or an empty line.
    Other(String),
    Type(String),
    Set(String, String),
    Case {
        input: String,
        answer: String,
        difference: Option<String>,
    },
}

pub(crate) fn read(path: &Path) -> Vec<Line> {
    std::fs::read_to_string(path).unwrap().lines().map(read_line).collect()
}

fn read_line(line: &str) -> Line {
    if let Some(name) = line.strip_prefix("type ") {
        return Line::Type(name.to_owned());
    }
    if let Some((name, value)) = line.strip_prefix("set ").and_then(|line| line.split_once(" = ")) {
        return Line::Set(name.to_owned(), value.to_owned());
    }
    if !line.starts_with('"') {
        return Line::Other(line.to_owned());
    }
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<String>();
    let input = values.next().unwrap().unwrap();
    let rest = line[values.byte_offset()..].trim();
    let (answer, difference) = match rest.split_once(" ~ ") {
        Some((answer, difference)) => (answer, Some(difference.to_owned())),
        None => (rest, None),
    };
    Line::Case { input, answer: answer.to_owned(), difference }
}

pub(crate) fn files() -> Vec<PathBuf> {
    // Cargo runs tests in the folder of their package, wherever they were compiled.
    let folder = Path::new("tests/values/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Applies a `set` line to the format values are read and printed in.
pub(crate) fn set(format: &mut TextFormat, name: &str, value: &str) {
    match name {
        "DateStyle" => format.date_style = format.date_style.parse(value).unwrap(),
        "IntervalStyle" => format.interval_style = IntervalStyle::parse(value).unwrap(),
        "TimeZone" => format.time_zone = TimeZone::parse(value).unwrap(),
        "extra_float_digits" => format.extra_float_digits = value.parse().unwrap(),
        "bytea_output" => format.bytea_output = ByteaOutput::parse(value).unwrap(),
        other => panic!("no setting {other}"),
    }
    let _ = DateStyle::default();
}

/// What Wharf makes of an input.
pub(crate) fn answer(ty: &SqlType, input: &str, format: &TextFormat) -> Answer {
    match text_in::parse(ty, input, format) {
        Ok(array) => print(ty, &array, format),
        Err(error) => error.into(),
    }
}

/// What Wharf prints for the one value of an array.
pub(crate) fn print(ty: &SqlType, array: &ArrayRef, format: &TextFormat) -> Answer {
    let field = field("v", ty, true);
    let text = text_out::value_to_text(&field, array, 0, format).unwrap().unwrap();
    let mut binary = Vec::new();
    let mut encoder = binary_out::encoder(&field, array).unwrap();
    encoder.write(0, &mut binary);
    Answer::Value { text, binary }
}

#[test]
fn wharf_answers_as_the_golden_files_say() {
    let mut wrong = String::new();
    let mut cases = 0;
    for path in files() {
        let mut format = TextFormat::default();
        let mut ty = SqlType::Text;
        for line in read(&path) {
            match line {
                Line::Other(_) => {}
                Line::Type(name) => ty = name.parse().unwrap(),
                Line::Set(name, value) => set(&mut format, &name, &value),
                Line::Case { input, answer: expected, difference } => {
                    cases += 1;
                    let expected = difference.unwrap_or(expected);
                    let got = answer(&ty, &input, &format).print();
                    if got != expected {
                        let name = path.file_name().unwrap().to_string_lossy();
                        writeln!(wrong, "{name}: {ty} {}\n  expected {expected}\n  got      {got}", quote(&input))
                            .unwrap();
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "of {cases} cases these differ:\n{wrong}");
    assert!(cases > 1000, "only {cases} cases were found");
}

#[test]
fn what_is_printed_reads_back_as_the_same_value() {
    for path in files() {
        let mut format = TextFormat::default();
        let mut ty = SqlType::Text;
        for line in read(&path) {
            match line {
                Line::Other(_) => {}
                Line::Type(name) => ty = name.parse().unwrap(),
                Line::Set(name, value) => set(&mut format, &name, &value),
                Line::Case { input, .. } => {
                    let Ok(array) = text_in::parse(&ty, &input, &format) else {
                        continue;
                    };
                    let Answer::Value { text, binary } = print(&ty, &array, &format) else { unreachable!() };
                    let from_binary = binary_in::parse_binary(&ty, &binary).unwrap();
                    assert_eq!(&from_binary, &array, "{ty} {input:?} in binary");
                    // Some text loses something, by design of the setting or because an abbreviation is ambiguous.
                    let lossy = format.extra_float_digits <= 0
                        || format.time_zone != TimeZone::UTC && format.date_style.output != Default::default();
                    if !lossy {
                        let from_text = text_in::parse(&ty, &text, &format).unwrap();
                        assert_eq!(&from_text, &array, "{ty} {input:?} as {text:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_column_is_read_and_printed_as_its_values_are_one_by_one() {
    for path in files() {
        let mut columns: Vec<(SqlType, TextFormat, Vec<String>)> = Vec::new();
        let mut format = TextFormat::default();
        for line in read(&path) {
            match line {
                Line::Other(_) => {}
                Line::Type(name) => columns.push((name.parse().unwrap(), format.clone(), Vec::new())),
                Line::Set(name, value) => {
                    set(&mut format, &name, &value);
                    if let Some((ty, _, _)) = columns.last() {
                        columns.push((ty.clone(), format.clone(), Vec::new()));
                    }
                }
                Line::Case { input, .. } => {
                    let (ty, format, inputs) = columns.last_mut().unwrap();
                    if text_in::parse(ty, &input, format).is_ok() {
                        inputs.push(input);
                    }
                }
            }
        }
        for (ty, format, inputs) in columns {
            let mut builder = ColumnBuilder::new(&ty, &format);
            for input in &inputs {
                builder.push_null();
                builder.push_text(input.as_bytes()).unwrap();
            }
            assert_eq!(builder.len(), inputs.len() * 2);
            let array = builder.finish();
            assert_eq!(array.len(), inputs.len() * 2);
            assert!(builder.is_empty());
            let field = Arc::new(field("v", &ty, true));
            let mut encoder = text_out::encoder(&field, &array, &format).unwrap();
            for (row, input) in inputs.iter().enumerate() {
                assert!(encoder.is_null(row * 2));
                assert!(!encoder.is_null(row * 2 + 1));
                let mut text = Vec::new();
                encoder.write(row * 2 + 1, &mut text);
                let Answer::Value { text: expected, .. } = answer(&ty, input, &format) else { unreachable!() };
                assert_eq!(String::from_utf8(text).unwrap(), expected);
            }
        }
    }
}

#[test]
fn the_golden_files_are_what_postgresql_says() {
    let Some(mut server) = Server::from_environment() else {
        return;
    };
    let rewrite = std::env::var_os("WHARF_REWRITE_GOLDEN").is_some();
    for path in files() {
        server.reset();
        let mut ty = String::from("text");
        let mut text = String::new();
        for line in read(&path) {
            match line {
                Line::Other(line) => writeln!(text, "{line}").unwrap(),
                Line::Type(name) => {
                    writeln!(text, "type {name}").unwrap();
                    server.use_type(&name);
                    ty = name;
                }
                Line::Set(name, value) => {
                    writeln!(text, "set {name} = {value}").unwrap();
                    server.set(&name, &value);
                }
                Line::Case { input, difference, .. } => {
                    let answer = server.answer(&ty, &input).print();
                    write!(text, "{} {answer}", quote(&input)).unwrap();
                    match difference {
                        // A difference that PostgreSQL no longer has is none.
                        Some(difference) if difference != answer => writeln!(text, " ~ {difference}").unwrap(),
                        _ => writeln!(text).unwrap(),
                    }
                }
            }
        }
        if rewrite {
            std::fs::write(&path, text).unwrap();
        } else {
            let old = std::fs::read_to_string(&path).unwrap();
            let differs = old.lines().zip(text.lines()).find(|(old, new)| old != new);
            assert_eq!(differs, None, "{}", path.display());
        }
    }
}
