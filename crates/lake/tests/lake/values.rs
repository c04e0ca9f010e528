//! Columns of every type and rows for them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use wharf_catalog::{Column, SqlType};

/// Every scalar type a column can have.
fn scalars() -> Vec<SqlType> {
    vec![
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Real,
        SqlType::Double,
        SqlType::Numeric(None),
        SqlType::Numeric(Some((5, 2))),
        SqlType::Numeric(Some((15, 2))),
        SqlType::Numeric(Some((30, 10))),
        SqlType::Numeric(Some((38, 38))),
        SqlType::Text,
        SqlType::Varchar(Some(20)),
        SqlType::Char(7),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
        SqlType::Uuid,
        SqlType::Json,
        SqlType::Jsonb,
        SqlType::Oid,
        SqlType::Name,
    ]
}

/// A column of every type, and of the array of every type.
pub(crate) fn columns() -> Vec<Column> {
    let arrays = scalars().into_iter().map(|ty| SqlType::Array(Box::new(ty)));
    let types = scalars().into_iter().chain(arrays).enumerate();
    types
        .map(|(index, ty)| Column {
            name: format!("c{index} {ty}"),
            nullable: index % 7 != 3,
            ty,
            field_id: index as i32 + 1,
            comment: (index == 1).then(|| "two bytes".to_owned()),
            default: (index == 2).then(|| "42".to_owned()),
        })
        .collect()
}

/// Rows for columns: the least and the greatest value, ordinary ones, and NULL where it may be.
pub(crate) fn rows(columns: &[Column]) -> RecordBatch {
    let fields = columns.iter().map(|c| wharf_values::field(&c.name, &c.ty, c.nullable));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = schema.fields().iter().map(|field| {
        let values = values(field.data_type());
        if field.is_nullable() { with_null(&values) } else { values }
    });
    RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap()
}

/// The array with its second value made NULL.
fn with_null(values: &ArrayRef) -> ArrayRef {
    let valid: Vec<bool> = (0..values.len()).map(|row| row != 1).collect();
    let data = values.to_data().into_builder().nulls(Some(NullBuffer::from(valid)));
    arrow::array::make_array(data.build().unwrap())
}

/// Four values of a type.
fn values(data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![false, true, true, false])),
        DataType::Int16 => Arc::new(Int16Array::from(vec![i16::MIN, 0, 7, i16::MAX])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![i32::MIN, 0, 7, i32::MAX])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![i64::MIN, 0, 7, i64::MAX])),
        DataType::UInt32 => Arc::new(UInt32Array::from(vec![0, 1, 7, u32::MAX])),
        DataType::Float32 => Arc::new(Float32Array::from(vec![f32::NEG_INFINITY, -0.0, 1.5, f32::NAN])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![f64::MIN, 0.0, 1e300, f64::INFINITY])),
        DataType::Decimal128(precision, scale) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let values = Decimal128Array::from(vec![-most, 0, 5, most]);
            Arc::new(values.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Utf8View => Arc::new(StringViewArray::from(vec![
            "",
            "short",
            "äöü: a text that is longer than any bound and any view",
            "{\"a\": [1, null]}",
        ])),
        DataType::BinaryView => {
            let long = [255_u8; 40];
            Arc::new(BinaryViewArray::from(vec![&b""[..], &b"\x00\x01"[..], &long[..], &b"abc"[..]]))
        }
        DataType::Date32 => Arc::new(Date32Array::from(vec![-719_162, 0, 20_000, 2_932_896])),
        DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from(vec![0, 1, 3_600_000_000, 86_399_999_999])),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let values = vec![-62_135_596_800_000_000, 0, 1_700_000_000_123_456, 253_402_300_799_999_999];
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => list(item),
        other => panic!("no values of {other}"),
    }
}

/// Four lists: all values, none, one NULL, the values twice.
fn list(item: &Arc<Field>) -> ArrayRef {
    let four = values(item.data_type());
    let some = with_null(&four);
    let elements = arrow::compute::concat(&[&four, &some.slice(1, 1), &some, &four]).unwrap();
    let offsets = OffsetBuffer::from_lengths([4, 0, 1, 8]);
    Arc::new(ListArray::new(Arc::clone(item), offsets, elements, None))
}
