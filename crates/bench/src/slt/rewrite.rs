//! Puts PostgreSQL's answer into a record as what it expects (`--override`).
//!
//! SQL, comments, order and sort mode stay as they are. An error becomes its SQLSTATE, so that a file does not depend on the
//! wording. What a file leaves open, a letter `?` or an `error` without a code, is filled in.

use sqllogictest::parser::{ExpectedError, QueryExpect, StatementExpect};
use sqllogictest::{Record, RecordOutput};

use super::column_letter::ColumnLetter;
use super::judge::{Verdict, error_of, judge, result_lines};

/// The record with its new expectation, or `None` where the old one stands: it was met, or the record was left out.
///
/// `Err` says why an answer cannot become an expectation: a timeout or a lost connection.
pub(super) fn rewrite(
    record: &Record<ColumnLetter>,
    output: &RecordOutput<ColumnLetter>,
) -> Result<Option<Record<ColumnLetter>>, String> {
    match judge(record, output) {
        Verdict::Passed if !is_open(record) => return Ok(None),
        Verdict::Skipped | Verdict::NoRecord => return Ok(None),
        Verdict::Passed | Verdict::Failed(_) => {}
    }
    let code = match error_of(output) {
        Some(error) => Some(error.code().ok_or_else(|| error.to_string())?.to_owned()),
        None => None,
    };
    let mut new = record.clone();
    match &mut new {
        Record::Statement { expected, .. } => {
            *expected = match (code, output, &*expected) {
                (Some(code), _, _) => StatementExpect::Error(ExpectedError::SqlState(code)),
                (None, RecordOutput::Statement { count, .. }, StatementExpect::Count(_)) => {
                    StatementExpect::Count(*count)
                }
                (None, RecordOutput::Query { rows, .. }, StatementExpect::Count(_)) => {
                    StatementExpect::Count(rows.len() as u64)
                }
                (None, _, _) => StatementExpect::Ok,
            };
        }
        Record::Query { expected, .. } => {
            let (old_mode, old_label) = match &*expected {
                QueryExpect::Results { sort_mode, label, .. } => (*sort_mode, label.clone()),
                QueryExpect::Error(_) => (None, None),
            };
            *expected = match (code, output) {
                (Some(code), _) => QueryExpect::Error(ExpectedError::SqlState(code)),
                (None, RecordOutput::Query { types, rows, .. }) => QueryExpect::Results {
                    types: types.clone(),
                    sort_mode: old_mode,
                    result_mode: None,
                    label: old_label,
                    results: result_lines(rows),
                },
                (None, _) => return Err("it describes no rows: make it a statement".to_owned()),
            };
        }
        _ => return Err("this kind of record is not used here".to_owned()),
    }
    Ok(Some(new))
}

/// Whether the file leaves to PostgreSQL what to expect: a column `?`, or an error without its SQLSTATE.
fn is_open(record: &Record<ColumnLetter>) -> bool {
    match record {
        Record::Query { expected: QueryExpect::Results { types, .. }, .. } => types.contains(&ColumnLetter::ANY),
        Record::Query { expected: QueryExpect::Error(wanted), .. }
        | Record::Statement { expected: StatementExpect::Error(wanted), .. } => matches!(wanted, ExpectedError::Empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use sqllogictest::ColumnType;

    use super::super::session::SessionError;
    use super::*;

    fn rewritten(text: &str, output: &RecordOutput<ColumnLetter>) -> Option<String> {
        let records: Vec<Record<ColumnLetter>> = sqllogictest::parse(text).unwrap();
        rewrite(&records[0], output).unwrap().map(|record| record.to_string())
    }

    fn rows() -> RecordOutput<ColumnLetter> {
        RecordOutput::Query {
            types: vec![ColumnLetter::from_char('L').unwrap()],
            rows: vec![vec!["7".to_owned()]],
            error: None,
        }
    }

    fn failure(error: SessionError) -> RecordOutput<ColumnLetter> {
        RecordOutput::Statement { count: 0, error: Some(Arc::new(error)) }
    }

    #[test]
    fn an_answer_takes_the_place_of_the_old_one() {
        let text = rewritten("query ? rowsort\nselect 7::bigint\n----\n6\n", &rows());
        assert_eq!(text.unwrap(), "query L rowsort\nselect 7::bigint\n----\n7\n");
        assert_eq!(rewritten("query L\nselect 7::bigint\n----\n7\n", &rows()), None);
        assert_eq!(rewritten("query error (22012)\nselect 7\n", &rows()).unwrap(), "query L\nselect 7\n----\n7\n");
    }

    #[test]
    fn an_error_becomes_its_sqlstate() {
        let error = SessionError::Sql { code: "22012".to_owned(), message: "division by zero".to_owned() };
        assert_eq!(
            rewritten("statement ok\nselect 1/0\n", &failure(error)).unwrap(),
            "statement error (22012)\nselect 1/0\n"
        );
    }

    #[test]
    fn an_open_error_gets_its_sqlstate() {
        let error = || SessionError::Sql { code: "22012".to_owned(), message: "division by zero".to_owned() };
        assert_eq!(
            rewritten("query error\nselect 1/0\n", &failure(error())).unwrap(),
            "query error (22012)\nselect 1/0\n"
        );
        assert_eq!(rewritten("query error (22012)\nselect 1/0\n", &failure(error())), None);
    }

    #[test]
    fn a_timeout_never_becomes_an_expectation() {
        let records: Vec<Record<ColumnLetter>> = sqllogictest::parse("statement ok\nselect 1\n").unwrap();
        assert!(rewrite(&records[0], &failure(SessionError::Timeout(1))).is_err());
    }
}
