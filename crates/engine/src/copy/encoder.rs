//! From batches to COPY's bytes.
//!
//! What always holds: the bytes are those PostgreSQL sends, lines end in a newline. No memory is taken per value: a value
//! is written where it belongs, and only one that needs escapes is written again.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, FieldRef};
use wharf_values::{BinaryEncoder, SqlError, TextEncoder, TextFormat, binary_out, text_out};

use super::binary::SIGNATURE;
use super::options::{CopyFormat, CopyOptions, Header};
use crate::functions::json::RowWriter;

/// Encodes the rows of one COPY TO.
pub(crate) struct CopyEncoder {
    options: CopyOptions,
    columns: Vec<(String, FieldRef)>,
    format: TextFormat,
    force_quote: Vec<bool>,
    /// The bytes that make a value need escapes (text) or quotes (CSV).
    special: [bool; 256],
    scratch: Vec<u8>,
}

impl CopyEncoder {
    /// An encoder for columns given by name and field.
    ///
    /// # Errors
    /// `42P10` for a column of an option that is not copied.
    pub(crate) fn new(
        options: &CopyOptions,
        columns: Vec<(String, FieldRef)>,
        format: &TextFormat,
    ) -> Result<CopyEncoder, SqlError> {
        if options.format == CopyFormat::Parquet {
            return Err(SqlError::unsupported("COPY format \"parquet\" is for files alone")
                .with_hint("Name a file: COPY table TO 'file.parquet'."));
        }
        let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let force_quote = CopyOptions::places(&options.force_quote, &names, "FORCE_QUOTE")?;
        let mut special = [false; 256];
        let bytes: &[u8] = match options.format {
            CopyFormat::Text => b"\\\x08\x0c\n\r\t\x0b",
            CopyFormat::Csv => b"\n\r",
            CopyFormat::Binary | CopyFormat::Json | CopyFormat::Parquet => b"",
        };
        for byte in bytes {
            special[usize::from(*byte)] = true;
        }
        special[usize::from(options.delimiter)] = true;
        if options.format == CopyFormat::Csv {
            special[usize::from(options.quote)] = true;
        }
        Ok(CopyEncoder {
            options: options.clone(),
            columns,
            format: format.clone(),
            force_quote,
            special,
            scratch: Vec::new(),
        })
    }

    /// What comes before the rows: column names where they are asked for, the binary format's signature.
    pub(crate) fn header(&mut self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(SIGNATURE);
            // No flags, no extension.
            out.extend_from_slice(&[0; 8]);
            return;
        }
        if self.options.header == Header::None {
            return;
        }
        let columns = std::mem::take(&mut self.columns);
        for (index, (name, _)) in columns.iter().enumerate() {
            if index > 0 {
                out.push(self.options.delimiter);
            }
            let start = out.len();
            out.extend_from_slice(name.as_bytes());
            self.finish_value(start, false, columns.len() == 1, out);
        }
        out.push(b'\n');
        self.columns = columns;
    }

    /// Appends the rows of a batch.
    ///
    /// # Errors
    /// `0A000` for a type that has no text.
    pub(crate) fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        match self.options.format {
            CopyFormat::Binary => self.encode_binary(batch, out),
            CopyFormat::Json => self.encode_json(batch, out),
            _ => self.encode_lines(batch, out),
        }
    }

    /// What comes after the rows.
    pub(crate) fn trailer(&mut self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(-1_i16).to_be_bytes());
        }
    }

    /// The fields of a batch, with the metadata that says the SQL types.
    fn fields(&self, batch: &RecordBatch) -> Vec<Field> {
        self.columns
            .iter()
            .zip(batch.columns())
            .map(|((name, field), array)| {
                Field::new(name, array.data_type().clone(), true).with_metadata(field.metadata().clone())
            })
            .collect()
    }

    fn encode_lines(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let fields = self.fields(batch);
        let mut encoders = fields
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| text_out::encoder(field, array, &self.format))
            .collect::<Result<Vec<Box<dyn TextEncoder + Send>>, _>>()?;
        let single = encoders.len() == 1;
        for row in 0..batch.num_rows() {
            for (index, encoder) in encoders.iter_mut().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                if encoder.is_null(row) {
                    out.extend_from_slice(self.options.null.as_bytes());
                    continue;
                }
                let start = out.len();
                encoder.write(row, out);
                self.finish_value(start, self.force_quote[index], single, out);
            }
            out.push(b'\n');
        }
        Ok(())
    }

    /// Escapes or quotes a value that has been written from `start` on, if it needs that.
    #[inline]
    fn finish_value(&mut self, start: usize, force: bool, single: bool, out: &mut Vec<u8>) {
        let value = &out[start..];
        let special = value.iter().any(|byte| self.special[usize::from(*byte)]);
        match self.options.format {
            CopyFormat::Text if special => self.escape(start, out),
            CopyFormat::Csv => {
                // What would read as a null, or as the end of the data, is quoted too.
                let ambiguous = value == self.options.null.as_bytes() || (single && value == b"\\.");
                if special || force || ambiguous {
                    self.quote(start, out);
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn escape(&mut self, start: usize, out: &mut Vec<u8>) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&out[start..]);
        out.truncate(start);
        for byte in &self.scratch {
            let letter = match byte {
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                byte if self.special[usize::from(*byte)] => *byte,
                byte => {
                    out.push(*byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }

    fn quote(&mut self, start: usize, out: &mut Vec<u8>) {
        let (quote, escape) = (self.options.quote, self.options.escape);
        self.scratch.clear();
        self.scratch.extend_from_slice(&out[start..]);
        out.truncate(start);
        out.push(quote);
        for byte in &self.scratch {
            if *byte == quote || *byte == escape {
                out.push(escape);
            }
            out.push(*byte);
        }
        out.push(quote);
    }

    fn encode_json(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let mut writer = RowWriter::new(&self.fields(batch), batch.columns(), &self.format)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            writer.write(row, &mut text)?;
            // A document kept as it was written may have ends of line between its parts; its strings have none.
            out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            out.push(b'\n');
        }
        Ok(())
    }

    fn encode_binary(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let fields = self.fields(batch);
        let mut encoders = fields
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| binary_out::encoder(field, array))
            .collect::<Result<Vec<Box<dyn BinaryEncoder + Send>>, _>>()?;
        let count = i16::try_from(encoders.len())
            .map_err(|_| SqlError::internal("a row has more columns than the binary format can say"))?;
        for row in 0..batch.num_rows() {
            out.extend_from_slice(&count.to_be_bytes());
            for encoder in &mut encoders {
                if encoder.is_null(row) {
                    out.extend_from_slice(&(-1_i32).to_be_bytes());
                    continue;
                }
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                encoder.write(row, out);
                let length = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }
}
