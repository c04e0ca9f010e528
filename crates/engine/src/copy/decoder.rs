//! Chunks of bytes to columns of values: what the three formats share.

use std::mem;

use arrow::array::ArrayRef;
use bytes::{Buf, Bytes, BytesMut};
use wharf_catalog::SqlType;
use wharf_values::{ColumnBuilder, SqlError, SqlState, TextFormat};

use super::{CopyFormat, CopyOptions, binary, csv, text};

/// The longest record, in bytes; PostgreSQL's limit for a line.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// The columns that are being filled.
pub(super) struct Columns {
    table: String,
    names: Vec<String>,
    builders: Vec<ColumnBuilder>,
    /// For each column: a quoted NULL string is NULL too; an unquoted one is not.
    pub(super) force_null: Vec<bool>,
    pub(super) force_not_null: Vec<bool>,
    /// The line or record that is being read, from 1.
    pub(super) line: u64,
    rows: usize,
    batch_rows: usize,
    ready: Vec<Vec<ArrayRef>>,
}

impl Columns {
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Adds a value to a column.
    pub(super) fn push(&mut self, column: usize, value: Option<&[u8]>) -> Result<(), SqlError> {
        match value {
            None => {
                self.builders[column].push_null();
                Ok(())
            }
            Some(text) => self.builders[column].push_text(text).map_err(|error| self.in_column(error, column, text)),
        }
    }

    /// Adds a value in the binary format to a column.
    pub(super) fn push_binary(&mut self, column: usize, value: Option<&[u8]>) -> Result<(), SqlError> {
        match value {
            None => {
                self.builders[column].push_null();
                Ok(())
            }
            Some(bytes) => self.builders[column].push_binary(bytes).map_err(|error| {
                error.with_context(format!(
                    "COPY {}, line {}, column {}",
                    self.table, self.line, self.names[column]
                ))
            }),
        }
    }

    /// A record is complete.
    pub(super) fn end_record(&mut self) {
        self.rows += 1;
        if self.rows >= self.batch_rows {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.rows == 0 {
            return;
        }
        self.rows = 0;
        self.ready.push(self.builders.iter_mut().map(ColumnBuilder::finish).collect());
    }

    fn in_column(&self, error: SqlError, column: usize, text: &[u8]) -> SqlError {
        error.with_context(format!(
            "COPY {}, line {}, column {}: \"{}\"",
            self.table,
            self.line,
            self.names[column],
            shorten(text)
        ))
    }

    /// An error about a whole record.
    pub(super) fn in_record(&self, message: impl Into<String>, record: &[u8]) -> SqlError {
        let context = if record.is_empty() {
            format!("COPY {}, line {}", self.table, self.line)
        } else {
            format!("COPY {}, line {}: \"{}\"", self.table, self.line, shorten(record))
        };
        SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message).with_context(context)
    }

    /// Too few values in a record.
    pub(super) fn missing(&self, column: usize, record: &[u8]) -> SqlError {
        self.in_record(format!("missing data for column \"{}\"", self.names[column]), record)
    }

    /// Too many values in a record.
    pub(super) fn extra(&self, record: &[u8]) -> SqlError {
        self.in_record("extra data after last expected column", record)
    }
}

/// Data as an error shows them: the first hundred characters.
fn shorten(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(100) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.into_owned(),
    }
}

/// What a format makes of the bytes so far.
pub(super) enum Step {
    /// A record took so many bytes.
    Record(usize),
    /// The record is not complete.
    More,
    /// The end-of-data marker: whatever follows is ignored.
    End,
}

enum Reader {
    Text(text::Reader),
    Csv(csv::Reader),
    Binary(binary::Reader),
}

/// Decodes a COPY's data.
pub(crate) struct CopyDecoder {
    reader: Reader,
    columns: Columns,
    buffer: BytesMut,
    ended: bool,
}

impl CopyDecoder {
    /// A decoder for columns of these names and types.
    ///
    /// # Errors
    /// `42703` for columns in the options that are not copied.
    pub(crate) fn new(
        options: &CopyOptions,
        table: &str,
        columns: Vec<(String, SqlType, bool)>,
        format: &TextFormat,
        batch_rows: usize,
    ) -> Result<CopyDecoder, SqlError> {
        let reader = match options.format {
            CopyFormat::Text => Reader::Text(text::Reader::new(options)),
            CopyFormat::Csv => Reader::Csv(csv::Reader::new(options)),
            CopyFormat::Binary => Reader::Binary(binary::Reader::default()),
        };
        let builders = columns.iter().map(|(_, ty, _)| ColumnBuilder::new(ty, format)).collect();
        let force_null = columns.iter().map(|(name, ..)| options.force_null.contains(name)).collect();
        let force_not_null = columns.iter().map(|(name, ..)| options.force_not_null.contains(name)).collect();
        let names = columns.into_iter().map(|(name, ..)| name).collect();
        Ok(CopyDecoder {
            reader,
            columns: Columns {
                table: table.to_owned(),
                names,
                builders,
                force_null,
                force_not_null,
                line: 0,
                rows: 0,
                batch_rows,
                ready: Vec::new(),
            },
            buffer: BytesMut::new(),
            ended: false,
        })
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// `22P04` for data that are not in the format, and what the values' types raise.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<(), SqlError> {
        if self.ended {
            return Ok(());
        }
        if self.buffer.is_empty() {
            // The usual case: whole records are read where they lie.
            let used = self.read(&chunk, false)?;
            self.buffer.extend_from_slice(&chunk[used.min(chunk.len())..]);
        } else {
            let mut buffer = mem::take(&mut self.buffer);
            buffer.extend_from_slice(&chunk);
            let used = self.read(&buffer, false)?;
            buffer.advance(used.min(buffer.len()));
            self.buffer = buffer;
        }
        if self.buffer.len() > MAX_RECORD_BYTES {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a COPY record is too long")
                .with_detail(format!("A record has at most {MAX_RECORD_BYTES} bytes.")));
        }
        Ok(())
    }

    /// Reads the complete records of some bytes and gives how many bytes they took.
    fn read(&mut self, data: &[u8], last: bool) -> Result<usize, SqlError> {
        let mut used = 0;
        while used < data.len() && !self.ended {
            let rest = &data[used..];
            let step = match &mut self.reader {
                Reader::Text(reader) => reader.record(rest, last, &mut self.columns)?,
                Reader::Csv(reader) => reader.record(rest, last, &mut self.columns)?,
                Reader::Binary(reader) => reader.record(rest, &mut self.columns)?,
            };
            match step {
                Step::Record(length) => used += length,
                Step::More => break,
                Step::End => {
                    self.ended = true;
                    return Ok(data.len());
                }
            }
        }
        Ok(used)
    }

    /// The next rows, one array for each column.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<ArrayRef>> {
        if self.columns.ready.is_empty() { None } else { Some(self.columns.ready.remove(0)) }
    }

    /// The data have come to their end; what is left becomes the last batch.
    ///
    /// # Errors
    /// `22P04` for a record that is cut off.
    pub(crate) fn finish(&mut self) -> Result<(), SqlError> {
        if !self.ended {
            let rest = mem::take(&mut self.buffer);
            self.read(&rest, true)?;
            if let Reader::Binary(reader) = &self.reader
                && !self.ended
            {
                return Err(reader.cut_off(&self.columns));
            }
        }
        self.columns.flush();
        Ok(())
    }
}
