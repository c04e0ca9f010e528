//! Columns as SQL, Iceberg and Arrow see them.
//!
//! There are three shapes of one table: its [`Column`]s (SQL), its Iceberg schema, and two Arrow schemas. The *table schema*
//! is what queries see, each type as `wharf-values` maps it; the *storage schema* is what lies in the Parquet files, with
//! field ids and only types that Iceberg has. What always holds: columns written into Iceberg metadata come back equal from
//! it. What Iceberg cannot say is a table property keyed by field id: `wharf.type.3` = `character varying(20)`,
//! `wharf.default.3` = the SQL text of the default; `wharf.constraint.NAME` is the SQL text of a constraint. What rows of before a change
//! are under it is there, too: `wharf.initial.3`, `wharf.computed.3`, `wharf.not-null-in.3`, `wharf.checked-since.NAME`. A property that does not fit the Iceberg type (another engine may have
//! changed the schema) is ignored.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::{ListType, Literal, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Schema, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use wharf_catalog::{Column, SqlType};

use crate::defaults;
use crate::error::LakeError;
use crate::fit::Unproven;

/// The property of a column's SQL type is this and the field id.
pub const TYPE_PROPERTY: &str = "wharf.type.";
/// The property of a column's default is this and the field id.
pub const DEFAULT_PROPERTY: &str = "wharf.default.";

/// The property of a constraint is this and its name; its value is SQL.
pub const CONSTRAINT_PROPERTY: &str = "wharf.constraint.";

/// The property of what a column is in rows of before it came is this and the field id; its value is what `initial-default` would be, which
/// format version 2 has not.
pub(crate) const INITIAL_PROPERTY: &str = "wharf.initial.";
/// With the field id of a column behind: when it came, each of the rows there were got a value of its own, in files written for that. Rows of
/// older snapshots have none.
pub(crate) const COMPUTED_PROPERTY: &str = "wharf.computed.";
/// With the field id of a column behind that has become NOT NULL: the ids of the snapshots that were seen to have no NULL in it, with
/// commas between.
pub(crate) const NOT_NULL_IN_PROPERTY: &str = "wharf.not-null-in.";
/// With the name of a check behind: snapshots with a greater sequence number were written under it.
pub(crate) const CHECKED_SINCE_PROPERTY: &str = "wharf.checked-since.";

/// The widest decimal of Iceberg.
const MAX_PRECISION: u8 = 38;

/// Whether a column of this type can be stored; the error says it cannot.
pub fn check_storable(ty: &SqlType) -> Result<(), LakeError> {
    iceberg_type(ty, None, &mut 0).map(|_| ())
}

/// The Iceberg schema of columns as JSON; a type that cannot be stored is a string in it.
///
/// # Errors
/// Columns that make no schema, such as two of one name.
pub fn json(columns: &[Column]) -> Result<serde_json::Value, LakeError> {
    let storable = |column: &Column| match check_storable(&column.ty) {
        Ok(()) => column.clone(),
        Err(_) => Column { ty: SqlType::Text, ..column.clone() },
    };
    let columns: Vec<Column> = columns.iter().map(storable).collect();
    let (schema, _) = iceberg_schema(&columns, 0, None, 0)?;
    serde_json::to_value(schema).map_err(|error| LakeError::metadata("schema", error))
}

/// The Iceberg schema of columns, and the highest field id in it. Elements of arrays keep the id they have in `previous`
/// or get one above `last_id`, the highest that the table ever had.
pub(crate) fn iceberg_schema(
    columns: &[Column],
    schema_id: i32,
    previous: Option<&Schema>,
    last_id: i32,
) -> Result<(Schema, i32), LakeError> {
    let highest = columns.iter().map(|column| column.field_id).max();
    let mut next_id = last_id.max(highest.unwrap_or(0)) + 1;
    let fields = columns
        .iter()
        .map(|column| {
            let before = previous.and_then(|schema| schema.field_by_id(column.field_id));
            let field_type = iceberg_type(&column.ty, before.map(|field| &*field.field_type), &mut next_id)?;
            let mut field = NestedField::new(column.field_id, &column.name, field_type, !column.nullable);
            // The value of rows that were written before the column was there stays what it is, at the type of today.
            field.initial_default =
                before.and_then(|before| promoted(before.initial_default.clone()?, &field.field_type));
            Ok(Arc::new(match &column.comment {
                Some(comment) => field.with_doc(comment),
                None => field,
            }))
        })
        .collect::<Result<Vec<NestedFieldRef>, LakeError>>()?;
    let schema = Schema::builder()
        .with_schema_id(schema_id)
        .with_fields(fields)
        .build()
        .map_err(|error| LakeError::metadata("schema", error))?;
    Ok((schema, next_id - 1))
}

