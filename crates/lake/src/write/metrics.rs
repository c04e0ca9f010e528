//! The metrics of a data file as Iceberg's manifests hold them, collected from the column chunks as they are encoded.
//!
//! What always holds: a lower bound is not above any value of the column in the file, an upper bound not below any, NaN left
//! out of both; texts and bytes are shortened as the table's metrics mode says, to [`BOUND_LENGTH`] where it says nothing, an
//! upper bound upwards. Where no such bound exists there is none. Columns inside lists have sizes only.

use std::cmp::Ordering;
use std::collections::HashMap;

use iceberg::spec::{DataFileBuilder, Datum, NestedFieldRef, PrimitiveType, Schema, Type};
use parquet::data_type::AsBytes;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use crate::error::LakeError;
use crate::properties::{self, MetricsMode};

/// How many characters of a text, or bytes of a binary value, a bound keeps.
const BOUND_LENGTH: usize = 16;

/// What the manifests of a table say of its columns.
pub(super) struct MetricsModes {
    by_id: HashMap<i32, MetricsMode>,
}

impl MetricsModes {
    /// As the properties say it.
    pub(super) fn new(table: &HashMap<String, String>, schema: &Schema) -> MetricsModes {
        let said = |name: &str| table.get(name).and_then(|text| properties::metrics_mode(text));
        let default = said(properties::METRICS_DEFAULT);
        let most = properties::number::<usize>(table, properties::METRICS_COLUMNS).unwrap_or(usize::MAX);
        let of = |(index, field): (usize, &NestedFieldRef)| {
            let own = said(&format!("{}{}", properties::METRICS_COLUMN, field.name));
            let otherwise = match default {
                None if index >= most => MetricsMode::None,
                None => MetricsMode::Truncate(BOUND_LENGTH),
                Some(default) => default,
            };
            (field.id, own.unwrap_or(otherwise))
        };
        MetricsModes { by_id: schema.as_struct().fields().iter().enumerate().map(of).collect() }
    }

    fn of(&self, field_id: i32) -> MetricsMode {
        self.by_id.get(&field_id).copied().unwrap_or(MetricsMode::Truncate(BOUND_LENGTH))
    }
}

/// The metrics of a file that is being written.
pub(super) struct FileMetrics {
    columns: Vec<ColumnMetrics>,
}

/// The metrics of one column; the types of tables here have one Parquet column each.
struct ColumnMetrics {
    field_id: i32,
    mode: MetricsMode,
    /// None for a list, whose elements have no bounds.
    primitive: Option<PrimitiveType>,
    size_bytes: u64,
    values: u64,
    nulls: u64,
    nans: u64,
    bounds: Bounds,
}

/// The bounds of the chunks so far.
enum Bounds {
    /// No chunk had a value that counts.
    Empty,
    Known(Bound, Bound),
    /// A chunk had values and no statistics.
    Unknown,
}

