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
    /// LZ4, the fastest to read, and only for columns of texts and bytes that hardly repeat: of a dictionary's indices and
    /// of numbers it saves next to nothing, and reading them takes the time all the same.
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
/// A dictionary is small, so that it will do for the whole row group, when values repeat at least this often in the sample.
const MANY_REPEATS: usize = 8;
/// Fewer rows than this are written plain: a dictionary page would cost more than it saves.
const MIN_DICTIONARY_ROWS: usize = 64;

/// The properties of the encoder for a file that begins with these rows.
pub(super) fn properties(options: &WriteOptions, schema: &SchemaRef, beginning: &[RecordBatch]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("wharf ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(options.codec))
        .set_write_batch_size(8 * 1024);
    for (index, field) in schema.fields().iter().enumerate() {
        let data_type = field.data_type();
        let repetition = repetition(index, data_type, beginning);
        let column = ColumnPath::from(vec![field.name().clone()]);
        if repetition == Repetition::Rare {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        let fixed_width = data_type.primitive_width().is_some() || *data_type == DataType::Boolean;
        if options.codec == Codec::Lz4 && (fixed_width || repetition == Repetition::Constant) {
            properties = properties.set_column_compression(column, Compression::UNCOMPRESSED);
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

/// How often the values of a column come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repetition {
    /// Too seldom for a dictionary: its page would fill and the rest be written plain, which costs time twice and reads worse.
    Rare,
    /// Often enough for a dictionary to pay, or not looked at.
    Frequent,
    /// All the time: a few values make up the column.
    Constant,
}

/// Looks at the first values of a column.
fn repetition(column: usize, data_type: &DataType, beginning: &[RecordBatch]) -> Repetition {
    let hasher = RandomState::new();
    let mut distinct = HashSet::new();
    let mut seen = 0;
    for batch in beginning {
        let rows = batch.num_rows().min(SAMPLE_ROWS - seen);
        let values = batch.column(column).slice(0, rows);
        if !hashes(&values, data_type, &hasher, &mut distinct) {
            return Repetition::Frequent;
        }
        seen += rows;
        if seen == SAMPLE_ROWS {
            break;
        }
    }
    match distinct.len() {
        _ if seen < MIN_DICTIONARY_ROWS => Repetition::Rare,
        distinct if distinct * MANY_REPEATS <= seen => Repetition::Constant,
        distinct if distinct * REPEATS <= seen => Repetition::Frequent,
        _ => Repetition::Rare,
    }
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

    #[test]
    fn only_texts_that_hardly_repeat_are_compressed() {
        let numbers = Int64Array::from_iter_values(0..1000);
        let repeated = StringViewArray::from_iter_values((0..1000).map(|i| format!("{}", i % 7)));
        let unique = StringViewArray::from_iter_values((0..1000).map(|i| format!("{i}")));
        let columns: [(&str, ArrayRef); 3] =
            [("n", Arc::new(numbers)), ("r", Arc::new(repeated)), ("u", Arc::new(unique))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let compression = |codec| {
            let options = WriteOptions { codec, ..WriteOptions::default() };
            let properties = properties(&options, &batch.schema(), std::slice::from_ref(&batch));
            ["n", "r", "u"].map(|name| properties.compression(&ColumnPath::from(name)) != Compression::UNCOMPRESSED)
        };
        assert_eq!(compression(Codec::Lz4), [false, false, true]);
        assert_eq!(compression(Codec::Snappy), [true, true, true]);
    }
}
