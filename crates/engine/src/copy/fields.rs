//! The columns a decoder fills, and what it says about a value it cannot take.
//!
//! What always holds: an error names the table, the line and, for a value, the column and the value, as PostgreSQL's
//! context line does.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;
use wharf_catalog::SqlType;
use wharf_values::{ColumnBuilder, ErrorObject, SqlError, SqlState, TextFormat};

/// A column of the table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: SqlType,
    pub(super) nullable: bool,
}

/// The columns being filled, row by row.
pub(super) struct Fields {
    table: String,
    pub(super) columns: Vec<Column>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
    format: TextFormat,
    /// Rows that are wrong may be passed over.
    tolerant: bool,
    /// Which of the rows count, once one does not; the others are taken out with the batch.
    keep: Vec<bool>,
    /// The column of the last value that was refused.
    failed: Option<usize>,
}

/// Bytes of a line or value that an error shows, at most.
const MAX_SHOWN: usize = 100;

impl Fields {
    pub(super) fn new(table: &str, columns: Vec<Column>, format: &TextFormat) -> Fields {
        let builders = columns.iter().map(|column| ColumnBuilder::new(&column.ty, format)).collect();
        Fields {
            table: table.to_owned(),
            columns,
            builders,
            rows: 0,
            format: format.clone(),
            tolerant: false,
            keep: Vec::new(),
            failed: None,
        }
    }

    /// Makes it possible to reject rows.
    pub(super) fn tolerate(&mut self) {
        self.tolerant = true;
    }

    /// The column whose value was refused, if the last error was about one.
    pub(super) fn take_failed(&mut self) -> Option<usize> {
        self.failed.take()
    }

    /// Takes back what was pushed of the row that is being read.
    pub(super) fn reject_row(&mut self) {
        for builder in &mut self.builders {
            if builder.len() == self.rows {
                builder.push_null();
            }
        }
        self.keep.resize(self.rows, true);
        self.keep.push(false);
        self.rows += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// Fills only some of the columns from now on, given by their places.
    pub(super) fn select(&mut self, places: &[usize]) {
        self.columns = places.iter().map(|place| self.columns[*place].clone()).collect();
        self.builders = self.columns.iter().map(|column| ColumnBuilder::new(&column.ty, &self.format)).collect();
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the rows take.
    pub(super) fn size_bytes(&self) -> usize {
        self.builders.iter().map(ColumnBuilder::size_bytes).sum()
    }

    #[inline]
    pub(super) fn push(&mut self, column: usize, text: &[u8], line: u64) -> Result<(), SqlError> {
        if self.tolerant {
            self.try_list(column, text, line)?;
        }
        match self.builders[column].push_text(text) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.value_error(error, column, text, line)),
        }
    }

    /// A list that is refused has taken some of its items by then, so it is tried elsewhere first.
    fn try_list(&mut self, column: usize, text: &[u8], line: u64) -> Result<(), SqlError> {
        let ty = &self.columns[column].ty;
        if !matches!(ty, SqlType::Array(_)) {
            return Ok(());
        }
        let tried = ColumnBuilder::new(ty, &self.format).push_text(text);
        tried.map_err(|error| self.value_error(error, column, text, line))
    }

    #[inline]
    pub(super) fn push_null(&mut self, column: usize) {
        self.builders[column].push_null();
    }

    pub(super) fn push_binary(&mut self, column: usize, bytes: &[u8], line: u64) -> Result<(), SqlError> {
        self.builders[column].push_binary(bytes).map_err(|error| {
            let name = &self.columns[column].name;
            error.with_context(format!("COPY {}, line {line}, column {name}", self.table))
        })
    }

    pub(super) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// The rows so far; empty afterwards.
    pub(super) fn take(&mut self) -> Vec<ArrayRef> {
        self.keep.resize(if self.keep.is_empty() { 0 } else { self.rows }, true);
        self.rows = 0;
        let columns = self.builders.iter_mut().map(ColumnBuilder::finish);
        if self.keep.is_empty() {
            return columns.collect();
        }
        let keep = BooleanArray::from(std::mem::take(&mut self.keep));
        columns.map(|column| filter(&column, &keep).expect("a column has as many values as there are rows")).collect()
    }

    #[cold]
    fn value_error(&mut self, error: SqlError, column: usize, text: &[u8], line: u64) -> SqlError {
        let table = &self.table;
        // PostgreSQL finds wrong bytes before it looks at columns.
        if error.code == SqlState::CHARACTER_NOT_IN_REPERTOIRE {
            return error.with_context(format!("COPY {table}, line {line}"));
        }
        self.failed = Some(column);
        let name = &self.columns[column].name;
        error.with_context(format!("COPY {table}, line {line}, column {name}: \"{}\"", shown(text)))
    }

    /// An error about a whole line.
    #[cold]
    pub(super) fn line_error(&self, error: SqlError, line: u64, text: &[u8]) -> SqlError {
        error.with_context(format!("COPY {}, line {line}: \"{}\"", self.table, shown(text)))
    }

    /// An error before a line could be told from the next.
    #[cold]
    pub(super) fn place_error(&self, error: SqlError, line: u64) -> SqlError {
        error.with_context(format!("COPY {}, line {line}", self.table))
    }

    /// A null where the column takes none.
    #[cold]
    pub(super) fn null_error(&self, column: usize, line: u64, text: &[u8]) -> SqlError {
        let name = &self.columns[column].name;
        let table = &self.table;
        let message = format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint");
        let object = ErrorObject { table: Some(table.clone()), column: Some(name.clone()), ..ErrorObject::default() };
        self.line_error(SqlError::new(SqlState::NOT_NULL_VIOLATION, message).with_object(object), line, text)
    }

    /// A line with too few values.
    #[cold]
    pub(super) fn missing(&self, column: usize, line: u64, text: &[u8]) -> SqlError {
        self.missing_named(&self.columns[column].name, line, text)
    }

    /// A line without the value of a column of this name.
    #[cold]
    pub(super) fn missing_named(&self, column: &str, line: u64, text: &[u8]) -> SqlError {
        let message = format!("missing data for column \"{column}\"");
        self.line_error(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message), line, text)
    }

    /// A line with too many values.
    #[cold]
    pub(super) fn extra(&self, line: u64, text: &[u8]) -> SqlError {
        let message = "extra data after last expected column";
        self.line_error(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message), line, text)
    }
}

/// A text as an error shows it: the beginning of a long one.
fn shown(text: &[u8]) -> String {
    if text.len() <= MAX_SHOWN {
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut end = MAX_SHOWN;
    while end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    format!("{}...", String::from_utf8_lossy(&text[..end]))
}