/// A value at the type that its column has been promoted to.
pub(crate) fn promoted(value: Literal, ty: &Type) -> Option<Literal> {
    use PrimitiveLiteral as L;
    Some(match (value, ty) {
        (Literal::Primitive(L::Int(value)), Type::Primitive(PrimitiveType::Long)) => {
            Literal::Primitive(L::Long(value.into()))
        }
        (Literal::Primitive(L::Float(value)), Type::Primitive(PrimitiveType::Double)) => {
            Literal::Primitive(L::Double(f64::from(value.0).into()))
        }
        (value, _) => value,
    })
}

/// The schema with initial values for some of its columns, which new rows of other engines get too.
///
/// # Errors
/// A value that Iceberg cannot say.
pub(crate) fn with_initial(schema: &Schema, initial: &HashMap<i32, ScalarValue>) -> Result<Schema, LakeError> {
    let fields = schema.as_struct().fields().iter().map(|field| match initial.get(&field.id) {
        None => Ok(Arc::clone(field)),
        Some(value) => {
            let literal = defaults::literal(value, &field.field_type).ok_or_else(|| {
                LakeError::Unsupported(format!("the initial value {value} of column \"{}\"", field.name))
            })?;
            let field = NestedField::clone(field).with_initial_default(literal.clone()).with_write_default(literal);
            Ok(Arc::new(field))
        }
    });
    let fields = fields.collect::<Result<Vec<NestedFieldRef>, LakeError>>()?;
    let identifier = schema.identifier_field_ids();
    let built = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields);
    built.with_identifier_field_ids(identifier).build().map_err(|error| LakeError::metadata("schema", error))
}

/// The schema with its primary key as Iceberg's identifier, where Iceberg allows it: its columns are required, and
/// neither lists nor floats.
pub(crate) fn with_identifier(schema: Schema, key: &[i32]) -> Result<Schema, LakeError> {
    let allowed = |id: &i32| {
        schema.field_by_id(*id).is_some_and(|field| {
            let float = [PrimitiveType::Float, PrimitiveType::Double].map(Type::Primitive).contains(&*field.field_type);
            field.required && matches!(*field.field_type, Type::Primitive(_)) && !float
        })
    };
    if key.is_empty() || !key.iter().all(allowed) {
        return Ok(schema);
    }
    let fields = schema.as_struct().fields().iter().cloned();
    let built = Schema::builder().with_schema_id(schema.schema_id()).with_fields(fields);
    built.with_identifier_field_ids(key.iter().copied()).build().map_err(|error| LakeError::metadata("schema", error))
}

/// The table properties that say what the Iceberg schema of these columns does not.
pub(crate) fn properties(columns: &[Column]) -> HashMap<String, String> {
    let mut properties = HashMap::new();
    for column in columns {
        let id = column.field_id;
        let plain = iceberg_type(&column.ty, None, &mut 0).ok().and_then(|ty| sql_type(&ty));
        if plain.as_ref() != Some(&column.ty) {
            properties.insert(format!("{TYPE_PROPERTY}{id}"), column.ty.to_string());
        }
        if let Some(default) = &column.default {
            properties.insert(format!("{DEFAULT_PROPERTY}{id}"), default.clone());
        }
    }
    properties
}

/// The columns of an Iceberg schema.
pub(crate) fn columns(schema: &Schema, properties: &HashMap<String, String>) -> Result<Vec<Column>, LakeError> {
    let of = |field: &NestedFieldRef| {
        let said = properties
            .get(&format!("{TYPE_PROPERTY}{}", field.id))
            .and_then(|text| text.parse::<SqlType>().ok())
            .filter(|ty| iceberg_type(ty, None, &mut 0).is_ok_and(|ty| same_shape(&ty, &field.field_type)));
        let ty = match said {
            Some(ty) => ty,
            // Another engine's column, which is listed and cannot be read: see `unreadable`.
            None => sql_type(&field.field_type).unwrap_or(SqlType::Unknown),
        };
        Ok(Column {
            name: field.name.clone(),
            ty,
            nullable: !field.required,
            field_id: field.id,
            comment: field.doc.clone(),
            default: properties.get(&format!("{DEFAULT_PROPERTY}{}", field.id)).cloned(),
        })
    };
    schema.as_struct().fields().iter().map(of).collect()
}

/// The first column that SQL has no type for, and what it is: a table with one can be listed and altered by others, but
/// neither read nor written here.
pub(crate) fn unreadable(schema: &Schema) -> Option<String> {
    let mut fields = schema.as_struct().fields().iter();
    let field = fields.find(|field| sql_type(&field.field_type).is_none())?;
    Some(format!("column \"{}\" of Iceberg type {}", field.name, field.field_type))
}

