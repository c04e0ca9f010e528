//! `jsonb`: the one text a JSON document has there.
//!
//! What always holds: keys are in order of length, then of bytes, and of equal keys the last one stays; numbers are
//! written as `numeric` writes them; strings keep only the escapes they need; one blank follows each comma and colon.
//! Documents are held as flat lists while they are rearranged, so that nesting costs no stack.

use std::ops::Range;

use crate::error::SqlError;
use crate::text_in::json::{Listener, parse};
use crate::text_in::numeric::read_parts;

/// The normal form of a JSON document, as `jsonb` prints it. `22P02` and `22P05` as in PostgreSQL for text that is not
/// JSON or has no text form, `22003` for numbers that `numeric` does not hold.
pub fn normalize(text: &str) -> Result<String, SqlError> {
    let mut normalizer = Normalizer::default();
    let mut out = Vec::new();
    normalizer.normalize(text, &mut out)?;
    String::from_utf8(out).map_err(|_| SqlError::internal("normalized JSON is not valid UTF-8"))
}

/// The parts of a document, used again for the next one.
#[derive(Default)]
pub(crate) struct Normalizer {
    /// The text of scalars as it will be printed, and of keys without escapes.
    text: Vec<u8>,
    nodes: Vec<Node>,
    open: Vec<Open>,
}

enum Node {
    Scalar(Range<usize>),
    Array(Vec<usize>),
    Object(Vec<(Range<usize>, usize)>),
}

/// A container whose end has not been seen.
enum Open {
    Array(Vec<usize>),
    Object(Vec<(Range<usize>, usize)>, Range<usize>),
}

impl Normalizer {
    /// Appends the normal form of a document.
    pub(crate) fn normalize(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), SqlError> {
        self.text.clear();
        self.nodes.clear();
        self.open.clear();
        parse(text, self)?;
        let root = self.nodes.len() - 1;
        self.print(root, out);
        Ok(())
    }

    fn add(&mut self, node: Node) {
        let index = self.nodes.len();
        self.nodes.push(node);
        match self.open.last_mut() {
            None => {}
            Some(Open::Array(items)) => items.push(index),
            Some(Open::Object(members, key)) => members.push((key.clone(), index)),
        }
    }

    fn print(&self, root: usize, out: &mut Vec<u8>) {
        // Containers that are being printed, and how many of their parts have been.
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut next = Some(root);
        loop {
            if let Some(index) = next.take() {
                match &self.nodes[index] {
                    Node::Scalar(text) => out.extend_from_slice(&self.text[text.clone()]),
                    Node::Array(_) => {
                        out.push(b'[');
                        path.push((index, 0));
                    }
                    Node::Object(_) => {
                        out.push(b'{');
                        path.push((index, 0));
                    }
                }
            }
            let Some((index, printed)) = path.last_mut() else {
                return;
            };
            let part = *printed;
            *printed += 1;
            let more = match &self.nodes[*index] {
                Node::Scalar(_) => None,
                Node::Array(items) => items.get(part).map(|item| (None, *item)),
                Node::Object(members) => members.get(part).map(|(key, value)| (Some(key), *value)),
            };
            match more {
                Some((key, value)) => {
                    if part > 0 {
                        out.extend_from_slice(b", ");
                    }
                    if let Some(key) = key {
                        escape(&self.text[key.clone()], out);
                        out.extend_from_slice(b": ");
                    }
                    next = Some(value);
                }
                None => {
                    out.push(if matches!(self.nodes[*index], Node::Array(_)) { b']' } else { b'}' });
                    path.pop();
                }
            }
        }
    }
}

impl Listener for Normalizer {
    const TEXT_NEEDED: bool = true;

    fn begin(&mut self, object: bool) {
        self.open.push(if object { Open::Object(Vec::new(), 0..0) } else { Open::Array(Vec::new()) });
    }

