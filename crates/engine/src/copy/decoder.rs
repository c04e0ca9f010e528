//! From COPY's bytes to columns.
//!
//! What always holds: bytes may be cut anywhere, also within a character or an end of line; what is not a whole record
//! waits for more, up to [`MAX_RECORD_BYTES`]. The first end of line decides which kind the data have. A decoder never
//! looks at a byte twice to find an end of line.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, TextFormat};

use super::binary::BinaryReader;
use super::csv::CsvRecord;
use super::fields::{Column, Fields};
use super::header;
use super::json::JsonLine;
use super::options::{CopyFormat, CopyOptions, Header};
use super::rejects::{Reject, Rejects};
use super::text::TextLine;

/// Bytes of one record, at most.
const MAX_RECORD_BYTES: usize = 0x3fff_ffff;
/// Bytes of one batch, about, at most: long values end a batch before its rows do.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// How lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Newline,
    CarriageReturn,
    Both,
}

enum Splitter {
    Text(TextLine),
    Csv(CsvRecord),
    Binary(BinaryReader),
    Json(JsonLine),
}

/// Decodes the data of one COPY FROM.
pub(crate) struct CopyDecoder {
    options: CopyOptions,
    splitter: Splitter,
    fields: Fields,
    batch_rows: usize,
    ready: VecDeque<Vec<ArrayRef>>,
    /// Bytes not yet decoded, from `start` on; up to `scanned` they hold no end of line.
    buffer: Vec<u8>,
    start: usize,
    scanned: usize,
    /// Within quotes at `scanned`, and behind an escape there.
    in_quotes: bool,
    escaped: bool,
    line_end: Option<LineEnd>,
    /// The line that is decoded next, counted from 1.
    line: u64,
    /// Ends of line within quotes of the record that is being scanned.
    inner_lines: u64,
    header: Header,
    /// Which of the columns are filled, once a header has said so.
    places: Option<Arc<[usize]>>,
    /// Behind `\.`, or the binary format's trailer.
    ended: bool,
    rejects: Option<(Arc<Rejects>, Option<Arc<str>>)>,
}

/// The values of a record; null for what stands for null.
type Values = Vec<Option<Vec<u8>>>;

/// The values of the first record of some data in CSV or text, null for what stands for null; none when it is not whole.
///
/// # Errors
/// `22P04` for ends of line that contradict each other.
pub(super) fn first_record(options: &CopyOptions, bytes: &[u8], at_end: bool) -> Result<Option<Values>, SqlError> {
    let mut options = options.clone();
    (options.force_not_null, options.force_null) = Default::default();
    let mut decoder = CopyDecoder::new(&options, "", Vec::new(), &TextFormat::default(), 1)?;
    let end = match decoder.find_end(bytes, at_end)? {
        Some((end, _)) => end,
        None if at_end && !bytes.is_empty() => bytes.len(),
        None => return Ok(None),
    };
    let line = &bytes[..end];
    Ok(match &mut decoder.splitter {
        Splitter::Text(text) => Some(text.names(line)),
        Splitter::Csv(csv) => Some(csv.names(line)),
        Splitter::Binary(_) | Splitter::Json(_) => None,
    })
}

impl CopyDecoder {
    /// A decoder for columns given by name, type and whether they take nulls.
    ///
    /// # Errors
    /// `42P10` for a column of an option that is not copied.
    pub(crate) fn new(
        options: &CopyOptions,
        table_name: &str,
        columns: Vec<(String, SqlType, bool)>,
        format: &TextFormat,
        batch_rows: usize,
    ) -> Result<CopyDecoder, SqlError> {
        let columns = columns.into_iter().map(|(name, ty, nullable)| Column { name, ty, nullable }).collect::<Vec<_>>();
        let fields = Fields::new(table_name, columns, format);
        let splitter = match options.format {
            CopyFormat::Text => Splitter::Text(TextLine::new(options)),
            CopyFormat::Csv => Splitter::Csv(CsvRecord::new(options, &fields.names())?),
            CopyFormat::Binary => Splitter::Binary(BinaryReader::new()),
            CopyFormat::Json => Splitter::Json(JsonLine::new(&fields.names())),
            CopyFormat::Parquet => {
                return Err(SqlError::unsupported("COPY format \"parquet\" is for files alone")
                    .with_hint("Name a file: COPY table FROM 'file.parquet'."));
            }
        };
        Ok(CopyDecoder {
            options: options.clone(),
            splitter,
            fields,
            batch_rows: batch_rows.max(1),
            ready: VecDeque::new(),
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            in_quotes: false,
            escaped: false,
            line_end: None,
            line: 1,
            inner_lines: 0,
            header: options.header,
            places: None,
            ended: false,
            rejects: None,
        })
    }

