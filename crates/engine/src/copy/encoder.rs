//! Rows to bytes in the three formats.

use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use memchr::memchr;
use wharf_values::{SqlError, TextFormat, binary_out, text_out};

use super::binary::SIGNATURE;
use super::{CopyFormat, CopyOptions};

/// Encodes a COPY's data.
pub(crate) struct CopyEncoder {
    options: CopyOptions,
    names: Vec<String>,
    fields: Vec<FieldRef>,
    force_quote: Vec<bool>,
    format: TextFormat,
    value: Vec<u8>,
}

impl CopyEncoder {
    /// An encoder for columns of these names and fields.
    ///
    /// # Errors
    /// None yet; columns in the options that are not copied are passed over.
    pub(crate) fn new(
        options: &CopyOptions,
        columns: Vec<(String, FieldRef)>,
        format: &TextFormat,
    ) -> Result<CopyEncoder, SqlError> {
        let force_quote = columns.iter().map(|(name, _)| options.force_quote.contains(name)).collect();
        let (names, fields) = columns.into_iter().unzip();
        Ok(CopyEncoder {
            options: options.clone(),
            names,
            fields,
            force_quote,
            format: format.clone(),
            value: Vec::new(),
        })
    }

    /// What comes before the rows.
    pub(crate) fn header(&mut self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0; 8]);
        } else if self.options.header {
            let names = std::mem::take(&mut self.names);
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                self.put(name.as_bytes(), false, names.len() == 1, out);
            }
            out.push(b'\n');
            self.names = names;
        }
    }

    /// What comes after the rows.
    pub(crate) fn trailer(&mut self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(-1_i16).to_be_bytes());
        }
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// `0A000` for a type without a text or binary form.
    pub(crate) fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        if self.options.format == CopyFormat::Binary {
            return self.encode_binary(batch, out);
        }
        let mut encoders = self
            .fields
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| text_out::encoder(field, array, &self.format))
            .collect::<Result<Vec<_>, _>>()?;
        let single = encoders.len() == 1;
        let mut value = std::mem::take(&mut self.value);
        for row in 0..batch.num_rows() {
            for (column, encoder) in encoders.iter_mut().enumerate() {
                if column > 0 {
                    out.push(self.options.delimiter);
                }
                if encoder.is_null(row) {
                    out.extend_from_slice(self.options.null.as_bytes());
                    continue;
                }
                value.clear();
                encoder.write(row, &mut value);
                self.put(&value, self.force_quote[column], single, out);
            }
            out.push(b'\n');
        }
        self.value = value;
        Ok(())
    }

    fn encode_binary(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let mut encoders = self
            .fields
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| binary_out::encoder(field, array))
            .collect::<Result<Vec<_>, _>>()?;
        let count = i16::try_from(encoders.len()).unwrap_or(i16::MAX);
        for row in 0..batch.num_rows() {
            out.extend_from_slice(&count.to_be_bytes());
            for encoder in &mut encoders {
                if encoder.is_null(row) {
                    out.extend_from_slice(&(-1_i32).to_be_bytes());
                    continue;
                }
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                encoder.write(row, out);
                let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    /// One value, escaped or quoted as the format wants it.
    fn put(&self, value: &[u8], force_quote: bool, single: bool, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Csv {
            self.put_csv(value, force_quote, single, out);
        } else {
            self.put_text(value, out);
        }
    }

    fn put_text(&self, value: &[u8], out: &mut Vec<u8>) {
        let delimiter = self.options.delimiter;
        let plain = |byte: u8| byte >= b' ' && byte != b'\\' && byte != delimiter;
        let mut rest = value;
        while let Some(at) = rest.iter().position(|byte| !plain(*byte)) {
            out.extend_from_slice(&rest[..at]);
            match rest[at] {
                8 => out.extend_from_slice(b"\\b"),
                12 => out.extend_from_slice(b"\\f"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                11 => out.extend_from_slice(b"\\v"),
                byte if byte == b'\\' || byte == delimiter => out.extend_from_slice(&[b'\\', byte]),
                byte => out.push(byte),
            }
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }

    fn put_csv(&self, value: &[u8], force_quote: bool, single: bool, out: &mut Vec<u8>) {
        let CopyOptions { delimiter, quote, escape, null, .. } = &self.options;
        let special = |byte: &u8| *byte == *delimiter || *byte == *quote || matches!(byte, b'\n' | b'\r');
        let needed = force_quote
            || value == null.as_bytes()
            || (single && value == b"\\.")
            || value.iter().any(special);
        if !needed {
            out.extend_from_slice(value);
            return;
        }
        out.push(*quote);
        if memchr(*quote, value).is_none() && memchr(*escape, value).is_none() {
            out.extend_from_slice(value);
        } else {
            for byte in value {
                if byte == quote || byte == escape {
                    out.push(*escape);
                }
                out.push(*byte);
            }
        }
        out.push(*quote);
    }
}