    fn end(&mut self) {
        match self.open.pop() {
            None => {}
            Some(Open::Array(items)) => self.add(Node::Array(items)),
            Some(Open::Object(mut members, _)) => {
                let text = &self.text;
                let key = |member: &(Range<usize>, usize)| &text[member.0.clone()];
                members.sort_by(|a, b| key(a).len().cmp(&key(b).len()).then_with(|| key(a).cmp(key(b))));
                // Of equal keys, which are in the order they came in, the last one stays.
                members.reverse();
                members.dedup_by(|a, b| key(a) == key(b));
                members.reverse();
                self.add(Node::Object(members));
            }
        }
    }

    fn key(&mut self, quoted: &[u8]) {
        let start = self.text.len();
        unescape(quoted, &mut self.text);
        let range = start..self.text.len();
        if let Some(Open::Object(_, key)) = self.open.last_mut() {
            *key = range;
        }
    }

    fn string(&mut self, quoted: &[u8]) {
        let start = self.text.len();
        if memchr::memchr(b'\\', quoted).is_none() && !quoted.contains(&0x7f) {
            self.text.extend_from_slice(quoted);
        } else {
            let mut plain = Vec::with_capacity(quoted.len());
            unescape(quoted, &mut plain);
            escape(&plain, &mut self.text);
        }
        self.add(Node::Scalar(start..self.text.len()));
    }

    fn number(&mut self, digits: &[u8]) -> Result<(), SqlError> {
        let start = self.text.len();
        write_number(digits, &mut self.text)?;
        self.add(Node::Scalar(start..self.text.len()));
        Ok(())
    }

    fn word(&mut self, word: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(word);
        self.add(Node::Scalar(start..self.text.len()));
    }
}

/// The characters of a string that has been checked.
fn unescape(quoted: &[u8], out: &mut Vec<u8>) {
    let mut rest = &quoted[1..quoted.len() - 1];
    let mut high = 0;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest[at + 1];
        rest = &rest[at + 2..];
        let byte = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let code =
                    rest[..4].iter().filter_map(|digit| char::from(*digit).to_digit(16)).fold(0, |n, d| n * 16 + d);
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&code) {
                    high = code;
                    continue;
                }
                let code = if high == 0 { code } else { 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00) };
                high = 0;
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        };
        out.push(byte);
    }
    out.extend_from_slice(rest);
}

/// A string with the escapes JSON needs.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// A number as `numeric` prints it: all its digits, without an exponent.
fn write_number(number: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    let parts =
        read_parts(number)?.ok_or_else(|| SqlError::invalid_text("numeric", &String::from_utf8_lossy(number)))?;
    if parts.negative && !parts.digits.is_empty() {
        out.push(b'-');
    }
    let digit = |at: i64| {
        let digit = usize::try_from(at).ok().and_then(|at| parts.digits.get(at)).copied();
        b'0' + digit.unwrap_or(0)
    };
    if parts.digits.is_empty() || parts.point <= 0 {
        out.push(b'0');
    } else {
        out.extend((0..parts.point).map(digit));
    }
    if parts.display_scale > 0 {
        out.push(b'.');
        let first = if parts.digits.is_empty() { 0 } else { parts.point };
        out.extend((first..first + parts.display_scale).map(digit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::SqlState;

    #[test]
    fn documents_have_one_form() {
        let normal = |text: &str| normalize(text).unwrap();
        assert_eq!(normal(r#"{"bb":1,"a":[1 ,2,{}], "c" : null,"bb":2}"#), r#"{"a": [1, 2, {}], "c": null, "bb": 2}"#);
        assert_eq!(normal(r#"[1.50, 1e2, 1.5e-3, -0, -0.0, 12E-1]"#), "[1.50, 100, 0.0015, 0, 0.0, 1.2]");
        assert_eq!(normal(r#""\u00e9\ud83d\ude00\/\u0001\n""#), "\"é😀/\\u0001\\n\"");
        assert_eq!(normal("[]"), "[]");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(normal(&deep), deep);
    }

    #[test]
    fn escapes_without_text_are_refused() {
        assert_eq!(normalize(r#""\u0000""#).unwrap_err().code, SqlState::UNTRANSLATABLE_CHARACTER);
        assert_eq!(normalize(r#""\ud800""#).unwrap_err().code, SqlState::INVALID_TEXT_REPRESENTATION);
        assert!(crate::text_in::json::validate(r#""\u0000\ud800""#).is_ok());
    }
}
