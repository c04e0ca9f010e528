//! What the optimizer may believe about a file and about a table, from the metrics in the manifests.
//!
//! `Exact` is a promise: DataFusion answers `count`, `min` and `max` from it and replaces constant columns by their value.
//! What always holds:
//! - Row counts and null counts are exact.
//! - Bounds are true bounds, and exact for types whose bounds are never shortened: integers, decimals, dates, times, booleans.
//! - Bounds of texts and bytes may be shortened, so they are never exact, but prune all the same.
//! - Bounds of floats leave out NaN, which PostgreSQL sorts above everything: without the certainty that there is no NaN
//!   there is no maximum. A bound that is zero is not exact, since it does not say which of the two zeros it is.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use iceberg::spec::{NestedField, PrimitiveLiteral, PrimitiveType, Schema, Type};

use crate::files::LakeFile;
use crate::manifest::Entry;

/// About how much larger a column of variable width is in memory than in the file.
const DECODED_FACTOR: u64 = 2;
/// Of how many files statistics are in memory while those of more are merged.
const MERGED_AT_ONCE: usize = 1024;
/// What a value of variable width takes besides its bytes.
const VIEW_BYTES: u64 = 16;

/// The statistics of a data file for the columns of the table.
pub(crate) fn file_statistics(file: &Entry, iceberg: &Schema, table: &SchemaRef) -> Statistics {
    let fields = iceberg.as_struct().fields().iter().zip(table.fields());
    let columns: Vec<_> = fields.map(|(stored, field)| column_statistics(file, stored, field)).collect();
    let sizes = columns.iter().map(|column| column.byte_size);
    let total_byte_size = sizes.fold(Precision::Inexact(0), |sum, size| sum.add(&size));
    Statistics {
        num_rows: Precision::Exact(to_usize(file.record_count())),
        total_byte_size,
        column_statistics: columns,
    }
}

/// The statistics of files together.
pub(crate) fn merged_statistics(files: &[Arc<LakeFile>], table: &SchemaRef) -> Statistics {
    if files.is_empty() {
        return Statistics::new_unknown(table).with_num_rows(Precision::Exact(0));
    }
    let mut merged: Option<Statistics> = None;
    for files in files.chunks(MERGED_AT_ONCE) {
        let statistics: Vec<_> = files.iter().map(|file| file.statistics()).collect();
        let items = merged.iter().chain(statistics.iter().map(Arc::as_ref));
        match Statistics::try_merge_iter(items, table) {
            Ok(sum) => merged = Some(sum),
            Err(_) => return Statistics::new_unknown(table),
        }
    }
    merged.unwrap_or_else(|| Statistics::new_unknown(table))
}

/// The statistics of one column of a data file.
pub(crate) fn column_statistics(file: &Entry, stored: &NestedField, field: &Field) -> ColumnStatistics {
    let statistics = ColumnStatistics::new_unknown().with_byte_size(byte_size(file, stored, field));
    // Metrics of a list are those of its elements, which say nothing about the column.
    let Type::Primitive(primitive) = &*stored.field_type else {
        return statistics;
    };
    let nulls = match file.null_value_count(stored.id) {
        Some(nulls) => Precision::Exact(to_usize(nulls)),
        None if stored.required && !field.is_nullable() => Precision::Exact(0),
        None => Precision::Absent,
    };
    let value = |bound: Option<iceberg::spec::Datum>| {
        bound.and_then(|bound| scalar(bound.literal(), primitive, field.data_type()))
    };
    let lower = value(file.lower_bound(stored.id));
    let upper = value(file.upper_bound(stored.id));
    let no_nan = file.nan_value_count(stored.id) == Some(0);
    statistics
        .with_null_count(nulls)
        .with_min_value(precision(lower, no_nan, false))
        .with_max_value(precision(upper, no_nan, true))
}

fn precision(bound: Option<ScalarValue>, no_nan: bool, is_upper: bool) -> Precision<ScalarValue> {
    let Some(bound) = bound else {
        return Precision::Absent;
    };
    let zero = match &bound {
        ScalarValue::Float32(Some(value)) => *value == 0.0,
        ScalarValue::Float64(Some(value)) => *value == 0.0,
        ScalarValue::Utf8View(_) | ScalarValue::BinaryView(_) => return Precision::Inexact(bound),
        _ => return Precision::Exact(bound),
    };
    match (no_nan, is_upper) {
        (true, _) if !zero => Precision::Exact(bound),
        (false, true) => Precision::Absent,
        _ => Precision::Inexact(bound),
    }
}

