//! How data files are encoded: for reading fast, not for being small.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::runtime_env::RuntimeEnv;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::partition::SortTerm;
use crate::properties;

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
    /// Zstandard, for stores where bytes cost more than time.
    Zstd,
    /// Gzip.
    Gzip,
    /// Brotli.
    Brotli,
}

impl Codec {
    /// The codec of Iceberg's name.
    fn from_name(name: &str) -> Option<Codec> {
        Some(match name.to_ascii_lowercase().as_str() {
            "uncompressed" | "none" => Codec::Uncompressed,
            "lz4" | "lz4_raw" => Codec::Lz4,
            "snappy" => Codec::Snappy,
            "zstd" => Codec::Zstd,
            "gzip" => Codec::Gzip,
            "brotli" => Codec::Brotli,
            _ => return None,
        })
    }
}

/// How large a data file becomes when nobody says it.
pub(super) const TARGET_FILE_BYTES: u64 = 128 * 1024 * 1024;

/// How large the data files of a table with these properties become.
pub(crate) fn target_file_bytes(table: &HashMap<String, String>) -> u64 {
    let bytes = properties::number::<u64>(table, properties::TARGET_FILE_BYTES);
    bytes.filter(|bytes| *bytes > 0).unwrap_or(TARGET_FILE_BYTES)
}

/// How data files are written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// A file is closed when it has about this many bytes; none: as the properties of the table say, else 128 MiB.
    pub target_file_bytes: Option<u64>,
    /// The order of the rows; empty: that of the table.
    pub order: Vec<SortTerm>,
    /// A row group is closed when it has this many rows.
    pub row_group_rows: usize,
    /// A row group is closed when it has about this many bytes.
    pub row_group_bytes: usize,
    /// How pages are compressed.
    pub codec: Codec,
    /// How strongly, where the codec has levels; none: as its makers think best for speed.
    pub level: Option<i32>,
    /// A page is closed when it has about this many bytes; none: as the encoder thinks best.
    pub page_bytes: Option<usize>,
    /// A page is closed when it has this many rows; none: as the encoder thinks best.
    pub page_rows: Option<usize>,
    /// A dictionary does not grow past this; none: as the encoder thinks best.
    pub dictionary_bytes: Option<usize>,
    /// The columns with bloom filters, and how often each may be wrong.
    pub bloom_filters: Vec<(String, Option<f64>)>,
    /// A bloom filter does not grow past this.
    pub bloom_bytes: usize,
    /// Rows are brought together by partition before they are written, for fewer files of one write.
    pub clustered: bool,
    /// How many partitions are written to at the same time.
    pub open_partitions: usize,
    /// About how much memory the files in work of one writer take together when they are of several partitions.
    pub open_bytes: usize,
    /// Where sorting takes its memory from and spills to; none: from nobody.
    pub runtime: Option<Arc<RuntimeEnv>>,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            target_file_bytes: None,
            order: Vec::new(),
            row_group_rows: 1024 * 1024,
            row_group_bytes: 128 * 1024 * 1024,
            codec: Codec::default(),
            level: None,
            page_bytes: None,
            page_rows: None,
            dictionary_bytes: None,
            bloom_filters: Vec::new(),
            bloom_bytes: 1024 * 1024,
            clustered: false,
            open_partitions: 1000,
            open_bytes: 256 * 1024 * 1024,
            runtime: None,
        }
    }
}