    /// Where rows go that are wrong, and the file they are of.
    #[must_use]
    pub(crate) fn rejecting(mut self, rejects: &Arc<Rejects>, file: Option<Arc<str>>) -> CopyDecoder {
        if rejects.tolerates() {
            self.fields.tolerate();
            self.rejects = Some((Arc::clone(rejects), file));
        }
        self
    }

    /// An error of the COPY as a whole, with the line it had come to.
    pub(crate) fn place(&self, error: SqlError) -> SqlError {
        self.fields.place_error(error, self.line)
    }

    /// Takes the next bytes and decodes all whole records.
    ///
    /// # Errors
    /// What is wrong with the data; the decoder is of no use afterwards.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Result<(), SqlError> {
        if self.ended && !matches!(self.splitter, Splitter::Binary(_)) {
            return Ok(());
        }
        if self.start > 0 {
            // What is left is part of a record, so little is moved.
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(&bytes);
        self.decode(false)?;
        if self.buffer.len() - self.start > MAX_RECORD_BYTES {
            let error = SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a COPY record is longer than 1 GB");
            return Err(self.fields.place_error(error, self.line));
        }
        Ok(())
    }

    /// The next batch of full size (or, after [`CopyDecoder::finish`], of what is left).
    pub(crate) fn next_batch(&mut self) -> Option<Vec<ArrayRef>> {
        self.ready.pop_front()
    }

    /// Makes a batch of the rows so far.
    pub(super) fn flush(&mut self) {
        if self.fields.rows() > 0 {
            self.ready.push_back(self.fields.take());
        }
    }

    /// The places among the columns of those that the batches have, when a header has said which; none: all of them.
    pub(crate) fn places(&self) -> Option<&Arc<[usize]>> {
        self.places.as_ref()
    }

    /// All bytes have come: decodes what is left.
    ///
    /// # Errors
    /// What is wrong with the data, now also that they end too early.
    pub(crate) fn finish(&mut self) -> Result<(), SqlError> {
        if let Splitter::Binary(reader) = &self.splitter {
            reader.check_end(self.ended, &self.fields, self.line)?;
        }
        self.decode(true)?;
        self.flush();
        Ok(())
    }

    fn end_row(&mut self) {
        self.fields.end_row();
        self.flush_full();
    }

    #[inline]
    fn flush_full(&mut self) {
        let rows = self.fields.rows();
        // The size is only looked at now and then.
        if rows >= self.batch_rows || (rows.is_multiple_of(256) && self.fields.size_bytes() > MAX_BATCH_BYTES) {
            self.ready.push_back(self.fields.take());
        }
    }

    fn decode(&mut self, at_end: bool) -> Result<(), SqlError> {
        if matches!(self.splitter, Splitter::Binary(_)) {
            return self.decode_binary();
        }
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.decode_lines(&buffer, at_end);
        self.buffer = buffer;
        result
    }