/// A bound as the encoder has it.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    Boolean(bool),
    /// Integers of all widths, dates, times, decimals.
    Integer(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl FileMetrics {
    pub(super) fn new(schema: &Schema, modes: &MetricsModes) -> FileMetrics {
        let fields = schema.as_struct().fields().iter();
        let columns = fields.map(|field| ColumnMetrics {
            field_id: field.id,
            mode: modes.of(field.id),
            primitive: match &*field.field_type {
                Type::Primitive(primitive) => Some(primitive.clone()),
                _ => None,
            },
            size_bytes: 0,
            values: 0,
            nulls: 0,
            nans: 0,
            bounds: Bounds::Empty,
        });
        FileMetrics { columns: columns.collect() }
    }

    /// Takes a column chunk in, in which there are this many NaN.
    pub(super) fn add(&mut self, column: usize, chunk: &ColumnChunkMetaData, nans: u64) {
        let metrics = &mut self.columns[column];
        metrics.size_bytes += chunk.compressed_size().max(0) as u64;
        let values = chunk.num_values().max(0) as u64;
        let nulls = chunk.statistics().and_then(|statistics| statistics.null_count_opt()).unwrap_or(0);
        metrics.values += values;
        metrics.nulls += nulls;
        metrics.nans += nans;
        if values == nulls + nans {
            return;
        }
        let bounds = std::mem::replace(&mut metrics.bounds, Bounds::Unknown);
        metrics.bounds = match (bounds, chunk.statistics().and_then(bounds_of)) {
            (Bounds::Empty, Some((lower, upper))) => Bounds::Known(lower, upper),
            (Bounds::Known(lower, upper), Some((other_lower, other_upper))) => {
                Bounds::Known(pick(lower, other_lower, Ordering::Less), pick(upper, other_upper, Ordering::Greater))
            }
            _ => Bounds::Unknown,
        };
    }

    /// Writes the metrics into a manifest entry.
    pub(super) fn describe(self, location: &str, file: &mut DataFileBuilder) -> Result<(), LakeError> {
        let mut sizes = HashMap::new();
        let (mut values, mut nulls, mut nans) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (mut lower_bounds, mut upper_bounds) = (HashMap::new(), HashMap::new());
        for column in self.columns {
            let id = column.field_id;
            let length = match column.mode {
                MetricsMode::None => continue,
                MetricsMode::Counts => None,
                MetricsMode::Truncate(length) => Some(length),
                MetricsMode::Full => Some(usize::MAX),
            };
            sizes.insert(id, column.size_bytes);
            let Some(primitive) = column.primitive else { continue };
            values.insert(id, column.values);
            nulls.insert(id, column.nulls);
            if let PrimitiveType::Float | PrimitiveType::Double = primitive {
                nans.insert(id, column.nans);
            }
            let (Bounds::Known(lower, upper), Some(length)) = (column.bounds, length) else { continue };
            let datum = |bound: Bound| {
                let bytes = serialized(&bound, &primitive);
                Datum::try_from_bytes(&bytes, primitive.clone()).map_err(|error| LakeError::metadata(location, error))
            };
            lower_bounds.insert(id, datum(shortened_down(lower, &primitive, length))?);
            if let Some(upper) = shortened_up(upper, &primitive, length) {
                upper_bounds.insert(id, datum(upper)?);
            }
        }
        file.column_sizes(sizes)
            .value_counts(values)
            .null_value_counts(nulls)
            .nan_value_counts(nans)
            .lower_bounds(lower_bounds)
            .upper_bounds(upper_bounds);
        Ok(())
    }
}

/// The one that is less, or greater.
fn pick(a: Bound, b: Bound, wanted: Ordering) -> Bound {
    if b.partial_cmp(&a) == Some(wanted) { b } else { a }
}

/// The bounds of a chunk.
fn bounds_of(statistics: &Statistics) -> Option<(Bound, Bound)> {
    macro_rules! both {
        ($values:expr, $bound:expr) => {
            Some(($bound($values.min_opt()?), $bound($values.max_opt()?)))
        };
    }
    match statistics {
        Statistics::Boolean(values) => both!(values, |v: &bool| Bound::Boolean(*v)),
        Statistics::Int32(values) => both!(values, |v: &i32| Bound::Integer((*v).into())),
        Statistics::Int64(values) => both!(values, |v: &i64| Bound::Integer((*v).into())),
        Statistics::Float(values) => both!(values, |v: &f32| Bound::Float((*v).into())),
        Statistics::Double(values) => both!(values, |v: &f64| Bound::Float(*v)),
        Statistics::ByteArray(values) => {
            both!(values, |v: &parquet::data_type::ByteArray| Bound::Bytes(v.as_bytes().to_vec()))
        }
        Statistics::FixedLenByteArray(values) => {
            both!(values, |v: &parquet::data_type::FixedLenByteArray| Bound::Integer(signed(v.as_bytes())))
        }
        Statistics::Int96(_) => None,
    }
}

/// A big-endian number in two's complement: how Parquet stores decimals of more than 18 digits.
fn signed(bytes: &[u8]) -> i128 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes.iter().fold(start, |value: i128, byte| (value << 8) | i128::from(*byte))
}

/// Iceberg's binary form of a single value: <https://iceberg.apache.org/spec/#binary-single-value-serialization>.
fn serialized(bound: &Bound, primitive: &PrimitiveType) -> Vec<u8> {
    match (bound, primitive) {
        (Bound::Boolean(value), _) => vec![u8::from(*value)],
        (Bound::Integer(value), PrimitiveType::Decimal { .. }) => value.to_be_bytes().to_vec(),
        (Bound::Integer(value), PrimitiveType::Int | PrimitiveType::Date) => (*value as i32).to_le_bytes().to_vec(),
        (Bound::Integer(value), _) => (*value as i64).to_le_bytes().to_vec(),
        (Bound::Float(value), PrimitiveType::Float) => (*value as f32).to_le_bytes().to_vec(),
        (Bound::Float(value), _) => value.to_le_bytes().to_vec(),
        (Bound::Bytes(value), _) => value.clone(),
    }
}

