//! A small builder for system tables: columns by name and type, rows cell by cell.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringViewArray, UInt32Array,
};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use wharf_catalog::SqlType;
use wharf_values::mapping;

/// One value of a system table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f32),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}
impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Cell::Bool(value)
    }
}
impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(i64::from(value))
    }
}
impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}
impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Cell::Int(i64::from(value))
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// A system table while it is being made.
pub(super) struct Rows {
    columns: Vec<(&'static str, SqlType)>,
    cells: Vec<Vec<Cell>>,
}

impl Rows {
    pub(super) fn new(columns: &[(&'static str, SqlType)]) -> Self {
        Rows { columns: columns.to_vec(), cells: vec![Vec::new(); columns.len()] }
    }

    /// Adds a row; cells that are not given are NULL.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        debug_assert!(row.len() <= self.columns.len(), "a row has more cells than the table has columns");
        let mut row = row.into_iter();
        for column in &mut self.cells {
            column.push(row.next().unwrap_or(Cell::Null));
        }
    }

    /// The table; none when a column cannot be made, which the tests would have found.
    pub(super) fn finish(self) -> Option<Arc<dyn TableProvider>> {
        let fields: Vec<Field> = self.columns.iter().map(|(name, ty)| mapping::field(*name, ty, true)).collect();
        let arrays: Vec<ArrayRef> =
            self.columns.iter().zip(&self.cells).map(|((_, ty), cells)| array(ty, cells)).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).ok()?;
        Some(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).ok()?))
    }
}

fn array(ty: &SqlType, cells: &[Cell]) -> ArrayRef {
    let int = |cell: &Cell| match cell {
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
        SqlType::SmallInt => Arc::new(cells.iter().map(|cell| int(cell).map(|v| v as i16)).collect::<Int16Array>()),
        SqlType::Integer => Arc::new(cells.iter().map(|cell| int(cell).map(|v| v as i32)).collect::<Int32Array>()),
        SqlType::BigInt => Arc::new(cells.iter().map(int).collect::<Int64Array>()),
        SqlType::Oid | SqlType::Regclass | SqlType::Regtype => {
            Arc::new(cells.iter().map(|cell| int(cell).map(|v| v as u32)).collect::<UInt32Array>())
        }
        SqlType::Array(_) | SqlType::TimestampTz => arrow::array::new_null_array(&mapping::arrow_type(ty), cells.len()),
        SqlType::Real => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Float(value) => Some(*value),
                    _ => None,
                })
                .collect::<Float32Array>(),
        ),
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
