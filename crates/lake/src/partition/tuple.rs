//! Partition tuples: values of arrays as Iceberg's literals, and the folder of a partition.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use iceberg::spec::{Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform};

use super::transform::{date, year_and_month};

/// A value of an array of storage as a literal.
pub(crate) fn literal(array: &ArrayRef, row: usize) -> Option<Literal> {
    use PrimitiveLiteral as P;
    if array.is_null(row) {
        return None;
    }
    let primitive = match array.data_type() {
        DataType::Boolean => P::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => P::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => P::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Date32 => P::Int(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(_) => P::Long(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(..) => P::Long(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Decimal128(..) => P::Int128(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Float32 => P::Float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => P::Double(array.as_primitive::<Float64Type>().value(row).into()),
        DataType::Utf8View => P::String(array.as_string_view().value(row).to_owned()),
        DataType::BinaryView => P::Binary(array.as_binary_view().value(row).to_vec()),
        // Nothing else is stored in a column that can be partitioned by.
        _ => return None,
    };
    Some(Literal::Primitive(primitive))
}

/// Whether an array of a manifest can hold the values of a partition field of some type.
pub(crate) fn holds(array: &DataType, ty: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match array {
        DataType::Null => true,
        DataType::Boolean => *ty == P::Boolean,
        DataType::Int32 => matches!(ty, P::Int | P::Date | P::Long),
        DataType::Date32 => *ty == P::Date,
        DataType::Int64 => {
            matches!(ty, P::Long | P::Time | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs)
        }
        DataType::Time64(TimeUnit::Microsecond) => *ty == P::Time,
        DataType::Timestamp(TimeUnit::Microsecond, _) => matches!(ty, P::Timestamp | P::Timestamptz),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => matches!(ty, P::TimestampNs | P::TimestamptzNs),
        DataType::Float32 => matches!(ty, P::Float | P::Double),
        DataType::Float64 => *ty == P::Double,
        DataType::Utf8 => *ty == P::String,
        DataType::Binary => matches!(ty, P::Binary | P::Fixed(_)),
        DataType::FixedSizeBinary(16) => matches!(ty, P::Uuid | P::Fixed(_) | P::Binary),
        DataType::FixedSizeBinary(_) => matches!(ty, P::Fixed(_) | P::Binary),
        DataType::Decimal128(_, scale) => {
            matches!(ty, P::Decimal { scale: stored, .. } if i64::from(*stored) == i64::from(*scale))
        }
        _ => false,
    }
}

/// A value of such an array.
pub(crate) fn literal_of(array: &ArrayRef, row: usize, ty: &PrimitiveType) -> Option<Literal> {
    use PrimitiveLiteral as P;
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return None;
    }
    let primitive = match (array.data_type(), ty) {
        (DataType::Int32, PrimitiveType::Long) => P::Long(array.as_primitive::<Int32Type>().value(row).into()),
        (DataType::Float32, PrimitiveType::Double) => {
            P::Double(f64::from(array.as_primitive::<Float32Type>().value(row)).into())
        }
        (DataType::Timestamp(TimeUnit::Nanosecond, _), _) => {
            P::Long(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        (DataType::Utf8, _) => P::String(array.as_string::<i32>().value(row).to_owned()),
        (DataType::Binary, _) => P::Binary(array.as_binary::<i32>().value(row).to_vec()),
        (DataType::FixedSizeBinary(_), PrimitiveType::Uuid) => {
            let bytes = array.as_fixed_size_binary().value(row).try_into().ok()?;
            P::UInt128(u128::from_be_bytes(bytes))
        }
        (DataType::FixedSizeBinary(_), _) => P::Binary(array.as_fixed_size_binary().value(row).to_vec()),
        _ => return literal(array, row),
    };
    Some(Literal::Primitive(primitive))
}

/// The folder of a partition below that of the data, such as `ts_day=2024-02-29/id_bucket=3`. For people and for tools that
/// list files: nothing is ever read from it.
pub(crate) fn folder(spec: &PartitionSpec, tuple: &Struct) -> String {
    let fields = spec.fields().iter().zip(tuple.iter());
    let parts = fields.map(|(field, value)| {
        let text = match value {
            Some(Literal::Primitive(value)) => human(field.transform, value),
            _ => "null".to_owned(),
        };
        format!("{}={}", safe(&field.name), safe(&text))
    });
    parts.collect::<Vec<_>>().join("/")
}

fn human(transform: Transform, value: &PrimitiveLiteral) -> String {
    match (transform, value) {
        (Transform::Year, PrimitiveLiteral::Int(years)) => format!("{:04}", 1970 + i64::from(*years)),
        (Transform::Month, PrimitiveLiteral::Int(months)) => {
            let months = i64::from(*months);
            format!("{:04}-{:02}", 1970 + months.div_euclid(12), months.rem_euclid(12) + 1)
        }
        (Transform::Day, PrimitiveLiteral::Int(days)) => day(i64::from(*days)),
        (Transform::Hour, PrimitiveLiteral::Int(hours)) => {
            let hours = i64::from(*hours);
            format!("{}-{:02}", day(hours.div_euclid(24)), hours.rem_euclid(24))
        }
        (_, PrimitiveLiteral::Boolean(value)) => value.to_string(),
        (_, PrimitiveLiteral::Int(value)) => value.to_string(),
        (_, PrimitiveLiteral::Long(value)) => value.to_string(),
        (_, PrimitiveLiteral::Float(value)) => value.to_string(),
        (_, PrimitiveLiteral::Double(value)) => value.to_string(),
        (_, PrimitiveLiteral::String(value)) => value.clone(),
        (_, PrimitiveLiteral::Binary(value)) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        (_, PrimitiveLiteral::Int128(value)) => value.to_string(),
        (_, PrimitiveLiteral::UInt128(value)) => value.to_string(),
        (_, PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin) => "null".to_owned(),
    }
}

fn day(days: i64) -> String {
    debug_assert_eq!(year_and_month(days).0, date(days).0);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The longest name in a folder, in bytes: file systems have 255 for one.
const LONGEST: usize = 100;

/// A text that every object store takes as part of a name, and a URL as part of a path, as it is.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if safe.len() >= LONGEST {
            break;
        }
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => safe.push(c),
            // Not where a name could become `.` or `..`.
            '.' if !safe.is_empty() => safe.push(c),
            _ => safe.push('_'),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use iceberg::spec::{NestedField, Schema, Type};

    use super::*;

    #[test]
    fn folders_are_for_people() {
        let field = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, Type::Primitive(ty)));
        let schema = Schema::builder()
            .with_fields([
                field(1, "ts", PrimitiveType::Timestamp),
                field(2, "name", PrimitiveType::String),
                field(3, "at", PrimitiveType::Timestamp),
            ])
            .build()
            .unwrap();
        let spec = PartitionSpec::builder(schema)
            .add_partition_field("ts", "ts_day", Transform::Day)
            .and_then(|builder| builder.add_partition_field("at", "at_hour", Transform::Hour))
            .and_then(|builder| builder.add_partition_field("name", "name", Transform::Identity))
            .and_then(|builder| builder.build())
            .unwrap();
        let tuple = |day, hour, name: Option<&str>| {
            let name = name.map(Literal::string);
            Struct::from_iter([Some(Literal::date(day)), Some(Literal::int(hour)), name])
        };
        assert_eq!(
            folder(&spec, &tuple(-1, -1, Some("../ä b"))),
            "ts_day=1969-12-31/at_hour=1969-12-31-23/name=_.___b"
        );
        assert_eq!(folder(&spec, &tuple(0, 24, None)), "ts_day=1970-01-01/at_hour=1970-01-02-00/name=null");
    }
}