fn shortened_down(bound: Bound, primitive: &PrimitiveType, length: usize) -> Bound {
    let Bound::Bytes(mut bytes) = bound else { return bound };
    bytes.truncate(kept(&bytes, primitive, length));
    Bound::Bytes(bytes)
}

/// The shortest-enough value that is not below the bound; none when there is no such value.
fn shortened_up(bound: Bound, primitive: &PrimitiveType, length: usize) -> Option<Bound> {
    let Bound::Bytes(bytes) = bound else { return Some(bound) };
    let kept = kept(&bytes, primitive, length);
    if kept == bytes.len() {
        return Some(Bound::Bytes(bytes));
    }
    let prefix = &bytes[..kept];
    let greater = match primitive {
        PrimitiveType::String => next_text(std::str::from_utf8(prefix).ok()?)?.into_bytes(),
        _ => next_bytes(prefix)?,
    };
    Some(Bound::Bytes(greater))
}

/// How many bytes of a value a bound keeps.
fn kept(bytes: &[u8], primitive: &PrimitiveType, length: usize) -> usize {
    match primitive {
        PrimitiveType::String => {
            let text = String::from_utf8_lossy(bytes);
            let end = text.char_indices().nth(length).map(|(index, _)| index);
            end.unwrap_or(bytes.len())
        }
        _ => bytes.len().min(length),
    }
}

/// A text above every text with this prefix.
pub(crate) fn next_text(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Bytes above everything with this prefix.
pub(crate) fn next_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bytes = prefix[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(text: &str) -> Bound {
        Bound::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn texts_are_shortened_by_characters() {
        let string = PrimitiveType::String;
        let short = "sixteen chars ok";
        assert_eq!(shortened_down(text(short), &string, BOUND_LENGTH), text(short));
        assert_eq!(shortened_up(text(short), &string, BOUND_LENGTH), Some(text(short)));
        let long = "äöüäöüäöüäöüäöü!!";
        assert_eq!(shortened_down(text(long), &string, BOUND_LENGTH), text("äöüäöüäöüäöüäöü!"));
        assert_eq!(shortened_up(text(long), &string, BOUND_LENGTH), Some(text("äöüäöüäöüäöüäöü\"")));
        let skip = format!("{}\u{D7FF}x", "a".repeat(15));
        let skipped = format!("{}\u{E000}", "a".repeat(15));
        assert_eq!(shortened_up(text(&skip), &string, BOUND_LENGTH), Some(text(&skipped)));
        let top = format!("a{}", "\u{10FFFF}".repeat(20));
        assert_eq!(shortened_up(text(&top), &string, BOUND_LENGTH), Some(text("b")));
        assert_eq!(shortened_up(text(&"\u{10FFFF}".repeat(20)), &string, BOUND_LENGTH), None);
    }

    #[test]
    fn bytes_are_shortened_too() {
        let binary = PrimitiveType::Binary;
        let long = Bound::Bytes(vec![7; 20]);
        assert_eq!(shortened_down(long.clone(), &binary, BOUND_LENGTH), Bound::Bytes(vec![7; 16]));
        let mut above = vec![7; 16];
        above[15] = 8;
        assert_eq!(shortened_up(long, &binary, BOUND_LENGTH), Some(Bound::Bytes(above)));
        assert_eq!(shortened_up(Bound::Bytes(vec![255; 20]), &binary, BOUND_LENGTH), None);
        let mut mixed = vec![1];
        mixed.extend(vec![255; 19]);
        assert_eq!(shortened_up(Bound::Bytes(mixed), &binary, BOUND_LENGTH), Some(Bound::Bytes(vec![2])));
    }

    #[test]
    fn decimals_of_any_width_are_signed() {
        assert_eq!(signed(&[0xff, 0xfe]), -2);
        assert_eq!(signed(&[0x7f, 0x00]), 0x7f00);
        assert_eq!(signed(&i128::MIN.to_be_bytes()), i128::MIN);
        let decimal = PrimitiveType::Decimal { precision: 38, scale: 2 };
        let bytes = serialized(&Bound::Integer(-5), &decimal);
        let datum = Datum::try_from_bytes(&bytes, decimal).unwrap();
        assert_eq!(datum.literal(), &iceberg::spec::PrimitiveLiteral::Int128(-5));
    }
}
