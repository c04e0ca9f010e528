//! How data files are encoded: for reading fast, not for being small.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Uncompressed,
    /// LZ4, the fastest to read.
    #[default]
    Lz4,
    /// Snappy.
    Snappy,
    /// Zstandard at its lightest level, for stores where bytes cost more than time.
    Zstd,
}

/// How data files are written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// A file is closed when it has about this many bytes.
    pub target_file_bytes: u64,
    /// A row group is closed when it has this many rows.
    pub row_group_rows: usize,
    /// A row group is closed when it has about this many bytes.
    pub row_group_bytes: usize,
    /// How pages are compressed.
    pub codec: Codec,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            target_file_bytes: 128 * 1024 * 1024,
            row_group_rows: 1024 * 1024,
            row_group_bytes: 128 * 1024 * 1024,
            codec: Codec::default(),
        }
    }
}

/// How many rows are looked at to decide whether a dictionary pays.
const SAMPLE_ROWS: usize = 16 * 1024;
/// A dictionary pays when values repeat at least this often in the sample.
const REPEATS: usize = 4;
/// Fewer rows than this are written plain: a dictionary page would cost more than it saves.
const MIN_DICTIONARY_ROWS: usize = 64;

/// The properties of the encoder for a file that begins with these rows.
pub(super) fn properties(options: &WriteOptions, schema: &SchemaRef, beginning: &[RecordBatch]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("wharf ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(options.codec))
        .set_write_batch_size(8 * 1024);
    for (index, field) in schema.fields().iter().enumerate() {
        if !dictionary_pays(index, field.data_type(), beginning) {
            let column = ColumnPath::from(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(column, false);
        }
    }
    properties.build()
}

fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::Uncompressed => Compression::UNCOMPRESSED,
        Codec::Lz4 => Compression::LZ4_RAW,
        Codec::Snappy => Compression::SNAPPY,
        Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).expect("level 1 exists")),
    }
}

/// Whether the values of a column repeat enough. A column that does not would fill the dictionary page and then be written
/// plain, which costs time twice and reads worse.
fn dictionary_pays(column: usize, data_type: &DataType, beginning: &[RecordBatch]) -> bool {
    let hasher = RandomState::new();
    let mut distinct = HashSet::new();
    let mut seen = 0;
    for batch in beginning {
        let rows = batch.num_rows().min(SAMPLE_ROWS - seen);
        let values = batch.column(column).slice(0, rows);
        if !hashes(&values, data_type, &hasher, &mut distinct) {
            return true;
        }
        seen += rows;
        if seen == SAMPLE_ROWS {
            break;
        }
    }
    seen >= MIN_DICTIONARY_ROWS && distinct.len() * REPEATS <= seen
}

/// Adds the hashes of the values; false when the type is not worth looking at (booleans have no dictionary, and elements of
/// lists are left to the encoder).
fn hashes(values: &ArrayRef, data_type: &DataType, hasher: &RandomState, distinct: &mut HashSet<u64>) -> bool {
    use arrow::datatypes as t;
    macro_rules! primitive {
        ($type:ty) => {
            distinct.extend(
                values.as_primitive::<$type>().values().iter().map(|value| hasher.hash_one(value.to_le_bytes())),
            )
        };
    }
    match data_type {
        DataType::Int32 => primitive!(t::Int32Type),
        DataType::Int64 => primitive!(t::Int64Type),
        DataType::Float32 => primitive!(t::Float32Type),
        DataType::Float64 => primitive!(t::Float64Type),
        DataType::Date32 => primitive!(t::Date32Type),
        DataType::Time64(_) => primitive!(t::Time64MicrosecondType),
        DataType::Timestamp(..) => primitive!(t::TimestampMicrosecondType),
        DataType::Decimal128(..) => primitive!(t::Decimal128Type),
        DataType::Utf8View => {
            let values = values.as_string_view().iter().flatten();
            distinct.extend(values.map(|value| hasher.hash_one(value)));
        }
        DataType::BinaryView => {
            let values = values.as_binary_view().iter().flatten();
            distinct.extend(values.map(|value| hasher.hash_one(value)));
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn dictionaries_are_for_values_that_repeat() {
        let batch = |rows: i64| {
            let unique = Int64Array::from_iter_values(0..rows);
            let repeated = StringViewArray::from_iter_values((0..rows).map(|i| format!("{}", i % 7)));
            let columns: [(&str, ArrayRef); 2] = [("u", Arc::new(unique)), ("r", Arc::new(repeated))];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let enabled = |batch: RecordBatch| {
            let properties = properties(&WriteOptions::default(), &batch.schema(), &[batch]);
            ["u", "r"].map(|name| properties.dictionary_enabled(&ColumnPath::from(name)))
        };
        assert_eq!(enabled(batch(1000)), [false, true]);
        assert_eq!(enabled(batch(100_000)), [false, true]);
        assert_eq!(enabled(batch(10)), [false, false]);
    }
}
