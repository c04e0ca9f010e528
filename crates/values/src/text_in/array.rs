//! Arrays of one dimension: `{1,2,NULL,"a b"}`.
//!
//! What always holds: items are handed on without their quotes and escapes, into one buffer that is used again. Arrays
//! of several dimensions and arrays that do not begin at 1 are refused with `0A000`, since a list has neither.

use super::{is_space, shown};
use crate::error::{SqlError, SqlState};

/// The items of one array.
#[derive(Default)]
pub(crate) struct Items {
    bytes: Vec<u8>,
    /// Where each item ends in the bytes; `None` for null.
    ends: Vec<Option<usize>>,
}

impl Items {
    /// The items in order, `None` for null.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let item = &self.bytes[start..end];
            start = end;
            Some(item)
        })
    }

    /// Takes an array's text apart.
    pub(crate) fn read(&mut self, text: &[u8]) -> Result<(), SqlError> {
        self.bytes.clear();
        self.ends.clear();
        let mut reader = Reader { whole: text, rest: text };
        reader.skip_space();
        let declared = if reader.rest.first() == Some(&b'[') { Some(reader.dimensions()?) } else { None };
        if reader.rest.first() != Some(&b'{') {
            return Err(reader.malformed("Array value must start with \"{\" or dimension information."));
        }
        reader.advance(1);
        reader.skip_space();
        if reader.rest.first() == Some(&b'}') {
            reader.advance(1);
        } else {
            loop {
                self.item(&mut reader)?;
                reader.skip_space();
                match reader.rest.first() {
                    Some(b',') => reader.advance(1),
                    Some(b'}') => {
                        reader.advance(1);
                        break;
                    }
                    None => return Err(reader.unexpected_end()),
                    Some(_) => return Err(reader.malformed("Unexpected array element.")),
                }
            }
        }
        reader.skip_space();
        if !reader.rest.is_empty() {
            return Err(reader.malformed("Junk after closing right brace."));
        }
        if declared.is_some_and(|length| length != self.ends.len()) {
            return Err(reader.malformed("Specified array dimensions do not match array contents."));
        }
        Ok(())
    }

    fn item(&mut self, reader: &mut Reader<'_>) -> Result<(), SqlError> {
        reader.skip_space();
        match reader.rest.first() {
            None => Err(reader.unexpected_end()),
            Some(b'{') => Err(SqlError::unsupported("multidimensional arrays are not supported")
                .with_hint("Use an array of one dimension.")),
            Some(byte @ (b',' | b'}')) => Err(reader.unexpected_character(*byte)),
            Some(b'"') => self.quoted(reader),
            Some(_) => self.unquoted(reader),
        }
    }

    fn quoted(&mut self, reader: &mut Reader<'_>) -> Result<(), SqlError> {
        reader.advance(1);
        loop {
            match reader.rest {
                [] | [b'\\'] => return Err(reader.unexpected_end()),
                [b'"', ..] => {
                    reader.advance(1);
                    break;
                }
                [b'\\', byte, ..] => {
                    self.bytes.push(*byte);
                    reader.advance(2);
                }
                [byte, ..] => {
                    self.bytes.push(*byte);
                    reader.advance(1);
                }
            }
        }
        self.ends.push(Some(self.bytes.len()));
        reader.skip_space();
        match reader.rest.first() {
            Some(b',' | b'}') | None => Ok(()),
            Some(_) => Err(reader.malformed("Unexpected array element.")),
        }
    }

    fn unquoted(&mut self, reader: &mut Reader<'_>) -> Result<(), SqlError> {
        let start = self.bytes.len();
        // Trailing spaces do not count, unless they were escaped.
        let mut kept = start;
        let mut escaped = false;
        loop {
            match reader.rest {
                [] | [b'\\'] => return Err(reader.unexpected_end()),
                [b',' | b'}', ..] => break,
                [b'"', ..] => return Err(reader.malformed("Unexpected array element.")),
                [b'{', ..] => return Err(reader.unexpected_character(b'{')),
                [b'\\', byte, ..] => {
                    self.bytes.push(*byte);
                    kept = self.bytes.len();
                    escaped = true;
                    reader.advance(2);
                }
                [byte, ..] => {
                    self.bytes.push(*byte);
                    if !is_space(*byte) {
                        kept = self.bytes.len();
                    }
                    reader.advance(1);
                }
            }
        }
        self.bytes.truncate(kept);
        if !escaped && self.bytes[start..].eq_ignore_ascii_case(b"null") {
            self.bytes.truncate(start);
            self.ends.push(None);
        } else {
            self.ends.push(Some(kept));
        }
        Ok(())
    }
}

struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl Reader<'_> {
    fn advance(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    fn skip_space(&mut self) {
        let spaces = self.rest.iter().take_while(|byte| is_space(**byte)).count();
        self.advance(spaces);
    }

    /// `[1:3]=`, which says nothing new when it begins at 1: the length.
    fn dimensions(&mut self) -> Result<usize, SqlError> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(|| self.malformed("Missing \"=\" after array dimensions."))?;
        let bounds = shown(&self.rest[..end]);
        let length = bounds.strip_prefix("[1:").and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok());
        let length = length.ok_or_else(|| {
            SqlError::unsupported("array dimensions are not supported")
                .with_detail(format!("The dimensions are \"{bounds}\"."))
                .with_hint("Use an array of one dimension that begins at 1.")
        })?;
        self.advance(end + 1);
        self.skip_space();
        Ok(length)
    }

    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", shown(self.whole)),
        )
        .with_detail(detail)
    }

    fn unexpected_end(&self) -> SqlError {
        self.malformed("Unexpected end of input.")
    }

    fn unexpected_character(&self, byte: u8) -> SqlError {
        self.malformed(&format!("Unexpected \"{}\" character.", char::from(byte)))
    }
}
