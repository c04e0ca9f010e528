//! The binary format, in.

use wharf_values::{SqlError, SqlState};

use super::fields::Fields;

/// The first bytes of every binary copy.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Reads a header, then rows, then the trailer.
pub(super) struct BinaryReader {
    header_read: bool,
    ended: bool,
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// A big-endian integer at a place, if it is there.
fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes)
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes)
}

impl BinaryReader {
    pub(super) fn new() -> BinaryReader {
        BinaryReader { header_read: false, ended: false }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads what the bytes begin with: how many bytes that was, and whether it was a row. `None` when there are not
    /// enough bytes yet.
    pub(super) fn row(
        &mut self,
        bytes: &[u8],
        line: u64,
        fields: &mut Fields,
    ) -> Result<Option<(usize, bool)>, SqlError> {
        if self.ended {
            return match bytes {
                [] => Ok(None),
                _ => Err(fields.place_error(bad("received copy data after EOF marker"), line)),
            };
        }
        if !self.header_read {
            let length = header(bytes)?;
            self.header_read = length.is_some();
            return Ok(length.map(|length| (length, false)));
        }
        let Some(count) = int16(bytes, 0) else { return Ok(None) };
        if count == -1 {
            self.ended = true;
            return Ok(Some((2, false)));
        }
        if usize::try_from(count) != Ok(fields.len()) {
            let message = format!("row field count is {count}, expected {}", fields.len());
            return Err(fields.place_error(bad(message), line));
        }
        let Some(length) = whole_row(bytes, fields.len()).map_err(|error| fields.place_error(error, line))? else {
            return Ok(None);
        };
        let mut at = 2;
        for column in 0..fields.len() {
            let size = int32(bytes, at).unwrap_or(-1);
            at += 4;
            match usize::try_from(size) {
                Ok(size) => {
                    fields.push_binary(column, &bytes[at..at + size], line)?;
                    at += size;
                }
                Err(_) if fields.columns[column].nullable => fields.push_null(column),
                Err(_) => return Err(fields.null_error(column, line, b"")),
            }
        }
        Ok(Some((length, true)))
    }

    /// The data have come to their end.
    pub(super) fn check_end(&self, ended: bool, fields: &Fields, line: u64) -> Result<(), SqlError> {
        if !self.header_read {
            return Err(bad("COPY file signature not recognized"));
        }
        if !ended {
            return Err(fields.place_error(bad("unexpected EOF in COPY data"), line));
        }
        Ok(())
    }
}

/// The length of the header, once all of it is there.
fn header(bytes: &[u8]) -> Result<Option<usize>, SqlError> {
    let compared = bytes.len().min(SIGNATURE.len());
    if bytes[..compared] != SIGNATURE[..compared] {
        return Err(bad("COPY file signature not recognized"));
    }
    let (Some(flags), Some(extension)) = (int32(bytes, 11), int32(bytes, 15)) else { return Ok(None) };
    if flags & (1 << 16) != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if (flags >> 16) & 0xfffe != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let extension = usize::try_from(extension).map_err(|_| bad("invalid COPY file header (missing length)"))?;
    let length = 19 + extension;
    Ok((bytes.len() >= length).then_some(length))
}

/// The length of a row, once all of it is there.
fn whole_row(bytes: &[u8], columns: usize) -> Result<Option<usize>, SqlError> {
    let mut at = 2;
    for _ in 0..columns {
        let Some(size) = int32(bytes, at) else { return Ok(None) };
        at += 4;
        match size {
            -1 => {}
            size => at += usize::try_from(size).map_err(|_| bad("invalid field size"))?,
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}
