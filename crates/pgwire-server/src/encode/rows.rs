//! Rows: a record batch at a time, written as `DataRow` messages straight into the output buffer.
//!
//! What always holds: the encoders of a batch are made once per column, lengths are patched after the values, and a
//! batch can be left at any row and gone on with later, which is what row limits and back-pressure need. A row that is
//! too long for a message leaves nothing behind in the buffer. How a value looks is `wharf_values`' business.

use arrow::array::RecordBatch;
use wharf_values::text_out::BoxedEncoder;
use wharf_values::{SqlError, SqlState, TextFormat, binary_out, text_out};

use super::{Format, Formats};
use crate::backend::ResultColumn;

/// The longest row, as the length of every value and message is a signed 32-bit number.
const MAX_ROW_BYTES: usize = i32::MAX as usize;

/// A batch on its way to the client.
pub(crate) struct BatchEncoder {
    columns: Box<[BoxedEncoder]>,
    column_count: u16,
    rows: usize,
    next_row: usize,
}

impl BatchEncoder {
    /// Encoders for the columns of a batch.
    pub(crate) fn new(
        batch: &RecordBatch,
        columns: &[ResultColumn],
        formats: &Formats,
        text_format: &TextFormat,
    ) -> Result<Self, SqlError> {
        if batch.num_columns() != columns.len() {
            return Err(SqlError::internal(format!(
                "a batch has {} columns, its description {}",
                batch.num_columns(),
                columns.len()
            )));
        }
        let encoders = columns
            .iter()
            .zip(batch.columns())
            .enumerate()
            .map(|(index, (column, array))| match formats.of(index) {
                Format::Text => text_out::encoder(&column.field, array, text_format),
                Format::Binary => binary_out::encoder(&column.field, array),
            })
            .collect::<Result<_, _>>()?;
        let column_count = u16::try_from(columns.len()).map_err(|_| SqlError::internal("too many columns"))?;
        Ok(BatchEncoder { columns: encoders, column_count, rows: batch.num_rows(), next_row: 0 })
    }

    /// True when every row has been written.
    pub(crate) fn is_finished(&self) -> bool {
        self.next_row == self.rows
    }

    /// Appends rows until the batch ends, `max_rows` are written or `out` holds `enough_bytes`; at least one of them
    /// unless there is nothing to write. Returns how many rows were written.
    pub(crate) fn append_rows(
        &mut self,
        out: &mut Vec<u8>,
        enough_bytes: usize,
        max_rows: u64,
    ) -> Result<u64, SqlError> {
        let first = self.next_row;
        let last = self.rows.min(first.saturating_add(usize::try_from(max_rows).unwrap_or(usize::MAX)));
        while self.next_row < last {
            self.append_row(out)?;
            if out.len() >= enough_bytes {
                break;
            }
        }
        Ok((self.next_row - first) as u64)
    }

    fn append_row(&mut self, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let start = out.len();
        out.extend_from_slice(b"D\0\0\0\0");
        out.extend_from_slice(&self.column_count.to_be_bytes());
        for column in self.columns.iter_mut() {
            append_value(column, self.next_row, out);
        }
        let length = out.len() - start - 1;
        if length > MAX_ROW_BYTES {
            out.truncate(start);
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "row is too long for a message")
                .with_detail(format!("The row takes {length} bytes, the limit is {MAX_ROW_BYTES} bytes.")));
        }
        out[start + 1..start + 5].copy_from_slice(&(length as u32).to_be_bytes());
        self.next_row += 1;
        Ok(())
    }
}

/// Appends a value with its length before it, or -1 for NULL.
#[inline]
fn append_value(column: &mut BoxedEncoder, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return;
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    column.write(row, out);
    // A length beyond 32 bits makes the row too long as well, which is found when its own length is patched.
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