/// What queries see. What is not known of the rows is not promised.
pub(crate) fn table_schema(columns: &[Column], unproven: &Unproven) -> SchemaRef {
    let open = |id: &i32| unproven.required.contains(id) || unproven.absent.contains(id);
    let field =
        |column: &Column| wharf_values::field(&column.name, &column.ty, column.nullable || open(&column.field_id));
    Arc::new(ArrowSchema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// What lies in the data files.
pub(crate) fn storage_schema(schema: &Schema) -> Result<SchemaRef, LakeError> {
    let fields = schema.as_struct().fields().iter();
    let fields = fields.map(|field| storage_field(field)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(ArrowSchema::new(fields)))
}

fn storage_field(field: &NestedField) -> Result<Field, LakeError> {
    let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())]);
    let data_type = storage_type(&field.field_type)?;
    Ok(Field::new(&field.name, data_type, !field.required).with_metadata(id))
}

/// The Arrow type from which the Parquet encoder makes what Iceberg prescribes for a type.
pub(crate) fn storage_type(ty: &Type) -> Result<DataType, LakeError> {
    let primitive = match ty {
        Type::Primitive(primitive) => primitive,
        Type::List(list) => {
            return Ok(DataType::List(Arc::new(storage_field(&list.element_field)?)));
        }
        Type::Struct(_) | Type::Map(_) => {
            return Err(LakeError::Unsupported(format!("Iceberg type {ty}")));
        }
    };
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => DataType::Decimal128(*precision as u8, *scale as i8),
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        PrimitiveType::String => DataType::Utf8View,
        PrimitiveType::Binary => DataType::BinaryView,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs | PrimitiveType::Uuid | PrimitiveType::Fixed(_) => {
            return Err(LakeError::Unsupported(format!("Iceberg type {ty}")));
        }
    })
}

/// The Iceberg type that stores a SQL type. Elements of lists get new ids from `next_id`, unless there was a list before.
fn iceberg_type(ty: &SqlType, previous: Option<&Type>, next_id: &mut i32) -> Result<Type, LakeError> {
    let unsupported = || Err(LakeError::Unsupported(format!("a column of type {ty}")));
    if let SqlType::Void | SqlType::Record | SqlType::Unknown | SqlType::Interval = ty {
        return unsupported();
    }
    if let SqlType::Array(item) = ty {
        let before = match previous {
            Some(Type::List(list)) => Some(&list.element_field),
            _ => None,
        };
        let id = before.map_or_else(
            || {
                let id = *next_id;
                *next_id += 1;
                id
            },
            |field| field.id,
        );
        let item = iceberg_type(item, before.map(|field| &*field.field_type), next_id)?;
        return Ok(Type::List(ListType::new(Arc::new(NestedField::list_element(id, item, false)))));
    }
    Ok(Type::Primitive(match wharf_values::arrow_type(ty) {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int16 | DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 | DataType::UInt32 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal128(precision, scale) => match decimal(precision, scale) {
            Some(decimal) => decimal,
            None => return unsupported(),
        },
        DataType::Date32 => PrimitiveType::Date,
        DataType::Time64(TimeUnit::Microsecond) => PrimitiveType::Time,
        DataType::Timestamp(TimeUnit::Microsecond, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => PrimitiveType::String,
        DataType::BinaryView | DataType::Binary | DataType::LargeBinary => PrimitiveType::Binary,
        _ => return unsupported(),
    }))
}

/// The decimal of Iceberg; it has no negative scale, and neither do DataFusion's casts (a panic, not an error).
fn decimal(precision: u8, scale: i8) -> Option<PrimitiveType> {
    let scale = u8::try_from(scale).ok()?;
    (precision <= MAX_PRECISION && scale <= precision)
        .then_some(PrimitiveType::Decimal { precision: precision.into(), scale: scale.into() })
}

/// The SQL type an Iceberg type stands for when no property says more.
fn sql_type(ty: &Type) -> Option<SqlType> {
    Some(match ty {
        Type::List(list) => match sql_type(&list.element_field.field_type)? {
            array @ SqlType::Array(_) => array,
            item => SqlType::Array(Box::new(item)),
        },
        Type::Struct(_) | Type::Map(_) => return None,
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => SqlType::Boolean,
            PrimitiveType::Int => SqlType::Integer,
            PrimitiveType::Long => SqlType::BigInt,
            PrimitiveType::Float => SqlType::Real,
            PrimitiveType::Double => SqlType::Double,
            PrimitiveType::Decimal { precision, scale } => {
                SqlType::Numeric(Some((u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?)))
            }
            PrimitiveType::Date => SqlType::Date,
            PrimitiveType::Time => SqlType::Time,
            PrimitiveType::Timestamp => SqlType::Timestamp,
            PrimitiveType::Timestamptz => SqlType::TimestampTz,
            PrimitiveType::String => SqlType::Text,
            PrimitiveType::Binary => SqlType::Bytea,
            PrimitiveType::TimestampNs
            | PrimitiveType::TimestamptzNs
            | PrimitiveType::Uuid
            | PrimitiveType::Fixed(_) => return None,
        },
    })
}

