//! One line of the text format.

use wharf_values::SqlError;

use super::fields::Fields;
use super::options::CopyOptions;

/// Splits a line, without its end, into the columns' values.
pub(super) struct TextLine {
    delimiter: u8,
    null: Vec<u8>,
    scratch: Vec<u8>,
}

impl TextLine {
    pub(super) fn new(options: &CopyOptions) -> TextLine {
        TextLine { delimiter: options.delimiter, null: options.null.clone().into_bytes(), scratch: Vec::new() }
    }

    /// `escapes`: whether the line may have a backslash.
    pub(super) fn parse(
        &mut self,
        line: &[u8],
        escapes: bool,
        number: u64,
        fields: &mut Fields,
    ) -> Result<(), SqlError> {
        if escapes && memchr::memchr(b'\\', line).is_some() {
            return self.parse_escaped(line, number, fields);
        }
        let count = fields.len();
        let mut column = 0;
        let mut start = 0;
        for end in memchr::memchr_iter(self.delimiter, line).chain([line.len()]) {
            if column == count {
                return Err(fields.extra(number, line));
            }
            self.put(column, &line[start..end], line, number, fields)?;
            column += 1;
            start = end + 1;
        }
        if column < count {
            return Err(fields.missing(column, number, line));
        }
        Ok(())
    }

    #[inline]
    fn put(&self, column: usize, value: &[u8], line: &[u8], number: u64, fields: &mut Fields) -> Result<(), SqlError> {
        if value != self.null.as_slice() {
            return fields.push(column, value, number);
        }
        if !fields.columns[column].nullable {
            return Err(fields.null_error(column, number, line));
        }
        fields.push_null(column);
        Ok(())
    }

    fn parse_escaped(&mut self, line: &[u8], number: u64, fields: &mut Fields) -> Result<(), SqlError> {
        let mut column = 0;
        let mut start = 0;
        loop {
            let end = start + value_end(&line[start..], self.delimiter);
            if column == fields.len() {
                return Err(fields.extra(number, line));
            }
            let raw = &line[start..end];
            // What stands for null is compared as it was written.
            if raw == self.null.as_slice() || memchr::memchr(b'\\', raw).is_none() {
                self.put(column, raw, line, number, fields)?;
            } else {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                unescape(raw, &mut scratch);
                let result = fields.push(column, &scratch, number);
                self.scratch = scratch;
                result?;
            }
            column += 1;
            if end == line.len() {
                break;
            }
            start = end + 1;
        }
        if column < fields.len() {
            return Err(fields.missing(column, number, line));
        }
        Ok(())
    }

    /// The values of a header line, without escapes; null for what stands for null.
    pub(super) fn names(&mut self, line: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut names = Vec::new();
        let mut start = 0;
        loop {
            let end = start + value_end(&line[start..], self.delimiter);
            let raw = &line[start..end];
            names.push((raw != self.null.as_slice()).then(|| {
                let mut name = Vec::new();
                unescape(raw, &mut name);
                name
            }));
            if end == line.len() {
                return names;
            }
            start = end + 1;
        }
    }
}

/// Where a value ends: at a delimiter that no backslash stands before, or at the end.
fn value_end(text: &[u8], delimiter: u8) -> usize {
    let mut at = 0;
    while let Some(offset) = memchr::memchr2(delimiter, b'\\', text.get(at..).unwrap_or_default()) {
        at += offset;
        if text[at] == delimiter {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// Appends a value without its backslash escapes.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((first, after)) = rest.split_first() else {
            // A backslash at the very end stands for itself.
            out.push(b'\\');
            return;
        };
        rest = after;
        match first {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(0x0b),
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let digits = [*first].into_iter().chain(rest[..more].iter().copied());
                // Three octal digits may be more than a byte holds; the high bit is lost, as in PostgreSQL.
                out.push(digits.fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0')) as u8);
                rest = &rest[more..];
            }
            b'x' => {
                let count = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                if count == 0 {
                    out.push(b'x');
                } else {
                    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0);
                    out.push(rest[..count].iter().fold(0, |value, byte| value * 16 + digit(byte)) as u8);
                    rest = &rest[count..];
                }
            }
            other => out.push(*other),
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_postgresql() {
        let plain = |text: &[u8]| {
            let mut out = Vec::new();
            unescape(text, &mut out);
            out
        };
        assert_eq!(plain(br"a\tb\n\\\x41\101\q\.x"), b"a\tb\n\\AAq.x");
        assert_eq!(plain(br"\xg\08\"), b"xg\08\\");
        assert_eq!(value_end(br"a\	b	c", b'\t'), 4);
    }
}
