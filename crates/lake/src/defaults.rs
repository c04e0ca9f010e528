//! Values of a column in the rows of files that lack it: Iceberg's `initial-default`.
//!
//! Only format version 3 has them. In tables of version 2 the rows of all branches are written again instead, so that every engine reads
//! them; for rows of older snapshots, which may become current again, the value is kept as a table property (see
//! docs/decisions/0009-schema-evolution.md and 0019-rows-of-branches.md). Another engine may have set any, so they are read from every
//! table.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use iceberg::spec::{Literal, NestedField, PrimitiveLiteral, PrimitiveType, Schema, Type};

use crate::metadata::guarded;
use crate::scan;
use crate::schema::{self, INITIAL_PROPERTY};

/// A value as Iceberg's metadata has it; none where it cannot say it: NULL, lists, floats that are not finite, instants that its JSON has
/// no words for.
pub(crate) fn literal(value: &ScalarValue, ty: &Type) -> Option<Literal> {
    let literal = as_literal(value, ty)?;
    let text = written(&literal, ty)?;
    (read(&text, ty).as_ref() == Some(&literal)).then_some(literal)
}

fn as_literal(value: &ScalarValue, ty: &Type) -> Option<Literal> {
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

/// A value as a table property: the format's JSON. None for what cannot be written so.
pub(crate) fn written(literal: &Literal, ty: &Type) -> Option<String> {
    // Iceberg's code over any value: it panics for some instants.
    let json = guarded("", || Ok(literal.clone().try_into_json(ty))).ok()?.ok()?;
    (!json.is_null()).then(|| json.to_string())
}

fn read(text: &str, ty: &Type) -> Option<Literal> {
    let json = serde_json::from_str(text).ok()?;
    guarded("", || Ok(Literal::try_from_json(json, ty))).ok()?.ok()?
}

/// What a column is in rows of files that lack it; none: NULL, or no value at all.
pub(crate) fn initial_literal(field: &NestedField, properties: &HashMap<String, String>) -> Option<Literal> {
    let kept = || read(properties.get(&format!("{INITIAL_PROPERTY}{}", field.id))?, &field.field_type);
    field.initial_default.clone().or_else(kept)
}

/// The values of the columns that files may lack, by the columns' names; those that are not here are NULL in such files.
pub(crate) fn initial(
    schema: &Schema,
    table: &SchemaRef,
    properties: &HashMap<String, String>,
) -> HashMap<String, ScalarValue> {
    let fields = schema.as_struct().fields().iter().zip(table.fields());
    fields
        .filter_map(|(stored, field)| {
            let Type::Primitive(ty) = &*stored.field_type else { return None };
            let Literal::Primitive(literal) = initial_literal(stored, properties)? else { return None };
            Some((field.name().clone(), scan::scalar(&literal, ty, field.data_type())?))
        })
        .collect()
}

/// The properties with the values of new columns, and with those that are kept of columns that have another type now.
pub(crate) fn properties(
    before: &Schema,
    now: &Schema,
    kept: &HashMap<String, String>,
    new: &HashMap<i32, ScalarValue>,
) -> HashMap<String, String> {
    let property = |field: &NestedField| {
        let name = format!("{INITIAL_PROPERTY}{}", field.id);
        let literal = match new.get(&field.id) {
            Some(value) => literal(value, &field.field_type)?,
            None => {
                let was = before.field_by_id(field.id).filter(|was| was.field_type != field.field_type)?;
                schema::promoted(read(kept.get(&name)?, &was.field_type)?, &field.field_type)?
            }
        };
        Some((name, written(&literal, &field.field_type)?))
    };
    now.as_struct().fields().iter().filter_map(|field| property(field)).collect()
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
            let table = schema::table_schema(&columns, &crate::Unproven::default());
            let found = initial(&read, &table, &HashMap::new());
            assert_eq!(found.get(&name), Some(&value), "{json}");
            // Where the schema cannot say it, a property does.
            let (plain, _) = schema::iceberg_schema(&columns, 0, None, 0).unwrap();
            let properties = properties(&plain, &plain, &HashMap::new(), &initial_values);
            assert_eq!(initial(&plain, &table, &properties).get(&name), Some(&value), "{properties:?}");
        }
    }

    #[test]
    fn a_kept_value_is_widened_with_its_column() {
        let schema = |ty| {
            let name = "c".to_owned();
            let columns = [Column { name, ty, nullable: true, field_id: 1, comment: None, default: None }];
            (
                schema::iceberg_schema(&columns, 0, None, 0).unwrap().0,
                schema::table_schema(&columns, &Default::default()),
            )
        };
        let widened = [
            (SqlType::Integer, ScalarValue::Int32(Some(7)), SqlType::BigInt, ScalarValue::Int64(Some(7))),
            // What is read of a file is widened bit by bit, too.
            (
                SqlType::Real,
                ScalarValue::Float32(Some(0.1)),
                SqlType::Double,
                ScalarValue::Float64(Some(f64::from(0.1_f32))),
            ),
            (
                SqlType::Numeric(Some((4, 2))),
                ScalarValue::Decimal128(Some(725), 4, 2),
                SqlType::Numeric(Some((9, 2))),
                ScalarValue::Decimal128(Some(725), 9, 2),
            ),
        ];
        for (from, value, to, expected) in widened {
            let ((before, old), (after, new)) = (schema(from), schema(to));
            let kept = properties(&before, &before, &HashMap::new(), &HashMap::from([(1, value.clone())]));
            let now = properties(&before, &after, &kept, &HashMap::new());
            assert_eq!(initial(&after, &new, &now)["c"], expected);
            // Old snapshots are read at the old type.
            assert_eq!(initial(&before, &old, &now)["c"], value);
        }
    }

    #[test]
    fn what_the_format_has_no_words_for_is_not_said() {
        let timestamp = Type::Primitive(PrimitiveType::Timestamp);
        for instant in [i64::MAX, i64::MIN] {
            assert_eq!(literal(&ScalarValue::TimestampMicrosecond(Some(instant), None), &timestamp), None);
        }
        let date = Type::Primitive(PrimitiveType::Date);
        assert_eq!(literal(&ScalarValue::Date32(Some(i32::MAX)), &date), None);
    }
}
