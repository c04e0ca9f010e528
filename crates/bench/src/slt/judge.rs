//! Whether what a record gave is what its file expects.
//!
//! Stricter than the crate's own comparison: spaces count, the number and the type of the columns count, and an answer without
//! rows is not an empty result.

use std::fmt::Write as _;

use sqllogictest::parser::{ExpectedError, QueryExpect, StatementExpect};
use sqllogictest::{Record, RecordOutput};

use super::column_letter::ColumnLetter;
use super::session::{SEPARATOR, SessionError};

/// The judgement over one record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// `onlyif` or `skipif` left it out.
    Skipped,
    /// What is wrong, over several lines.
    Failed(String),
    /// A comment, a blank line, a setting of the format: nothing to judge.
    NoRecord,
}

/// Judges the answer that the record gave.
pub(super) fn judge(record: &Record<ColumnLetter>, output: &RecordOutput<ColumnLetter>) -> Verdict {
    match record {
        Record::Statement { expected, .. } => judge_statement(expected, output),
        Record::Query { expected, .. } => judge_query(expected, output),
        Record::Let { .. } | Record::System { .. } | Record::Include { .. } => {
            Verdict::Failed("this kind of record is not used here".to_owned())
        }
        _ => Verdict::NoRecord,
    }
}

/// The rows as the lines of a file.
pub(super) fn result_lines(rows: &[Vec<String>]) -> Vec<String> {
    rows.iter().map(|row| row.join(SEPARATOR)).collect()
}

/// The error in an answer, if it holds one.
pub(super) fn error_of(output: &RecordOutput<ColumnLetter>) -> Option<&SessionError> {
    let error = match output {
        RecordOutput::Query { error, .. } | RecordOutput::Statement { error, .. } => error.as_ref()?,
        _ => return None,
    };
    Some(error.downcast_ref::<SessionError>().expect("a session gives no other error"))
}

fn judge_statement(expected: &StatementExpect, output: &RecordOutput<ColumnLetter>) -> Verdict {
    if let Some(error) = error_of(output) {
        return match expected {
            StatementExpect::Error(wanted) => judge_error(wanted, error),
            StatementExpect::Ok | StatementExpect::Count(_) => Verdict::Failed(format!("failed: {error}")),
        };
    }
    let affected = match output {
        RecordOutput::Nothing => return Verdict::Skipped,
        RecordOutput::Statement { count, .. } => *count,
        RecordOutput::Query { rows, .. } => rows.len() as u64,
        _ => return Verdict::Failed("an answer of another kind of record".to_owned()),
    };
    match expected {
        StatementExpect::Error(wanted) => Verdict::Failed(format!("expected error {wanted}, but it succeeded")),
        StatementExpect::Count(count) if *count != affected => {
            Verdict::Failed(format!("expected {count} rows, got {affected}"))
        }
        StatementExpect::Count(_) | StatementExpect::Ok => Verdict::Passed,
    }
}

fn judge_query(expected: &QueryExpect<ColumnLetter>, output: &RecordOutput<ColumnLetter>) -> Verdict {
    if let Some(error) = error_of(output) {
        return match expected {
            QueryExpect::Error(wanted) => judge_error(wanted, error),
            QueryExpect::Results { .. } => Verdict::Failed(format!("failed: {error}")),
        };
    }
    let (actual_types, rows) = match output {
        RecordOutput::Nothing => return Verdict::Skipped,
        RecordOutput::Query { types, rows, .. } => (types, rows),
        _ => return Verdict::Failed("no rows were described".to_owned()),
    };
    let (types, results) = match expected {
        QueryExpect::Error(wanted) => {
            return Verdict::Failed(format!("expected error {wanted}, but it succeeded"));
        }
        QueryExpect::Results { types, results, .. } => (types, results),
    };
    let fits = types.len() == actual_types.len() && actual_types.iter().zip(types).all(|(a, e)| a.fits(*e));
    if !fits {
        return Verdict::Failed(format!("expected columns {}, got {}", letters(types), letters(actual_types)));
    }
    let lines = result_lines(rows);
    if &lines != results {
        return Verdict::Failed(difference(results, &lines));
    }
    Verdict::Passed
}

