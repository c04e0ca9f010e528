//! Finding parts of a JSON document in its text.
//!
//! What always holds: a part is a slice of the document, without white space around it. The document is well formed; on
//! one that is not, the functions find nothing or the wrong part, but never leave the text.

use std::borrow::Cow;

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// What `json_typeof` answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
        }
    }
}

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The kind of a value.
pub(crate) fn kind(text: &str) -> Kind {
    match text.trim_start_matches(SPACE).as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// Where the value ends that a text begins with.
pub(super) fn value_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => string_end(bytes),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            let mut index = 0;
            while index < bytes.len() {
                match bytes[index] {
                    b'"' => {
                        index += string_end(&bytes[index..]);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return index + 1;
                        }
                    }
                    _ => {}
                }
                index += 1;
            }
            bytes.len()
        }
        _ => bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r'))
            .unwrap_or(bytes.len()),
    }
}

/// The length of the string, quotes included, that bytes begin with.
fn string_end(bytes: &[u8]) -> usize {
    let mut index = 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', bytes.get(index..).unwrap_or_default()) {
        index += offset;
        if bytes[index] == b'"' {
            return index + 1;
        }
        index += 2;
    }
    bytes.len()
}

/// The parts of an array or object, in order: keys (quoted, empty for an array) and values.
pub(crate) struct Parts<'a> {
    rest: &'a str,
    object: bool,
}

impl<'a> Parts<'a> {
    /// Nothing for a scalar.
    pub(crate) fn of(document: &'a str) -> Parts<'a> {
        let document = document.trim_matches(SPACE);
        match kind(document) {
            Kind::Object => Parts { rest: document.get(1..).unwrap_or_default(), object: true },
            Kind::Array => Parts { rest: document.get(1..).unwrap_or_default(), object: false },
            _ => Parts { rest: "", object: false },
        }
    }

    fn take_value(&mut self) -> &'a str {
        let (value, rest) = self.rest.split_at(value_end(self.rest));
        self.rest = rest;
        value
    }

    fn skip(&mut self, mark: char) {
        self.rest = self.rest.trim_start_matches(SPACE);
        self.rest = self.rest.strip_prefix(mark).unwrap_or(self.rest).trim_start_matches(SPACE);
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip(',');
        if matches!(self.rest.as_bytes().first(), None | Some(b'}' | b']')) {
            self.rest = "";
            return None;
        }
        let key = if self.object {
            let key = self.take_value();
            self.skip(':');
            key
        } else {
            ""
        };
        let value = self.take_value();
        if value.is_empty() {
            // Not well formed; without progress there is no end.
            self.rest = "";
            return None;
        }
        Some((key, value))
    }
}

/// The member of an object with a key; of several the last.
pub(super) fn member<'a>(document: &'a str, key: &str) -> Option<&'a str> {
    if kind(document) != Kind::Object {
        return None;
    }
    Parts::of(document).filter(|(quoted, _)| key_equals(quoted, key)).map(|(_, value)| value).last()
}

fn key_equals(quoted: &str, key: &str) -> bool {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => plain == key,
        _ => string_text(quoted) == key,
    }
}

/// The element of an array; a negative index counts from the end.
pub(super) fn element(document: &str, index: i32) -> Option<&str> {
    if kind(document) != Kind::Array {
        return None;
    }
    let index = if index >= 0 {
        index as usize
    } else {
        Parts::of(document).count().checked_sub(index.unsigned_abs() as usize)?
    };
    Parts::of(document).nth(index).map(|(_, value)| value)
}

/// The text of a string, without quotes and escapes.
pub(crate) fn string_text(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.trim_matches(SPACE);
    let inner = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(inner);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    let mut high: Option<u32> = None;
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let digits = letters.as_str().get(..4).unwrap_or_default();
                letters = letters.as_str().get(4..).unwrap_or_default().chars();
                let code = u32::from_str_radix(digits, 16).unwrap_or(0xfffd);
                match (high.take(), code) {
                    (None, 0xd800..=0xdbff) => high = Some(code),
                    (Some(first), 0xdc00..=0xdfff) => {
                        let code = 0x1_0000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                        text.extend(char::from_u32(code));
                    }
                    _ => text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    Cow::Owned(text)
}

/// A value as text: a string without its quotes, `None` for null, anything else as it is.
pub(crate) fn as_text(value: &str) -> Option<Cow<'_, str>> {
    match kind(value) {
        Kind::Null => None,
        Kind::String => Some(string_text(value)),
        _ => Some(Cow::Borrowed(value.trim_matches(SPACE))),
    }
}

/// Appends a text as a JSON string.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing into a string cannot fail.
                let _ = std::fmt::Write::write_fmt(out, format_args!("\\u{:04x}", control as u32));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_in_the_text() {
        let document = r#" {"a" : [1, {"b":"x,]"}, "\"" ], "b":null , "a": {"k": 2}} "#;
        assert_eq!(member(document, "a"), Some(r#"{"k": 2}"#));
        assert_eq!(member(document, "b"), Some("null"));
        assert_eq!(member(document, "c"), None);
        let array = r#"[1, {"b":"x,]"}, "\""]"#;
        assert_eq!(element(array, 1), Some(r#"{"b":"x,]"}"#));
        assert_eq!(element(array, -1), Some(r#""\"""#));
        assert_eq!(element(array, 3), None);
        assert_eq!(element("[]", 0), None);
        assert_eq!(Parts::of("{}").count(), 0);
    }

    #[test]
    fn strings_lose_their_escapes() {
        assert_eq!(string_text(r#""a\u00e9\n\ud83d\ude00\/""#), "aé\n😀/");
        let mut out = String::new();
        push_string("a\"\u{1}\n", &mut out);
        assert_eq!(out, "\"a\\\"\\u0001\\n\"");
    }

    #[test]
    fn broken_documents_end() {
        for document in ["{", "[", "[1,,", "{\"a\"", "{\"a\":", "[\"", "[]]", "{\"a\":1,:"] {
            assert!(Parts::of(document).count() < 5, "{document}");
        }
    }
}
