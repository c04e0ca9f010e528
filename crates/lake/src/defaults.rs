//! Values of a column in the rows of files that lack it: Iceberg's `initial-default`.
//!
//! Only format version 3 has them; tables of version 2 have their rows written again instead (see
//! docs/decisions/0009-schema-evolution.md). Another engine may have set any, so they are read from every table.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Schema, Type};

use crate::scan;

/// A value as Iceberg's metadata has it; none where it cannot say it: NULL, lists, floats that are not finite.
pub(crate) fn literal(value: &ScalarValue, ty: &Type) -> Option<Literal> {
    use PrimitiveLiteral as L;
    use ScalarValue as S;
    let Type::Primitive(ty) = ty else { return None };
    let literal = match (value, ty) {
        (S::Boolean(Some(value)), PrimitiveType::Boolean) => L::Boolean(*value),
        (S::Int16(Some(value)), PrimitiveType::Int) => L::Int((*value).into()),
        (S::Int32(Some(value)), PrimitiveType::Int) => L::Int(*value),
        (S::Int64(Some(value)), PrimitiveType::Long) => L::Long(*value),
        (S::UInt32(Some(value)), PrimitiveType::Long) => L::Long((*value).into()),
        (S::Float32(Some(value)), PrimitiveType::Float) if value.is_finite() => L::Float((*value).into()),
        (S::Float64(Some(value)), PrimitiveType::Double) if value.is_finite() => L::Double((*value).into()),
        (S::Decimal128(Some(value), _, scale), PrimitiveType::Decimal { scale: stored, .. })
            if i64::from(*scale) == i64::from(*stored) =>
        {
            L::Int128(*value)
        }
        (S::Date32(Some(value)), PrimitiveType::Date) => L::Int(*value),
        (S::Time64Microsecond(Some(value)), PrimitiveType::Time) => L::Long(*value),
        (S::TimestampMicrosecond(Some(value), None), PrimitiveType::Timestamp) => L::Long(*value),
        (S::TimestampMicrosecond(Some(value), Some(_)), PrimitiveType::Timestamptz) => L::Long(*value),
        (S::Utf8View(Some(value)) | S::Utf8(Some(value)), PrimitiveType::String) => L::String(value.clone()),
        (S::BinaryView(Some(value)) | S::Binary(Some(value)), PrimitiveType::Binary) => L::Binary(value.clone()),
        _ => return None,
    };
    Some(Literal::Primitive(literal))
}

/// The values of the columns that files may lack, by the columns' names; those that are not here are NULL in such files.
pub(crate) fn initial(schema: &Schema, table: &SchemaRef) -> HashMap<String, ScalarValue> {
    let fields = schema.as_struct().fields().iter().zip(table.fields());
    fields
        .filter_map(|(stored, field)| {
            let (Some(Literal::Primitive(literal)), Type::Primitive(ty)) =
                (&stored.initial_default, &*stored.field_type)
            else {
                return None;
            };
            Some((field.name().clone(), scan::scalar(literal, ty, field.data_type())?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::schema;

    #[test]
    fn values_come_back_from_the_schema() {
        let values = [
            (SqlType::Boolean, ScalarValue::Boolean(Some(true))),
            (SqlType::SmallInt, ScalarValue::Int16(Some(-7))),
            (SqlType::BigInt, ScalarValue::Int64(Some(1 << 40))),
            (SqlType::Double, ScalarValue::Float64(Some(0.1))),
            (SqlType::Numeric(Some((10, 2))), ScalarValue::Decimal128(Some(12345), 10, 2)),
            (SqlType::Date, ScalarValue::Date32(Some(19_000))),
            (SqlType::Timestamp, ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), None)),
            (SqlType::Varchar(Some(20)), ScalarValue::Utf8View(Some("naïve".to_owned()))),
            (SqlType::Bytea, ScalarValue::BinaryView(Some(vec![0, 255]))),
        ];
        for (ty, value) in values {
            let name = ty.to_string();
            let columns =
                [Column { name: name.clone(), ty, nullable: true, field_id: 1, comment: None, default: None }];
            let initial_values = HashMap::from([(1, value.clone())]);
            let (schema, _) = schema::iceberg_schema(&columns, 0, None, 0).unwrap();
            let schema = schema::with_initial(&schema, &initial_values).unwrap();
            let json = serde_json::to_string(&schema).unwrap();
            let read: Schema = serde_json::from_str(&json).unwrap();
            let found = initial(&read, &schema::table_schema(&columns));
            assert_eq!(found.get(&name), Some(&value), "{json}");
        }
    }
}