/// A bound as a value of the column's Arrow type; none when it does not fit, for instance because the type was changed.
pub(crate) fn scalar(literal: &PrimitiveLiteral, stored: &PrimitiveType, data_type: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    Some(match (literal, data_type) {
        (PrimitiveLiteral::Boolean(value), DataType::Boolean) => S::Boolean(Some(*value)),
        (PrimitiveLiteral::Int(value), DataType::Int16) => S::Int16(Some(i16::try_from(*value).ok()?)),
        (PrimitiveLiteral::Int(value), DataType::Int32) => S::Int32(Some(*value)),
        (PrimitiveLiteral::Int(value), DataType::Int64) => S::Int64(Some((*value).into())),
        (PrimitiveLiteral::Int(value), DataType::Date32) => S::Date32(Some(*value)),
        (PrimitiveLiteral::Long(value), DataType::Int64) => S::Int64(Some(*value)),
        (PrimitiveLiteral::Long(value), DataType::UInt32) => S::UInt32(Some(u32::try_from(*value).ok()?)),
        (PrimitiveLiteral::Long(value), DataType::Time64(TimeUnit::Microsecond)) => S::Time64Microsecond(Some(*value)),
        (PrimitiveLiteral::Long(value), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            S::TimestampMicrosecond(Some(*value), zone.clone())
        }
        (PrimitiveLiteral::Float(value), DataType::Float32) => S::Float32(Some(value.0)),
        (PrimitiveLiteral::Float(value), DataType::Float64) => S::Float64(Some(value.0.into())),
        (PrimitiveLiteral::Double(value), DataType::Float64) => S::Float64(Some(value.0)),
        (PrimitiveLiteral::String(value), DataType::Utf8View) => S::Utf8View(Some(value.clone())),
        (PrimitiveLiteral::Binary(value), DataType::BinaryView) => S::BinaryView(Some(value.clone())),
        (PrimitiveLiteral::Int128(value), DataType::Decimal128(precision, scale)) => {
            let PrimitiveType::Decimal { scale: stored, .. } = stored else { return None };
            if i64::from(*stored) != i64::from(*scale) {
                return None;
            }
            S::Decimal128(Some(*value), *precision, *scale)
        }
        _ => return None,
    })
}

/// About how much memory the column takes when it is read.
fn byte_size(file: &Entry, stored: &NestedField, field: &Field) -> Precision<usize> {
    let rows = file.record_count();
    let bytes = match field.data_type().primitive_width() {
        Some(width) => rows.saturating_mul(width as u64),
        None => {
            let encoded = file.column_size(stored.id).unwrap_or(rows);
            encoded.saturating_mul(DECODED_FACTOR).saturating_add(rows.saturating_mul(VIEW_BYTES))
        }
    };
    Precision::Inexact(to_usize(bytes))
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Datum};
    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::{manifest, schema};

    fn statistics_of(ty: SqlType, lower: Datum, upper: Datum, nans: Option<u64>) -> ColumnStatistics {
        let columns = [Column { name: "a".to_owned(), ty, nullable: true, field_id: 1, comment: None, default: None }];
        let (iceberg, _) = schema::iceberg_schema(&columns, 0, None, 0).unwrap();
        let table = schema::table_schema(&columns, &crate::Unproven::default());
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path("a".to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(10)
            .file_size_in_bytes(1)
            .null_value_counts(HashMap::from([(1, 2)]))
            .nan_value_counts(nans.map(|nans| (1, nans)).into_iter().collect())
            .lower_bounds(HashMap::from([(1, lower)]))
            .upper_bounds(HashMap::from([(1, upper)]))
            .build()
            .unwrap();
        let file = manifest::entry_of(iceberg.clone(), file);
        let statistics = file_statistics(&file, &iceberg, &table);
        assert_eq!(statistics.num_rows, Precision::Exact(10));
        assert_eq!(statistics.column_statistics[0].null_count, Precision::Exact(2));
        statistics.column_statistics[0].clone()
    }

    #[test]
    fn bounds_of_numbers_are_exact() {
        let statistics = statistics_of(SqlType::SmallInt, Datum::int(-3), Datum::int(5), None);
        assert_eq!(statistics.min_value, Precision::Exact(ScalarValue::Int16(Some(-3))));
        assert_eq!(statistics.max_value, Precision::Exact(ScalarValue::Int16(Some(5))));
        let statistics = statistics_of(SqlType::Date, Datum::date(-3), Datum::date(5), None);
        assert_eq!(statistics.max_value, Precision::Exact(ScalarValue::Date32(Some(5))));
    }

    #[test]
    fn bounds_of_texts_are_not() {
        let statistics = statistics_of(SqlType::Text, Datum::string("a"), Datum::string("b"), None);
        assert_eq!(statistics.max_value, Precision::Inexact(ScalarValue::Utf8View(Some("b".to_owned()))));
    }

    #[test]
    fn floats_with_nan_have_no_maximum() {
        let of = |nans| statistics_of(SqlType::Double, Datum::double(-1.0), Datum::double(2.0), nans);
        let float = |value| ScalarValue::Float64(Some(value));
        for nans in [None, Some(1)] {
            assert_eq!(of(nans).min_value, Precision::Inexact(float(-1.0)));
            assert_eq!(of(nans).max_value, Precision::Absent);
        }
        assert_eq!(of(Some(0)).min_value, Precision::Exact(float(-1.0)));
        assert_eq!(of(Some(0)).max_value, Precision::Exact(float(2.0)));
        let zeros = statistics_of(SqlType::Double, Datum::double(-0.0), Datum::double(0.0), Some(0));
        assert_eq!(zeros.max_value, Precision::Inexact(float(0.0)));
    }
}