/// Whether Iceberg promotes the one type to the other, which is another (<https://iceberg.apache.org/spec/#schema-evolution>).
pub(crate) fn promotes(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match (from, to) {
        (P::Int, P::Long) | (P::Float, P::Double) => true,
        (P::Decimal { precision, scale }, P::Decimal { precision: wider, scale: same }) => {
            scale == same && precision < wider
        }
        _ => false,
    }
}

/// Whether two Iceberg types differ in nothing but field ids.
pub(crate) fn same_shape(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::List(left), Type::List(right)) => {
            same_shape(&left.element_field.field_type, &right.element_field.field_type)
        }
        (Type::Primitive(left), Type::Primitive(right)) => left == right,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn column(name: &str, ty: SqlType, field_id: i32) -> Column {
        Column { name: name.to_owned(), ty, nullable: true, field_id, comment: None, default: None }
    }

    /// Every type a column can have.
    fn storable() -> Vec<SqlType> {
        let scalars = vec![
            SqlType::Boolean,
            SqlType::SmallInt,
            SqlType::Integer,
            SqlType::BigInt,
            SqlType::Real,
            SqlType::Double,
            SqlType::Numeric(None),
            SqlType::Numeric(Some((15, 2))),
            SqlType::Numeric(Some((38, 38))),
            SqlType::Numeric(Some((3, 5))),
            SqlType::Text,
            SqlType::Varchar(None),
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
        ];
        let arrays = scalars.iter().map(|ty| SqlType::Array(Box::new(ty.clone())));
        let arrays = arrays.collect::<Vec<_>>();
        scalars.into_iter().chain(arrays).collect()
    }

    #[test]
    fn columns_come_back_from_iceberg() {
        let mut before: Vec<_> =
            storable().into_iter().enumerate().map(|(i, ty)| column(&format!("c{i}"), ty, i as i32 + 1)).collect();
        before[3].nullable = false;
        before[4].comment = Some("a comment".to_owned());
        before[5].default = Some("now()".to_owned());
        let (schema, last_id) = iceberg_schema(&before, 0, None, 0).unwrap();
        let arrays = before.len() / 2;
        assert_eq!(last_id as usize, before.len() + arrays, "an element has an id of its own");
        assert_eq!(columns(&schema, &properties(&before)).unwrap(), before);
        storage_schema(&schema).unwrap();
    }

    #[test]
    fn only_what_iceberg_cannot_say_is_a_property() {
        let columns = [
            column("a", SqlType::Integer, 1),
            column("b", SqlType::Numeric(Some((15, 2))), 2),
            column("c", SqlType::Array(Box::new(SqlType::Text)), 3),
            column("d", SqlType::Varchar(Some(20)), 4),
        ];
        let expected = ("wharf.type.4".to_owned(), "character varying(20)".to_owned());
        assert_eq!(properties(&columns), HashMap::from([expected]));
    }

    #[test]
    fn a_property_that_contradicts_the_schema_is_ignored() {
        let (schema, _) = iceberg_schema(&[column("a", SqlType::BigInt, 1)], 0, None, 0).unwrap();
        let stale = HashMap::from([("wharf.type.1".to_owned(), "smallint".to_owned())]);
        assert_eq!(columns(&schema, &stale).unwrap()[0].ty, SqlType::BigInt);
    }

    #[test]
    fn elements_keep_their_ids_when_columns_change() {
        let array = SqlType::Array(Box::new(SqlType::Integer));
        let mut columns = vec![column("a", array.clone(), 1), column("b", SqlType::Text, 2)];
        let (first, last_id) = iceberg_schema(&columns, 0, None, 0).unwrap();
        columns[0].name = "renamed".to_owned();
        columns.push(column("c", array, last_id + 1));
        let (second, last_id) = iceberg_schema(&columns, 1, Some(&first), last_id).unwrap();
        let element = |schema: &Schema, id: i32| match &*schema.field_by_id(id).unwrap().field_type {
            Type::List(list) => list.element_field.id,
            other => panic!("{other} is not a list"),
        };
        assert_eq!((element(&first, 1), element(&second, 1)), (3, 3));
        assert_eq!((element(&second, 4), last_id), (5, 5));
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let numerics = [(50, 2), (3, -2)].map(|modifier| SqlType::Numeric(Some(modifier)));
        for ty in [SqlType::Interval, SqlType::Void, SqlType::Unknown].into_iter().chain(numerics) {
            let error = check_storable(&ty).unwrap_err();
            assert_eq!(error.to_string(), format!("a column of type {ty} is not supported"));
        }
    }
}