fn judge_error(wanted: &ExpectedError, error: &SessionError) -> Verdict {
    if error.code().is_some() && wanted.is_match(&error.to_string(), error.code()) {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("expected error {wanted}, got {error}"))
    }
}

fn letters(types: &[ColumnLetter]) -> String {
    types.iter().map(sqllogictest::ColumnType::to_char).collect()
}

/// At most this many lines of a side are shown.
const SHOWN_LINES: usize = 12;

fn difference(expected: &[String], actual: &[String]) -> String {
    let mut text = format!("expected {} rows, got {}", expected.len(), actual.len());
    let first = expected.iter().zip(actual).position(|(e, a)| e != a).unwrap_or(expected.len().min(actual.len()));
    for (sign, lines) in [('-', expected), ('+', actual)] {
        for line in lines.iter().skip(first).take(SHOWN_LINES) {
            let _ = write!(text, "\n{sign} {line}");
        }
        let hidden = lines.len().saturating_sub(first + SHOWN_LINES);
        if hidden > 0 {
            let _ = write!(text, "\n{sign} (and {hidden} more)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use sqllogictest::ColumnType;

    use super::*;

    fn record(text: &str) -> Record<ColumnLetter> {
        sqllogictest::parse(text)
            .unwrap()
            .into_iter()
            .find(|r| judge(r, &RecordOutput::Nothing) != Verdict::NoRecord)
            .unwrap()
    }

    fn rows(types: &str, rows: &[&[&str]]) -> RecordOutput<ColumnLetter> {
        RecordOutput::Query {
            types: types.chars().map(|c| ColumnLetter::from_char(c).unwrap()).collect(),
            rows: rows.iter().map(|row| row.iter().map(|v| (*v).to_owned()).collect()).collect(),
            error: None,
        }
    }

    fn failure(code: &str) -> RecordOutput<ColumnLetter> {
        let error = SessionError::Sql { code: code.to_owned(), message: "no".to_owned() };
        RecordOutput::Statement { count: 0, error: Some(Arc::new(error)) }
    }

    #[test]
    fn a_result_is_compared_to_the_letter() {
        let expected = record("query IT\nselect 1, 'a'\n----\n1 | a b\n");
        assert_eq!(judge(&expected, &rows("IT", &[&["1", "a b"]])), Verdict::Passed);
        for wrong in [
            rows("IT", &[&["1", "a  b"]]),
            rows("LT", &[&["1", "a b"]]),
            rows("I", &[&["1"]]),
            rows("IT", &[]),
            RecordOutput::Statement { count: 0, error: None },
            failure("42601"),
        ] {
            assert!(matches!(judge(&expected, &wrong), Verdict::Failed(_)), "{wrong:?}");
        }
        assert_eq!(judge(&expected, &RecordOutput::Nothing), Verdict::Skipped);
    }

    #[test]
    fn an_error_is_matched_by_its_sqlstate() {
        let expected = record("statement error (42P01)\nselect * from t\n");
        assert_eq!(judge(&expected, &failure("42P01")), Verdict::Passed);
        assert!(matches!(judge(&expected, &failure("42703")), Verdict::Failed(_)));
        assert!(matches!(judge(&expected, &rows("I", &[])), Verdict::Failed(_)));
    }

    #[test]
    fn a_lost_connection_is_never_an_expected_error() {
        let expected = record("statement error\nselect 1\n");
        let lost = RecordOutput::Statement { count: 0, error: Some(Arc::new(SessionError::Timeout(1))) };
        assert!(matches!(judge(&expected, &lost), Verdict::Failed(_)));
    }

    #[test]
    fn a_count_is_compared() {
        let expected = record("statement count 2\ninsert into t values (1), (2)\n");
        assert_eq!(judge(&expected, &RecordOutput::Statement { count: 2, error: None }), Verdict::Passed);
        assert!(matches!(judge(&expected, &RecordOutput::Statement { count: 1, error: None }), Verdict::Failed(_)));
    }
}
