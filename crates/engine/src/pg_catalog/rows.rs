//! A small builder for system tables: columns by name and type, rows cell by cell.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use wharf_catalog::SqlType;
use wharf_values::mapping;

use super::system::SystemRelation;

/// One value of a system table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f32),
    /// An array's items.
    List(Vec<Cell>),
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
#[derive(Clone)]
pub(super) struct Rows {
    columns: Vec<(&'static str, SqlType)>,
    cells: Vec<Vec<Cell>>,
}

impl Rows {
    pub(super) fn new(columns: &[(&'static str, SqlType)]) -> Self {
        Rows { columns: columns.to_vec(), cells: vec![Vec::new(); columns.len()] }
    }

    /// The same rows with all the columns that PostgreSQL's table of the name has. What is not given is what is stored
    /// where there is nothing: zero, false or an empty string in tables, NULL elsewhere.
    pub(super) fn with_columns_of(mut self, relation: &SystemRelation) -> Self {
        let rows = self.cells.first().map_or(0, Vec::len);
        let mut cells = Vec::with_capacity(relation.columns.len());
        for (name, ty) in &relation.columns {
            let given = self.columns.iter().position(|(given, _)| given == name);
            cells.push(match given {
                Some(place) => std::mem::take(&mut self.cells[place]),
                None if relation.is_view => vec![Cell::Null; rows],
                None => vec![nothing(ty); rows],
            });
        }
        Rows { columns: relation.columns.clone(), cells }
    }

    /// No rows, with the columns of PostgreSQL's table.
    pub(super) fn empty(relation: &SystemRelation) -> Self {
        Rows::new(&relation.columns)
    }

    /// Adds a row; cells that are not given are NULL.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        debug_assert!(row.len() <= self.columns.len(), "a row has more cells than the table has columns");
        let mut row = row.into_iter();
        for column in &mut self.cells {
            column.push(row.next().unwrap_or(Cell::Null));
        }
    }

    /// The place of a column; none when there is no such column.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| *known == name)
    }

    /// The whole numbers in a column; none when there is no such column.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<Option<i64>>> {
        let integer = |cell: &Cell| match cell {
            Cell::Int(value) => Some(*value),
            _ => None,
        };
        Some(self.cells.get(self.place(name)?)?.iter().map(integer).collect())
    }

    /// Puts a value in the place of another; nothing happens where there is no such place.
    pub(super) fn set(&mut self, row: usize, place: usize, value: Cell) {
        if let Some(cell) = self.cells.get_mut(place).and_then(|column| column.get_mut(row)) {
            *cell = value;
        }
    }

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|(name, ty)| mapping::field(*name, ty, true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// The rows.
    ///
    /// # Errors
    /// When a column cannot be made, which the tests would have found.
    pub(super) fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().zip(&self.cells).map(|((_, ty), cells)| array(ty, cells)).collect();
        RecordBatch::try_new(self.schema(), arrays)
    }

    /// The table; none when a column cannot be made.
    pub(super) fn finish(self) -> Option<Arc<dyn TableProvider>> {
        let batch = self.batch().ok()?;
        Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).ok()?))
    }
}

fn nothing(ty: &SqlType) -> Cell {
    match ty {
        SqlType::Boolean => Cell::Bool(false),
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt | SqlType::Oid => Cell::Int(0),
        SqlType::Real => Cell::Float(0.0),
        SqlType::QChar => Cell::Text(String::new()),
        _ => Cell::Null,
    }
}

/// Arrays: the items of all rows in one array, and where each row's begin.
fn lists(item: &SqlType, ty: &SqlType, cells: &[Cell]) -> ArrayRef {
    let items: Vec<Cell> = cells
        .iter()
        .flat_map(|cell| match cell {
            Cell::List(items) => items.clone(),
            _ => Vec::new(),
        })
        .collect();
    let lengths = cells.iter().map(|cell| match cell {
        Cell::List(items) => items.len(),
        _ => 0,
    });
    let present = cells.iter().map(|cell| matches!(cell, Cell::List(_)));
    let (DataType::List(field), nulls) = (mapping::arrow_type(ty), NullBuffer::from_iter(present)) else {
        return arrow::array::new_null_array(&mapping::arrow_type(ty), cells.len());
    };
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), array(item, &items), Some(nulls)))
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
        SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
            Arc::new(cells.iter().map(|cell| int(cell).map(|v| v as u32)).collect::<UInt32Array>())
        }
        SqlType::Array(item) => lists(item, ty, cells),
        SqlType::TimestampTz => {
            let array = cells.iter().map(int).collect::<TimestampMicrosecondArray>();
            Arc::new(array.with_timezone("+00:00"))
        }
        SqlType::Real => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Float(value) => Some(*value),
                    _ => None,
                })
                .collect::<Float32Array>(),
        ),
        ty if mapping::arrow_type(ty) != DataType::Utf8View => {
            arrow::array::new_null_array(&mapping::arrow_type(ty), cells.len())
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
