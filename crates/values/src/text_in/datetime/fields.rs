//! The first step of reading a date, time or interval that is not in the usual form: taking it apart into fields.
//!
//! What always holds: fields are lower case, except that full names of time zones are found in the original text by
//! whoever needs them; there are at most [`MAX_FIELDS`] of them and their characters are limited as in PostgreSQL.

use super::words::date_word;
use crate::text_in::is_space;

/// The most fields.
pub(in crate::text_in) const MAX_FIELDS: usize = 25;
/// The room PostgreSQL has for the fields of a date or time.
pub(in crate::text_in) const DATE_ROOM: usize = 129;
/// The room PostgreSQL has for the fields of a timestamp.
pub(in crate::text_in) const TIMESTAMP_ROOM: usize = 128 + MAX_FIELDS;
/// The room PostgreSQL has for the fields of an interval.
pub(in crate::text_in) const INTERVAL_ROOM: usize = 256;

/// What a field looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text_in) enum Kind {
    /// Digits, perhaps a decimal point.
    Number,
    /// Digits and delimiters, or text with delimiters (a date, or the name of a time zone).
    Date,
    /// Digits with colons.
    Time,
    /// Letters.
    Text,
    /// A sign and letters.
    Special,
    /// A sign and digits: an offset, a signed number, a signed time.
    Signed,
}

/// A field of the input.
#[derive(Clone, Debug)]
pub(in crate::text_in) struct Field {
    pub(in crate::text_in) kind: Kind,
    pub(in crate::text_in) text: String,
}

/// Takes the text apart; `None` when it cannot be a date, time or interval.
pub(in crate::text_in) fn split(text: &[u8], room: usize) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    let mut used = 0;
    let mut cursor = Cursor { text, at: 0 };
    while let Some(first) = cursor.peek() {
        if is_space(first) {
            cursor.at += 1;
            continue;
        }
        if fields.len() >= MAX_FIELDS {
            return None;
        }
        let mut field = String::new();
        let kind = match first {
            b'0'..=b'9' => number_field(&mut cursor, &mut field),
            b'.' => {
                cursor.take(&mut field);
                cursor.take_while(&mut field, |byte| byte.is_ascii_digit());
                Kind::Number
            }
            byte if byte.is_ascii_alphabetic() => text_field(&mut cursor, &mut field),
            b'+' | b'-' => signed_field(&mut cursor, &mut field)?,
            byte if byte.is_ascii_punctuation() => {
                // Other punctuation only separates.
                cursor.at += 1;
                continue;
            }
            _ => return None,
        };
        used += field.len() + 1;
        if used > room {
            return None;
        }
        fields.push(Field { kind, text: field });
    }
    Some(fields)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, field: &mut String) {
        field.push(char::from(self.text[self.at].to_ascii_lowercase()));
        self.at += 1;
    }

    fn take_while(&mut self, field: &mut String, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.take(field);
        }
    }
}

/// A field that begins with a digit: a time, a date (perhaps with a month's name inside), or a number.
fn number_field(cursor: &mut Cursor<'_>, field: &mut String) -> Kind {
    let digit = |byte: u8| byte.is_ascii_digit();
    cursor.take_while(field, digit);
    match cursor.peek() {
        Some(b':') => {
            cursor.take_while(field, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
            Kind::Time
        }
        Some(delimiter @ (b'-' | b'/' | b'.')) => {
            cursor.take(field);
            if cursor.peek().is_some_and(digit) {
                cursor.take_while(field, digit);
                if cursor.peek() == Some(delimiter) {
                    cursor.take_while(field, |byte| byte.is_ascii_digit() || byte == delimiter);
                    Kind::Date
                } else if delimiter == b'.' {
                    Kind::Number
                } else {
                    Kind::Date
                }
            } else {
                cursor.take_while(field, |byte| byte.is_ascii_alphanumeric() || byte == delimiter);
                Kind::Date
            }
        }
        _ => Kind::Number,
    }
}

/// A field that begins with a letter: a word, or a date or the name of a time zone with punctuation inside.
fn text_field(cursor: &mut Cursor<'_>, field: &mut String) -> Kind {
    cursor.take_while(field, |byte| byte.is_ascii_alphabetic());
    let compound = match cursor.peek() {
        Some(b'-' | b'/' | b'.') => true,
        Some(byte) if byte == b'+' || byte.is_ascii_digit() => {
            date_word(field).is_none() && !super::words::is_reserved_word(field)
        }
        _ => false,
    };
    if !compound {
        return Kind::Text;
    }
    cursor.take_while(field, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
    });
    Kind::Date
}

/// A field that begins with a sign, after which spaces do not count.
fn signed_field(cursor: &mut Cursor<'_>, field: &mut String) -> Option<Kind> {
    cursor.take(field);
    while cursor.peek().is_some_and(is_space) {
        cursor.at += 1;
    }
    match cursor.peek() {
        Some(byte) if byte.is_ascii_digit() => {
            cursor.take_while(field, |byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-'));
            Some(Kind::Signed)
        }
        Some(byte) if byte.is_ascii_alphabetic() => {
            cursor.take_while(field, |byte| byte.is_ascii_alphabetic());
            Some(Kind::Special)
        }
        _ => None,
    }
}
