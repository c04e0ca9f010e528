//! A JSON document as a tree, for the functions that change one.
//!
//! What always holds: what is printed is `jsonb`'s normal form: an object's keys are sorted by length and then by bytes
//! and are different from each other. Numbers keep the digits they have.

use wharf_values::{SqlError, SqlState};

use super::scan::{Kind, Parts, kind, push_string, string_text};
use crate::functions::call::Result;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Arrays and objects within each other, at most: the tree is built by recursion.
const MAX_DEPTH: usize = 1000;

impl Json {
    /// # Errors
    /// `54001` for a document that is nested too deeply.
    pub(super) fn parse(document: &str) -> Result<Json> {
        parse(document, 0)
    }

    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    /// Appends the document in `jsonb`'s form.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(digits) => out.push_str(digits),
            Json::String(text) => push_string(text, out),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    push_string(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Appends the document over several lines, as `jsonb_pretty` does.
    pub(super) fn write_pretty(&self, indent: usize, out: &mut String) {
        let line = |out: &mut String, indent: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("    ", indent));
        };
        match self {
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, indent + 1);
                    item.write_pretty(indent + 1, out);
                }
                line(out, indent);
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, indent + 1);
                    push_string(key, out);
                    out.push_str(": ");
                    value.write_pretty(indent + 1, out);
                }
                line(out, indent);
                out.push('}');
            }
            scalar => scalar.write(out),
        }
    }
}

fn parse(document: &str, depth: usize) -> Result<Json> {
    if depth > MAX_DEPTH {
        return Err(SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
            .with_detail(format!("JSON documents that are changed may be nested {MAX_DEPTH} levels deep.")));
    }
    Ok(match kind(document) {
        Kind::Null => Json::Null,
        Kind::Boolean => Json::Boolean(document.trim_start().starts_with('t')),
        Kind::Number => Json::Number(document.trim().to_owned()),
        Kind::String => Json::String(string_text(document).into_owned()),
        Kind::Array => {
            Json::Array(Parts::of(document).map(|(_, value)| parse(value, depth + 1)).collect::<Result<_>>()?)
        }
        Kind::Object => {
            let mut members = Vec::new();
            for (key, value) in Parts::of(document) {
                insert(&mut members, string_text(key).into_owned(), parse(value, depth + 1)?);
            }
            Json::Object(members)
        }
    })
}

/// Where a key is in the members of an object, or belongs.
pub(super) fn position(members: &[(String, Json)], key: &str) -> Result<usize, usize> {
    members.binary_search_by(|(known, _)| known.len().cmp(&key.len()).then_with(|| known.as_str().cmp(key)))
}

/// Adds a member, or gives it another value.
pub(super) fn insert(members: &mut Vec<(String, Json)>, key: String, value: Json) {
    match position(members, &key) {
        Ok(index) => members[index].1 = value,
        Err(index) => members.insert(index, (key, value)),
    }
}

/// Whether two numbers are equal whatever digits they are written with.
pub(super) fn same_number(left: &str, right: &str) -> bool {
    fn plain(number: &str) -> (bool, &str, &str) {
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        (negative, whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
    }
    let (left, right) = (plain(left), plain(right));
    left == right || ((left.1, left.2) == ("", "") && (right.1, right.2) == ("", ""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_is_printed_in_its_normal_form() {
        let json = Json::parse(r#"{"bb":1, "a":[true,null,1.50,"x"], "bb":2}"#).unwrap();
        let mut out = String::new();
        json.write(&mut out);
        assert_eq!(out, r#"{"a": [true, null, 1.50, "x"], "bb": 2}"#);
        assert!(same_number("1.0", "1") && same_number("-0", "0.0") && !same_number("1", "-1"));
        let deep = "[".repeat(2000) + &"]".repeat(2000);
        assert_eq!(Json::parse(&deep).unwrap_err().code.as_str(), "54001");
    }
}