impl WriteOptions {
    /// The options for a table with these properties.
    pub(super) fn for_table(mut self, table: &HashMap<String, String>) -> WriteOptions {
        let number = |name| properties::number::<usize>(table, name).filter(|number| *number > 0);
        self.target_file_bytes = Some(self.target_file_bytes.unwrap_or_else(|| target_file_bytes(table)));
        if let Some(bytes) = number(properties::ROW_GROUP_BYTES) {
            self.row_group_bytes = bytes;
        }
        self.page_bytes = number(properties::PAGE_BYTES).or(self.page_bytes);
        self.page_rows = number(properties::PAGE_ROWS).or(self.page_rows);
        self.dictionary_bytes = number(properties::DICTIONARY_BYTES).or(self.dictionary_bytes);
        if let Some(codec) = table.get(properties::CODEC).and_then(|name| Codec::from_name(name)) {
            self.codec = codec;
        }
        self.level = properties::number(table, properties::CODEC_LEVEL).or(self.level);
        let mode = table.get(properties::DISTRIBUTION_MODE).map(|mode| mode.to_ascii_lowercase());
        self.clustered |= mode.is_some_and(|mode| mode == "hash" || mode == "range");
        if let Some(bytes) = number(properties::BLOOM_BYTES) {
            self.bloom_bytes = bytes;
        }
        let columns = table.keys().filter_map(|name| name.strip_prefix(properties::BLOOM_COLUMN));
        let columns =
            columns.filter(|column| properties::flag(table, &format!("{}{column}", properties::BLOOM_COLUMN), false));
        self.bloom_filters.extend(columns.map(|column| {
            let wrong = properties::number(table, &format!("{}{column}", properties::BLOOM_FPP_COLUMN));
            (column.to_owned(), wrong.filter(|wrong: &f64| *wrong > 0.0 && *wrong < 1.0))
        }));
        self
    }
}

/// How often a bloom filter is wrong when no property says it: Iceberg's own choice.
const BLOOM_FPP: f64 = 0.01;

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
        .set_compression(compression(options.codec, options.level))
        .set_write_batch_size(8 * 1024);
    if let Some(bytes) = options.page_bytes {
        properties = properties.set_data_page_size_limit(bytes);
    }
    if let Some(rows) = options.page_rows {
        properties = properties.set_data_page_row_count_limit(rows);
    }
    if let Some(bytes) = options.dictionary_bytes {
        properties = properties.set_dictionary_page_size_limit(bytes);
    }
    for (column, wrong) in &options.bloom_filters {
        // Lists have no column of their own name, and booleans no bloom filter.
        let field = schema.field_with_name(column);
        if field.is_ok_and(|field| !field.data_type().is_nested() && *field.data_type() != DataType::Boolean) {
            let wrong = wrong.unwrap_or(BLOOM_FPP);
            properties = properties
                .set_column_bloom_filter_enabled(ColumnPath::from(vec![column.clone()]), true)
                .set_column_bloom_filter_fpp(ColumnPath::from(vec![column.clone()]), wrong)
                .set_column_bloom_filter_max_ndv(
                    ColumnPath::from(vec![column.clone()]),
                    most_distinct(options.bloom_bytes, wrong).min(options.row_group_rows as u64).max(1),
                );
        }
    }
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

/// How many distinct values a bloom filter of this size holds: a split-block filter, eight bits for each value.
fn most_distinct(bytes: usize, wrong: f64) -> u64 {
    let bits = bytes as f64 * 8.0;
    (-bits * (1.0 - wrong.powf(0.125)).ln() / 8.0) as u64
}

/// A level that the codec does not have is brought to the next that it has.
fn compression(codec: Codec, level: Option<i32>) -> Compression {
    match codec {
        Codec::Uncompressed => Compression::UNCOMPRESSED,
        Codec::Lz4 => Compression::LZ4_RAW,
        Codec::Snappy => Compression::SNAPPY,
        Codec::Zstd => {
            let level = level.unwrap_or(1).clamp(1, 22);
            Compression::ZSTD(ZstdLevel::try_new(level).expect("levels 1 to 22 exist"))
        }
        Codec::Gzip => {
            let level = level.unwrap_or(6).clamp(0, 9) as u32;
            Compression::GZIP(GzipLevel::try_new(level).expect("levels 0 to 9 exist"))
        }
        Codec::Brotli => {
            let level = level.unwrap_or(1).clamp(0, 11) as u32;
            Compression::BROTLI(BrotliLevel::try_new(level).expect("levels 0 to 11 exist"))
        }
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
