//! Rows of metadata tables while they are being made.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use iceberg::spec::{Datum, Literal, Struct, StructType, Type};
use serde_json::Value;
use wharf_catalog::SqlType;
use wharf_values::mapping;

use crate::error::LakeError;

/// The columns of a metadata table.
pub(super) struct Layout(pub(super) Vec<(&'static str, SqlType)>);

impl Layout {
    pub(super) fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.0.iter().map(|(name, ty)| mapping::field(*name, ty, true)).collect();
        Arc::new(Schema::new(fields))
    }
}

/// A value, or NULL.
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    /// An array of integers.
    Ints(Vec<i64>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Cell {
        Cell::Int(value.into())
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Cell {
        Cell::Int(value.into())
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl From<Value> for Cell {
    fn from(value: Value) -> Cell {
        Cell::Text(value.to_string())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// An instant of Iceberg's metadata.
pub(super) fn timestamp(ms: i64) -> Cell {
    Cell::Int(ms.saturating_mul(1000))
}

/// Rows to a batch of these columns.
pub(super) fn batch(layout: &Layout, rows: Vec<Vec<Cell>>) -> Result<RecordBatch, LakeError> {
    let failed = |error: arrow::error::ArrowError| LakeError::Batch(error.to_string());
    let schema = layout.schema();
    let arrays = layout.0.iter().zip(schema.fields()).enumerate().map(|(place, ((_, ty), field))| {
        let cells: Vec<&Cell> = rows.iter().filter_map(|row| row.get(place)).collect();
        cast(&array(ty, &cells), field.data_type())
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    RecordBatch::try_new(schema, arrays).map_err(failed)
}

fn array(ty: &SqlType, cells: &[&Cell]) -> ArrayRef {
    let int = |cell: &&Cell| match cell {
        Cell::Int(value) => Some(*value),
        _ => None,
    };
    match ty {
        SqlType::Boolean => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Bool(value) => Some(*value),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        SqlType::Integer => {
            let narrow = |cell| int(cell).map(|value| i32::try_from(value).unwrap_or(i32::MAX));
            Arc::new(cells.iter().map(narrow).collect::<Int32Array>())
        }
        SqlType::BigInt => Arc::new(cells.iter().map(int).collect::<Int64Array>()),
        SqlType::TimestampTz => {
            Arc::new(cells.iter().map(int).collect::<TimestampMicrosecondArray>().with_timezone(mapping::UTC))
        }
        SqlType::Array(_) => {
            let items = |cell: &&Cell| match cell {
                Cell::Ints(items) => items.clone(),
                _ => Vec::new(),
            };
            let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| items(cell).len()));
            let present = NullBuffer::from_iter(cells.iter().map(|cell| matches!(cell, Cell::Ints(_))));
            let values = Int64Array::from_iter_values(cells.iter().flat_map(items));
            let field = Arc::new(Field::new("item", DataType::Int64, true));
            Arc::new(ListArray::new(field, offsets, Arc::new(values), Some(present)))
        }
        _ => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect::<StringViewArray>(),
        ),
    }
}

/// A map from field ids to numbers; NULL when it is empty, as where a writer gathers no such metric.
pub(super) fn counts(counts: &std::collections::HashMap<i32, u64>) -> Cell {
    object(counts.iter().map(|(id, count)| (*id, Value::from(*count))))
}

/// A map from field ids to bounds, in Iceberg's JSON for single values.
pub(super) fn bounds(bounds: &std::collections::HashMap<i32, Datum>) -> Cell {
    object(bounds.iter().map(|(id, bound)| (*id, datum(bound))))
}

fn object(entries: impl Iterator<Item = (i32, Value)>) -> Cell {
    // Sorted as numbers, so that the text is the same each time.
    let entries: BTreeMap<i32, Value> = entries.collect();
    if entries.is_empty() {
        return Cell::Null;
    }
    let parts: Vec<String> = entries.iter().map(|(id, value)| format!("\"{id}\": {value}")).collect();
    Cell::Text(format!("{{{}}}", parts.join(", ")))
}

/// A bound as JSON.
pub(super) fn datum(bound: &Datum) -> Value {
    let literal = Literal::Primitive(bound.literal().clone());
    json(literal, &Type::Primitive(bound.data_type().clone()))
}

fn json(literal: Literal, ty: &Type) -> Value {
    // What has no JSON, such as NaN, is shown as text.
    let text = format!("{literal:?}");
    literal.try_into_json(ty).unwrap_or(Value::String(text))
}

/// The values of a partition by the names of its fields.
pub(super) fn partition(values: &Struct, ty: &StructType) -> String {
    let parts = ty.fields().iter().zip(values.iter()).map(|(field, value)| {
        let value = value.map_or(Value::Null, |value| json(value.clone(), &field.field_type));
        format!("{}: {value}", Value::from(field.name.as_str()))
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}
