//! The text format: a line a row, backslash escapes, `\N` for NULL, `\.` for the end.

use memchr::{memchr, memchr2};
use wharf_values::SqlError;

use super::CopyOptions;
use super::decoder::{Columns, Step};

/// Reads lines.
pub(super) struct Reader {
    delimiter: u8,
    null: Vec<u8>,
    skip_header: bool,
    /// A value whose escapes have been replaced.
    scratch: Vec<u8>,
}

impl Reader {
    pub(super) fn new(options: &CopyOptions) -> Reader {
        Reader {
            delimiter: options.delimiter,
            null: options.null.as_bytes().to_vec(),
            skip_header: options.header,
            scratch: Vec::new(),
        }
    }

    /// Reads one line.
    pub(super) fn record(&mut self, data: &[u8], last: bool, columns: &mut Columns) -> Result<Step, SqlError> {
        let (mut line, length) = match end_of_line(data) {
            Some(end) => (&data[..end], end + 1),
            None if last => (data, data.len()),
            None => return Ok(Step::More),
        };
        if let [head @ .., b'\r'] = line
            && !ends_in_escape(head)
        {
            line = head;
        }
        columns.line += 1;
        if self.skip_header {
            self.skip_header = false;
            return Ok(Step::Record(length));
        }
        if line == b"\\." {
            return Ok(Step::End);
        }
        self.values(line, columns)?;
        columns.end_record();
        Ok(Step::Record(length))
    }

    fn values(&mut self, line: &[u8], columns: &mut Columns) -> Result<(), SqlError> {
        let mut rest = Some(line);
        if columns.count() == 0 {
            return if line.is_empty() { Ok(()) } else { Err(columns.extra(line)) };
        }
        for column in 0..columns.count() {
            let Some(data) = rest else { return Err(columns.missing(column, line)) };
            let (raw, escaped, next) = self.split(data);
            if raw == self.null {
                columns.push(column, None)?;
            } else if escaped {
                self.scratch.clear();
                unescape(raw, &mut self.scratch);
                columns.push(column, Some(&self.scratch))?;
            } else {
                columns.push(column, Some(raw))?;
            }
            rest = next;
        }
        match rest {
            Some(_) => Err(columns.extra(line)),
            None => Ok(()),
        }
    }

    /// The first value, whether it has escapes, and what comes after its delimiter.
    fn split<'a>(&self, data: &'a [u8]) -> (&'a [u8], bool, Option<&'a [u8]>) {
        let mut from = 0;
        let mut escaped = false;
        while let Some(at) = memchr2(self.delimiter, b'\\', &data[from..]) {
            let at = from + at;
            if data[at] == self.delimiter {
                return (&data[..at], escaped, Some(&data[at + 1..]));
            }
            escaped = true;
            from = (at + 2).min(data.len());
        }
        (data, escaped, None)
    }
}

/// The place of the first newline that is not escaped.
fn end_of_line(data: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(b'\n', &data[from..])?;
        if !ends_in_escape(&data[..at]) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Does an odd number of backslashes stand at the end?
fn ends_in_escape(data: &[u8]) -> bool {
    data.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Replaces `\n`, `\t`, octal and hexadecimal escapes; a backslash before anything else stands for that.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(code) = bytes.next() else {
            out.push(b'\\');
            return;
        };
        out.push(match code {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(code - b'0');
                for _ in 0..2 {
                    match bytes.peek() {
                        Some(digit @ b'0'..=b'7') => value = value * 8 + u32::from(digit - b'0'),
                        _ => break,
                    }
                    bytes.next();
                }
                (value & 0xff) as u8
            }
            b'x' if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    match bytes.peek().and_then(|digit| char::from(*digit).to_digit(16)) {
                        Some(digit) => value = value * 16 + digit,
                        None => break,
                    }
                    bytes.next();
                }
                value as u8
            }
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_as_postgresql_does() {
        let mut out = Vec::new();
        unescape(br"a\tb\\c\101\x41\q\", &mut out);
        assert_eq!(out, b"a\tb\\cAAq\\");
    }

    #[test]
    fn an_escaped_newline_does_not_end_a_line() {
        assert_eq!(end_of_line(b"a\\\nb\nc"), Some(4));
        assert_eq!(end_of_line(b"a\\\\\nb"), Some(3));
        assert_eq!(end_of_line(b"abc"), None);
    }
}
