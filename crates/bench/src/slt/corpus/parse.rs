//! Reads a file of SQLite's corpus, without copying it.
//!
//! The crate's parser is for its own dialect: it refuses the remarks behind `skipif mysql # ...` and lets the condition of a
//! `halt` fall on the record after it. The format is the one of SQLite's `sqllogictest.c`: words at the start of a record, SQL up to
//! `----` or a blank line, then one value per line. Records for another database are kept as such, since they are counted.

use std::borrow::Cow;

use anyhow::{Context, bail};

/// The name of the database in `skipif` and `onlyif`: PostgreSQL's own, for Wharf has to behave the same.
const DATABASE: &str = "postgresql";

/// How the values of a result are ordered before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    None,
    Rows,
    Values,
}

/// What is expected of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected<'a> {
    Success,
    Error,
    Result { letters: &'a str, sort: Sort, label: Option<&'a str>, lines: Vec<&'a str> },
}

/// A statement or query for this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Of its first word, from 1.
    pub(super) line: u32,
    pub(super) sql: Cow<'a, str>,
    pub(super) expected: Expected<'a>,
    /// More values than this are compared by their hash; 0: never.
    pub(super) hash_threshold: usize,
    /// It is meant for another database.
    pub(super) skipped: bool,
}

/// The records of a file up to a `halt` that applies.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Record<'_>>> {
    let mut lines = text.lines().map(str::trim_end).zip(1u32..);
    let mut records = Vec::new();
    let mut hash_threshold = 0;
    let mut skipped = false;
    while let Some((line, number)) = lines.next() {
        if line.starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let first = words.next();
        match first {
            None => continue,
            Some("skipif") => {
                skipped |= words.next() == Some(DATABASE);
                continue;
            }
            Some("onlyif") => {
                skipped |= words.next() != Some(DATABASE);
                continue;
            }
            Some("hash-threshold") => {
                let number_of_values = words.next().and_then(|word| word.parse().ok());
                hash_threshold = number_of_values.with_context(|| format!("line {number}: {line}"))?;
            }
            Some("halt") if skipped => {}
            Some("halt") => break,
            Some("statement") => {
                let expected = match words.next() {
                    Some("ok") => Expected::Success,
                    Some("error") => Expected::Error,
                    _ => bail!("line {number}: {line}"),
                };
                let (sql, _) = sql_lines(&mut lines);
                records.push(Record { line: number, sql, expected, hash_threshold, skipped });
            }
            Some("query") => {
                let letters = words.next().with_context(|| format!("line {number}: {line}"))?;
                let sort = match words.next() {
                    None | Some("nosort") => Sort::None,
                    Some("rowsort") => Sort::Rows,
                    Some("valuesort") => Sort::Values,
                    Some(_) => bail!("line {number}: {line}"),
                };
                let label = words.next();
                let (sql, results_follow) = sql_lines(&mut lines);
                let values = match results_follow {
                    true => lines.by_ref().map(|(line, _)| line).take_while(|line| !line.is_empty()).collect(),
                    false => Vec::new(),
                };
                let expected = Expected::Result { letters, sort, label, lines: values };
                records.push(Record { line: number, sql, expected, hash_threshold, skipped });
            }
            Some(_) => bail!("line {number}: {line}"),
        }
        skipped = false;
    }
    Ok(records)
}

/// The SQL up to a blank line or `----`, and whether it was `----`.
fn sql_lines<'a>(lines: &mut impl Iterator<Item = (&'a str, u32)>) -> (Cow<'a, str>, bool) {
    let mut sql = Cow::Borrowed("");
    for (line, _) in lines {
        match line {
            "" => return (sql, false),
            "----" => return (sql, true),
            _ if sql.is_empty() => sql = Cow::Borrowed(line),
            _ => {
                let sql = sql.to_mut();
                sql.push('\n');
                sql.push_str(line);
            }
        }
    }
    (sql, false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_as_sqlite_reads_it() {
        let text = "hash-threshold 8\r\n\r\nstatement ok\r\nCREATE TABLE t(a INTEGER,\r\n  b INTEGER)\r\n\r\n\
                    # remark\r\nonlyif mysql # DIV for integer division: \r\nquery I rowsort label-1\r\nSELECT 1 DIV 1\r\n----\r\n1\r\n\r\n\
                    skipif mysql # not compatible\r\nquery IT rowsort label-1\r\nSELECT 1, 'x'\r\n----\r\n1\r\nx\r\n\r\n\
                    onlyif sqlite\r\nhalt\r\n\r\nstatement error\r\nSELECT\r\n\r\nhalt\r\n\r\nstatement ok\r\nSELECT 1\r\n";
        let records = parse(text).unwrap();
        assert_eq!(records.len(), 4);
        assert_eq!(records[0].sql, "CREATE TABLE t(a INTEGER,\n  b INTEGER)");
        assert_eq!((records[0].line, records[0].hash_threshold, records[0].skipped), (3, 8, false));
        assert!(records[1].skipped);
        let expected =
            Expected::Result { letters: "IT", sort: Sort::Rows, label: Some("label-1"), lines: vec!["1", "x"] };
        assert_eq!((&records[2].expected, records[2].skipped), (&expected, false));
        assert_eq!((&records[3].expected, records[3].skipped), (&Expected::Error, false));
    }

    #[test]
    fn a_line_that_is_no_record_is_refused() {
        assert!(parse("select 1\n").is_err());
        assert!(parse("query I sideways\nselect 1\n").is_err());
    }
}
