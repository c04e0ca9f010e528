//! CSV as PostgreSQL reads it: quotes may begin anywhere in a value, and only an unquoted NULL string is NULL.

use memchr::{memchr2, memchr3};
use wharf_values::SqlError;

use super::CopyOptions;
use super::decoder::{Columns, Step};

/// Reads records.
pub(super) struct Reader {
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    skip_header: bool,
    /// The values of the record that is being read, one after the other, where they could not be taken as they are.
    scratch: Vec<u8>,
    values: Vec<Value>,
}

/// A value of the record.
#[derive(Clone, Copy)]
struct Value {
    start: usize,
    end: usize,
    /// In the scratch buffer instead of the data.
    copied: bool,
    quoted: bool,
}

impl Reader {
    pub(super) fn new(options: &CopyOptions) -> Reader {
        Reader {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            null: options.null.as_bytes().to_vec(),
            skip_header: options.header,
            scratch: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Reads one record.
    pub(super) fn record(&mut self, data: &[u8], last: bool, columns: &mut Columns) -> Result<Step, SqlError> {
        let Some((end, length)) = self.split(data, last, columns)? else { return Ok(Step::More) };
        columns.line += 1;
        let record = &data[..end];
        if self.skip_header {
            self.skip_header = false;
            columns.line += newlines(record);
            return Ok(Step::Record(length));
        }
        if record == b"\\." {
            return Ok(Step::End);
        }
        if self.values.len() < columns.count() {
            return Err(columns.missing(self.values.len(), record));
        }
        if self.values.len() > columns.count() {
            return Err(columns.extra(record));
        }
        for (column, value) in self.values.iter().enumerate() {
            let bytes = if value.copied { &self.scratch[value.start..value.end] } else { &data[value.start..value.end] };
            let null = bytes == self.null
                && if value.quoted { columns.force_null[column] } else { !columns.force_not_null[column] };
            columns.push(column, (!null).then_some(bytes))?;
        }
        columns.line += newlines(record);
        columns.end_record();
        Ok(Step::Record(length))
    }

    /// Finds the values of the first record; gives where it ends and how many bytes it takes with its line end.
    fn split(&mut self, data: &[u8], last: bool, columns: &Columns) -> Result<Option<(usize, usize)>, SqlError> {
        self.values.clear();
        self.scratch.clear();
        let mut at = 0;
        loop {
            let start = at;
            let copy_start = self.scratch.len();
            let (mut copied, mut quoted) = (false, false);
            let mut run = at;
            // One value.
            let (value_end, next) = loop {
                let Some(found) = memchr3(self.quote, self.delimiter, b'\n', &data[at..]) else {
                    if !last {
                        return Ok(None);
                    }
                    break (data.len(), None);
                };
                let found = at + found;
                match data[found] {
                    byte if byte == self.quote => {
                        if !copied {
                            copied = true;
                        }
                        quoted = true;
                        self.scratch.extend_from_slice(&data[run..found]);
                        match self.quoted(data, found + 1) {
                            Some(after) => {
                                at = after;
                                run = after;
                            }
                            None if last => {
                                return Err(columns.in_record("unterminated CSV quoted field", &[]));
                            }
                            None => return Ok(None),
                        }
                    }
                    byte if byte == self.delimiter => break (found, Some(found + 1)),
                    _ => break (found, None),
                }
            };
            let line_ended = next.is_none();
            let mut end = value_end;
            if line_ended && end > run && data[end - 1] == b'\r' {
                end -= 1;
            }
            if copied {
                self.scratch.extend_from_slice(&data[run..end]);
                self.values.push(Value { start: copy_start, end: self.scratch.len(), copied, quoted });
            } else {
                self.values.push(Value { start, end, copied, quoted });
            }
            match next {
                Some(next) => at = next,
                None => {
                    let length = if value_end < data.len() { value_end + 1 } else { value_end };
                    return Ok(Some((end, length)));
                }
            }
        }
    }

    /// Copies what stands between quotes; gives the place after the closing one, none when it has not come.
    fn quoted(&mut self, data: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let found = at + memchr2(self.quote, self.escape, &data[at..])?;
            self.scratch.extend_from_slice(&data[at..found]);
            let next = data.get(found + 1);
            if data[found] == self.escape {
                match next {
                    Some(byte) if *byte == self.quote || *byte == self.escape => {
                        self.scratch.push(*byte);
                        at = found + 2;
                        continue;
                    }
                    // The byte that decides is not there; at the end of all data a quote here is the closing one.
                    None if self.escape != self.quote => return None,
                    _ => {}
                }
            }
            if data[found] == self.quote {
                return Some(found + 1);
            }
            self.scratch.push(data[found]);
            at = found + 1;
        }
    }
}

fn newlines(record: &[u8]) -> u64 {
    record.iter().filter(|byte| **byte == b'\n').count() as u64
}
