//! Values as SQLite's `sqllogictest.c` prints them, and results as it sorts, hashes and compares them.
//!
//! A result keeps the text of all its values in one buffer that the next result uses again: the corpus has more than a
//! hundred thousand of them.

use std::fmt::Write as _;
use std::ops::Range;

use md5::{Digest, Md5};

use super::parse::Sort;

/// The values of one answer.
#[derive(Debug, Default)]
pub(super) struct Values {
    text: String,
    ranges: Vec<Range<u32>>,
}

impl Values {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ranges.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|range| value(&self.text, range))
    }

    /// Adds a value as the letter of its column wants it: `I` an integer, `R` three decimals, anything else text.
    pub(super) fn push(&mut self, letter: u8, from_server: Option<&str>) {
        let start = self.text.len() as u32;
        match (from_server, letter) {
            (None, _) => self.text.push_str("NULL"),
            (Some(server), b'I') => push_integer(&mut self.text, server),
            (Some(server), b'R') => {
                let _ = write!(self.text, "{:.3}", number(server));
            }
            (Some(""), _) => self.text.push_str("(empty)"),
            (Some(server), _) => {
                self.text.extend(server.bytes().map(
                    |byte| {
                        if (b' '..=b'~').contains(&byte) { byte as char } else { '@' }
                    },
                ));
            }
        }
        self.ranges.push(start..self.text.len() as u32);
    }

    /// Orders the values; `columns` of them are a row.
    pub(super) fn sort(&mut self, sort: Sort, columns: usize) {
        let text = &self.text;
        match sort {
            Sort::None => {}
            Sort::Rows if columns > 1 => {
                let mut rows: Vec<&[Range<u32>]> = self.ranges.chunks(columns).collect();
                rows.sort_by(|a, b| a.iter().map(|v| value(text, v)).cmp(b.iter().map(|v| value(text, v))));
                self.ranges = rows.concat();
            }
            Sort::Rows | Sort::Values => self.ranges.sort_by(|a, b| value(text, a).cmp(value(text, b))),
        }
    }

    /// `N values hashing to MD5`, over the values with a line end behind each.
    pub(super) fn hash(&self) -> String {
        let mut hash = Md5::new();
        for value in self.iter() {
            hash.update(value.as_bytes());
            hash.update(b"\n");
        }
        let mut line = format!("{} values hashing to ", self.len());
        for byte in hash.finalize() {
            let _ = write!(line, "{byte:02x}");
        }
        line
    }
}

fn value<'a>(text: &'a str, range: &Range<u32>) -> &'a str {
    &text[range.start as usize..range.end as usize]
}

/// PostgreSQL has truth values and numbers with decimals where SQLite has integers.
fn push_integer(out: &mut String, server: &str) {
    match server {
        "t" => out.push('1'),
        "f" => out.push('0'),
        _ if is_integer(server) => out.push_str(server),
        _ => {
            let _ = write!(out, "{}", number(server) as i64);
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number that a text begins with, as C's `strtod` reads it; 0 if there is none.
fn number(text: &str) -> f64 {
    let text = text.trim_start();
    if let Ok(number) = text.parse() {
        return number;
    }
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
    text[..end].parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(letters: &str, from_server: &[Option<&str>]) -> Values {
        let mut values = Values::default();
        for (index, value) in from_server.iter().enumerate() {
            values.push(letters.as_bytes()[index % letters.len()], *value);
        }
        values
    }

    #[test]
    fn values_are_printed_by_the_letter_of_their_column() {
        let values = values(
            "IIIIRRTTT",
            &[Some("12"), Some("-7.9"), Some("t"), None, Some("1.23456"), Some("3"), Some(""), Some("a\tb"), Some("é")],
        );
        let printed: Vec<&str> = values.iter().collect();
        assert_eq!(printed, ["12", "-7", "1", "NULL", "1.235", "3.000", "(empty)", "a@b", "@@"]);
    }

    #[test]
    fn rows_stay_together_when_sorted_and_values_do_not() {
        let mut rows = values("II", &[Some("3"), Some("1"), Some("2"), Some("9"), Some("2"), Some("10")]);
        rows.sort(Sort::Rows, 2);
        assert_eq!(rows.iter().collect::<Vec<_>>(), ["2", "10", "2", "9", "3", "1"]);
        rows.sort(Sort::Values, 2);
        assert_eq!(rows.iter().collect::<Vec<_>>(), ["1", "10", "2", "2", "3", "9"]);
    }

    #[test]
    fn the_hash_is_that_of_the_corpus() {
        // select1.test: `SELECT a FROM t1` style results of 1000 values have hashes like this one, of the bytes "1\n2\n".
        let two = values("I", &[Some("1"), Some("2")]);
        assert_eq!(two.hash(), "2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0");
    }
}
