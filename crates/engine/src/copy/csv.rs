//! One record of the CSV format.

use wharf_values::{SqlError, SqlState};

use super::fields::Fields;
use super::options::CopyOptions;

/// Splits a record, without its end, into the columns' values.
pub(super) struct CsvRecord {
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    /// Of the values of a record: the name that the header gives it, and which column it is for. None: those of the columns,
    /// in their order.
    header: Option<Vec<(String, Option<usize>)>>,
    scratch: Vec<u8>,
}

impl CsvRecord {
    pub(super) fn new(options: &CopyOptions, names: &[&str]) -> Result<CsvRecord, SqlError> {
        Ok(CsvRecord {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            null: options.null.clone().into_bytes(),
            force_not_null: CopyOptions::places(&options.force_not_null, names, "FORCE_NOT_NULL")?,
            force_null: CopyOptions::places(&options.force_null, names, "FORCE_NULL")?,
            header: None,
            scratch: Vec::new(),
        })
    }

    /// Takes values by the names of a header from now on: for each its name and the column it is for. `places` are those of
    /// the columns that are filled among those there were.
    pub(super) fn by_header(&mut self, header: Vec<(String, Option<usize>)>, places: &[usize]) {
        let chosen = |forced: &[bool]| places.iter().map(|place| forced[*place]).collect();
        (self.force_not_null, self.force_null) = (chosen(&self.force_not_null), chosen(&self.force_null));
        self.header = Some(header);
    }

    /// How many values a record has.
    fn count(&self, fields: &Fields) -> usize {
        self.header.as_ref().map_or(fields.len(), Vec::len)
    }

    /// A record that ends before this value.
    #[cold]
    fn missing(&self, at: usize, record: &[u8], number: u64, fields: &Fields) -> SqlError {
        match &self.header {
            None => fields.missing(at, number, record),
            Some(header) => fields.missing_named(&header[at].0, number, record),
        }
    }

    /// `quotes`: whether the record may have a quote.
    pub(super) fn parse(
        &mut self,
        record: &[u8],
        quotes: bool,
        number: u64,
        fields: &mut Fields,
    ) -> Result<(), SqlError> {
        if quotes && memchr::memchr(self.quote, record).is_some() {
            return self.parse_quoted(record, number, fields);
        }
        let count = self.count(fields);
        let mut column = 0;
        let mut start = 0;
        for end in memchr::memchr_iter(self.delimiter, record).chain([record.len()]) {
            if column == count {
                return Err(fields.extra(number, record));
            }
            self.put(column, &record[start..end], false, record, number, fields)?;
            column += 1;
            start = end + 1;
        }
        if column < count {
            return Err(self.missing(column, record, number, fields));
        }
        Ok(())
    }

    #[inline]
    fn put(
        &self,
        column: usize,
        value: &[u8],
        quoted: bool,
        record: &[u8],
        number: u64,
        fields: &mut Fields,
    ) -> Result<(), SqlError> {
        let column = match &self.header {
            None => column,
            Some(header) => match header[column].1 {
                Some(column) => column,
                None => return Ok(()),
            },
        };
        let matches = value == self.null.as_slice();
        // A quoted value is no null, unless the column is forced to be.
        let null = matches && if quoted { self.force_null[column] } else { !self.force_not_null[column] };
        if !null {
            return fields.push(column, value, number);
        }
        if !fields.columns[column].nullable {
            return Err(fields.null_error(column, number, record));
        }
        fields.push_null(column);
        Ok(())
    }

    fn parse_quoted(&mut self, record: &[u8], number: u64, fields: &mut Fields) -> Result<(), SqlError> {
        let mut column = 0;
        let mut start = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = loop {
            scratch.clear();
            let Some((length, quoted)) = self.value(&record[start..], &mut scratch) else {
                let error = SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field");
                break Err(fields.line_error(error, number, record));
            };
            if column == self.count(fields) {
                break Err(fields.extra(number, record));
            }
            // Without quotes the value is where it was.
            let value = if quoted { scratch.as_slice() } else { &record[start..start + length] };
            if let Err(error) = self.put(column, value, quoted, record, number, fields) {
                break Err(error);
            }
            column += 1;
            if start + length == record.len() {
                if column < self.count(fields) {
                    break Err(self.missing(column, record, number, fields));
                }
                break Ok(());
            }
            start += length + 1;
        };
        self.scratch = scratch;
        result
    }

    /// The length of the value a text begins with, and whether it has quotes, in which case it is appended without them.
    /// `None` when a quote is left open.
    fn value(&self, text: &[u8], out: &mut Vec<u8>) -> Option<(usize, bool)> {
        let mut at = 0;
        let mut quoted = false;
        loop {
            let rest = &text[at..];
            let plain = memchr::memchr2(self.delimiter, self.quote, rest).unwrap_or(rest.len());
            if at + plain == text.len() || rest[plain] == self.delimiter {
                if quoted {
                    out.extend_from_slice(&rest[..plain]);
                }
                return Some((at + plain, quoted));
            }
            // Quotes may begin within a value; what stands before them belongs to it.
            out.extend_from_slice(&rest[..plain]);
            quoted = true;
            at += plain + 1;
            loop {
                let rest = &text[at..];
                let special = memchr::memchr2(self.quote, self.escape, rest)?;
                out.extend_from_slice(&rest[..special]);
                at += special + 1;
                let escaped = text.get(at).copied().filter(|next| *next == self.quote || *next == self.escape);
                match escaped {
                    Some(next) if rest[special] == self.escape => {
                        out.push(next);
                        at += 1;
                    }
                    _ if rest[special] == self.quote => break,
                    // An escape before something else stands for itself.
                    _ => out.push(self.escape),
                }
            }
        }
    }

    /// The values of a header record; null for what stands for null.
    pub(super) fn names(&self, record: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut names = Vec::new();
        let mut start = 0;
        loop {
            let mut name = Vec::new();
            let Some((length, quoted)) = self.value(&record[start..], &mut name) else { return names };
            if !quoted {
                name = record[start..start + length].to_vec();
            }
            names.push((quoted || name != self.null).then_some(name));
            if start + length == record.len() {
                return names;
            }
            start += length + 1;
        }
    }
}
