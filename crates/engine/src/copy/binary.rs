//! PostgreSQL's binary format: a signature, then for each row a count and length-prefixed values.

use wharf_values::SqlError;

use super::decoder::{Columns, Step};

/// What a binary COPY begins with.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Reads rows.
#[derive(Default)]
pub(super) struct Reader {
    started: bool,
}

impl Reader {
    /// Reads the header or one row.
    pub(super) fn record(&mut self, data: &[u8], columns: &mut Columns) -> Result<Step, SqlError> {
        if !self.started {
            return self.header(data, columns);
        }
        let Some(count) = data.first_chunk::<2>().map(|bytes| i16::from_be_bytes(*bytes)) else {
            return Ok(Step::More);
        };
        if count == -1 {
            return Ok(Step::End);
        }
        if usize::try_from(count) != Ok(columns.count()) {
            return Err(columns.in_record(
                format!("row field count is {count}, expected {}", columns.count()),
                &[],
            ));
        }
        let Some(length) = row_length(data, columns)? else { return Ok(Step::More) };
        columns.line += 1;
        let mut at = 2;
        for column in 0..columns.count() {
            let size = size_at(data, at).unwrap_or(-1);
            at += 4;
            match usize::try_from(size) {
                Ok(size) => {
                    columns.push_binary(column, Some(&data[at..at + size]))?;
                    at += size;
                }
                Err(_) => columns.push_binary(column, None)?,
            }
        }
        columns.end_record();
        Ok(Step::Record(length))
    }

    fn header(&mut self, data: &[u8], columns: &Columns) -> Result<Step, SqlError> {
        let known = data.len().min(SIGNATURE.len());
        if data[..known] != SIGNATURE[..known] {
            return Err(columns.in_record("COPY file signature not recognized", &[]));
        }
        let Some(flags) = size_at(data, SIGNATURE.len()) else { return Ok(Step::More) };
        if flags & !0xffff != 0 {
            return Err(columns.in_record("unrecognized critical flags in COPY file header", &[]));
        }
        let Some(extension) = size_at(data, SIGNATURE.len() + 4) else { return Ok(Step::More) };
        let Ok(extension) = usize::try_from(extension) else {
            return Err(columns.in_record("invalid COPY file header (missing length)", &[]));
        };
        let length = SIGNATURE.len() + 8 + extension;
        if data.len() < length {
            return Ok(Step::More);
        }
        self.started = true;
        Ok(Step::Record(length))
    }

    /// The data ended without their trailer.
    pub(super) fn cut_off(&self, columns: &Columns) -> SqlError {
        if self.started {
            columns.in_record("unexpected EOF in COPY data", &[])
        } else {
            columns.in_record("COPY file signature not recognized", &[])
        }
    }
}

fn size_at(data: &[u8], at: usize) -> Option<i32> {
    data.get(at..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

/// The bytes of the row at the beginning, none while it is not complete.
fn row_length(data: &[u8], columns: &Columns) -> Result<Option<usize>, SqlError> {
    let mut at = 2;
    for _ in 0..columns.count() {
        let Some(size) = size_at(data, at) else { return Ok(None) };
        if size < -1 {
            return Err(columns.in_record("invalid field size", &[]));
        }
        at += 4 + usize::try_from(size).unwrap_or(0);
        if at > data.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}