    fn decode_binary(&mut self) -> Result<(), SqlError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let Splitter::Binary(reader) = &mut self.splitter else { break Ok(()) };
            match reader.row(&buffer[self.start..], self.line, &mut self.fields) {
                Ok(Some((used, row))) => {
                    self.start += used;
                    self.ended |= reader.has_ended();
                    if row {
                        self.line += 1;
                        self.end_row();
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.scanned = self.start;
        self.buffer = buffer;
        result
    }

    fn decode_lines(&mut self, buffer: &[u8], at_end: bool) -> Result<(), SqlError> {
        // What the whole of the bytes does not have need not be looked for in each line.
        let fresh = &buffer[self.start..];
        let is_json = matches!(self.splitter, Splitter::Json(_));
        // The strings of JSON hold no end of line, so its lines are told by newlines alone.
        let has_return = !is_json && memchr::memchr(b'\r', fresh).is_some();
        let special = match self.splitter {
            Splitter::Csv(_) => self.options.quote,
            _ => b'\\',
        };
        let has_special = !is_json && memchr::memchr(special, fresh).is_some();
        let is_csv = matches!(self.splitter, Splitter::Csv(_));
        // In CSV a backslash only matters in a line that is `\.`.
        let has_marker = if is_csv { memchr::memmem::find(fresh, b"\\.").is_some() } else { has_special };
        while !self.ended && self.start < buffer.len() {
            let end = if has_return || has_special || self.in_quotes || self.line_end == Some(LineEnd::CarriageReturn) {
                self.find_end(buffer, at_end)?
            } else {
                let newline = memchr::memchr(b'\n', &buffer[self.scanned..]).map(|offset| self.scanned + offset);
                if newline.is_none() {
                    self.scanned = buffer.len();
                }
                newline.map(|end| (end, end + 1))
            };
            let (end, next) = match end {
                Some((end, next)) => {
                    if self.line_end.is_none() {
                        self.line_end = Some(match &buffer[end..next] {
                            b"\r\n" => LineEnd::Both,
                            b"\r" => LineEnd::CarriageReturn,
                            _ => LineEnd::Newline,
                        });
                    }
                    if self.line_end == Some(LineEnd::Both) && next - end == 1 {
                        return Err(self.stray(false));
                    }
                    (end, next)
                }
                None if at_end => (buffer.len(), buffer.len()),
                None => return Ok(()),
            };
            let line = &buffer[self.start..end];
            if has_marker && self.is_marker(line, next > end, at_end)? {
                self.ended = true;
                let before = line.len().saturating_sub(2);
                if before > 0 {
                    self.record(&line[..before], has_special)?;
                }
                self.start = buffer.len();
                self.scanned = buffer.len();
                return Ok(());
            }
            self.record(line, has_special)?;
            self.start = next;
            self.scanned = next;
        }
        Ok(())
    }

    /// Decodes one line or record without its end.
    #[inline]
    fn record(&mut self, line: &[u8], has_special: bool) -> Result<(), SqlError> {
        let number = self.line;
        self.line += 1 + std::mem::take(&mut self.inner_lines);
        self.in_quotes = false;
        self.escaped = false;
        if self.header != Header::None {
            return self.check_header(line, number);
        }
        let parsed = match &mut self.splitter {
            Splitter::Text(text) => text.parse(line, has_special, number, &mut self.fields).map(|()| true),
            Splitter::Csv(csv) => csv.parse(line, has_special, self.line - 1, &mut self.fields).map(|()| true),
            Splitter::Json(json) => json.parse(line, number, &mut self.fields),
            Splitter::Binary(_) => Err(SqlError::internal("binary data have no lines")),
        };
        match parsed {
            Ok(true) => self.end_row(),
            Ok(false) => {}
            Err(error) => self.reject(error, line)?,
        }
        Ok(())
    }

    /// Passes a row over, if that is allowed.
    #[cold]
    fn reject(&mut self, error: SqlError, line: &[u8]) -> Result<(), SqlError> {
        let column = self.fields.take_failed();
        let Some((rejects, file)) = self.rejects.as_ref().filter(|(rejects, _)| rejects.takes(column.is_some())) else {
            return Err(error);
        };
        let reject = Reject {
            file: file.clone(),
            line: self.line - 1,
            column: column.map(|column| self.fields.columns[column].name.clone()),
            error: error.message.clone(),
            text: String::from_utf8_lossy(line).into_owned(),
        };
        rejects.add(reject).map_err(|refused| match &error.context {
            Some(context) => refused.with_context(context.as_ref()),
            None => refused,
        })?;
        self.fields.reject_row();
        self.flush_full();
        Ok(())
    }

    /// Whether a line is, or ends in, the marker `\.`.
    fn is_marker(&self, line: &[u8], has_end: bool, at_end: bool) -> Result<bool, SqlError> {
        if matches!(self.splitter, Splitter::Csv(_)) {
            return Ok(line == b"\\.");
        }
        // The first backslash with a point behind it, escapes skipped.
        let mut at = 0;
        while let Some(offset) = memchr::memchr(b'\\', line.get(at..).unwrap_or_default()) {
            at += offset;
            if line.get(at + 1) == Some(&b'.') {
                if at + 2 == line.len() && (has_end || at_end) {
                    return Ok(true);
                }
                let error = SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "end-of-copy marker corrupt");
                return Err(self.fields.place_error(error, self.line));
            }
            at += 2;
        }
        Ok(false)
    }

    /// Where the record ends, and where the next begins, scanning on from where the last scan stopped.
    fn find_end(&mut self, buffer: &[u8], at_end: bool) -> Result<Option<(usize, usize)>, SqlError> {
        let is_csv = matches!(self.splitter, Splitter::Csv(_));
        let (quote, escape) = (self.options.quote, self.options.escape);
        let mut at = self.scanned;
        while at < buffer.len() {
            let rest = &buffer[at..];
            let offset = match (is_csv, self.in_quotes) {
                // Within quotes only quotes and escapes matter, and ends of line for their number.
                (true, true) => memchr::memchr3(quote, escape, b'\n', rest),
                (true, false) => memchr::memchr3(quote, b'\n', b'\r', rest),
                (false, _) => memchr::memchr3(b'\\', b'\n', b'\r', rest),
            };
            if offset != Some(0) {
                self.escaped = false;
            }
            let Some(offset) = offset else { break };
            at += offset;
            let byte = buffer[at];
            if is_csv {
                if self.in_quotes && byte == escape && escape != quote {
                    self.escaped = !self.escaped;
                    at += 1;
                    continue;
                }
                if byte == quote {
                    if !self.escaped {
                        self.in_quotes = !self.in_quotes;
                    }
                    self.escaped = false;
                    at += 1;
                    continue;
                }
                self.escaped = false;
                if self.in_quotes {
                    self.inner_lines += u64::from(byte == b'\n' && self.line_end.is_some());
                    at += 1;
                    continue;
                }
            } else if byte == b'\\' {
                // The next byte is part of the escape, whatever it is.
                if at + 1 == buffer.len() {
                    self.scanned = at;
                    return Ok(None);
                }
                at += if buffer[at + 1] == b'.' { 1 } else { 2 };
                continue;
            }
            match (byte, self.line_end) {
                (b'\n', None | Some(LineEnd::Newline | LineEnd::Both)) => return Ok(Some((at, at + 1))),
                (b'\r', Some(LineEnd::CarriageReturn)) => return Ok(Some((at, at + 1))),
                (b'\r', None | Some(LineEnd::Both)) => match buffer.get(at + 1) {
                    Some(b'\n') => return Ok(Some((at, at + 2))),
                    None if !at_end => {
                        self.scanned = at;
                        return Ok(None);
                    }
                    _ if self.line_end.is_none() => return Ok(Some((at, at + 1))),
                    _ => return Err(self.stray(true)),
                },
                (b'\r', _) => return Err(self.stray(true)),
                (_, _) => return Err(self.stray(false)),
            }
        }
        self.scanned = buffer.len();
        Ok(None)
    }

    /// An end of line of another kind than the first.
    #[cold]
    fn stray(&self, carriage_return: bool) -> SqlError {
        let csv = matches!(self.splitter, Splitter::Csv(_));
        let (name, letter) = if carriage_return { ("carriage return", "\\r") } else { ("newline", "\\n") };
        let error = if csv {
            SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, format!("unquoted {name} found in data"))
                .with_hint(format!("Use quoted CSV field to represent {name}."))
        } else {
            SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, format!("literal {name} found in data"))
                .with_hint(format!("Use \"{letter}\" to represent {name}."))
        };
        self.fields.place_error(error, self.line)
    }

    fn check_header(&mut self, line: &[u8], number: u64) -> Result<(), SqlError> {
        let case = match std::mem::take(&mut self.header) {
            Header::None | Header::Skip => return Ok(()),
            Header::Match => None,
            Header::ByName(case) => Some(case),
        };
        let names = match &mut self.splitter {
            Splitter::Text(text) => text.names(line),
            Splitter::Csv(csv) => csv.names(line),
            Splitter::Binary(_) | Splitter::Json(_) => return Ok(()),
        };
        let wrong = |message: String| {
            self.fields.line_error(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message), number, line)
        };
        let expected = self.fields.names();
        if let Some(case) = case {
            let assigned = header::assign(&names, &expected, case).map_err(wrong)?;
            self.fields.select(&assigned.places);
            if let Splitter::Csv(csv) = &mut self.splitter {
                csv.by_header(assigned.values, &assigned.places);
            }
            self.places = Some(assigned.places.into());
            return Ok(());
        }
        if names.len() != expected.len() {
            let (got, expected) = (names.len(), expected.len());
            return Err(wrong(format!("wrong number of fields in header line: got {got}, expected {expected}")));
        }
        for (index, (got, expected)) in names.iter().zip(expected).enumerate() {
            let place = format!("column name mismatch in header line field {}", index + 1);
            match got {
                None => {
                    let null = &self.options.null;
                    return Err(wrong(format!("{place}: got null value (\"{null}\"), expected \"{expected}\"")));
                }
                Some(got) if got != expected.as_bytes() => {
                    let got = String::from_utf8_lossy(got);
                    return Err(wrong(format!("{place}: got \"{got}\", expected \"{expected}\"")));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
