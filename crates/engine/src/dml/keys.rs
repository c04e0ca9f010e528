//! Keys that rows of one statement must not share: what ON CONFLICT finds beside the rows that are there already.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::arity::unary;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use wharf_catalog::Table;
use wharf_values::{SqlError, mapping};

use crate::error::from_datafusion;

/// What a key takes in memory besides its bytes.
const OVERHEAD_BYTES: usize = 48;

/// A declared key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The places of its columns.
    pub(super) columns: Vec<usize>,
    /// Two rows with a NULL in it differ.
    pub(super) nulls_distinct: bool,
}

/// The keys that the rows of a statement must not share.
pub(super) struct Keys {
    pub(super) keys: Vec<Key>,
    pub(super) table: Arc<Table>,
}

impl Keys {
    /// No row has been seen yet.
    ///
    /// # Errors
    /// A type that cannot be compared.
    pub(super) fn seen(&self, state: &SessionState) -> Result<Seen, SqlError> {
        let known = self.keys.iter().map(|key| {
            let types = key.columns.iter().map(|column| mapping::arrow_type(&self.table.columns[*column].ty));
            let converter = RowConverter::new(types.map(SortField::new).collect());
            let converter = converter.map_err(|error| SqlError::internal(error.to_string()))?;
            Ok(Known { key: key.clone(), converter, values: HashSet::new() })
        });
        let memory = MemoryConsumer::new("ON CONFLICT").register(&state.runtime_env().memory_pool);
        Ok(Seen { known: known.collect::<Result<_, SqlError>>()?, memory })
    }
}

/// The keys of the rows written so far.
pub(super) struct Seen {
    known: Vec<Known>,
    memory: MemoryReservation,
}

struct Known {
    key: Key,
    converter: RowConverter,
    values: HashSet<Box<[u8]>>,
}

impl Seen {
    /// Looks at the keys of a batch; `row` are the columns of the table in it.
    ///
    /// # Errors
    /// None but for a bug.
    pub(super) fn batch<'a>(&'a mut self, batch: &RecordBatch, row: &[Option<usize>]) -> Result<Repeats<'a>, SqlError> {
        let mut keys = Vec::with_capacity(self.known.len());
        for known in &self.known {
            let columns = known.key.columns.iter().map(|column| {
                let place = row[*column].ok_or_else(|| SqlError::internal("a key is written without a column"))?;
                Ok(comparable(batch.column(place)))
            });
            let columns = columns.collect::<Result<Vec<_>, SqlError>>()?;
            let rows = known.converter.convert_columns(&columns);
            let rows = rows.map_err(|error| SqlError::internal(error.to_string()))?;
            keys.push(BatchKeys { rows, columns: if known.key.nulls_distinct { columns } else { Vec::new() } });
        }
        Ok(Repeats { seen: self, keys })
    }
}

/// Two zeros are one value.
fn comparable(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(unary::<_, _, Float32Type>(column.as_primitive::<Float32Type>(), |v| v + 0.0)),
        DataType::Float64 => Arc::new(unary::<_, _, Float64Type>(column.as_primitive::<Float64Type>(), |v| v + 0.0)),
        _ => Arc::clone(column),
    }
}

struct BatchKeys {
    rows: Rows,
    /// The columns in which a NULL makes the key differ from all others.
    columns: Vec<ArrayRef>,
}

/// The keys of a batch beside those seen before.
pub(super) struct Repeats<'a> {
    seen: &'a mut Seen,
    keys: Vec<BatchKeys>,
}

impl Repeats<'_> {
    /// Has a row before had one of this row's keys? If not, they count as seen.
    ///
    /// # Errors
    /// `53200` when there are too many to keep.
    pub(super) fn is_repeated(&mut self, row: usize) -> Result<bool, SqlError> {
        let keys = &self.keys;
        let has_null = |key: &BatchKeys| key.columns.iter().any(|column| column.is_null(row));
        let repeated = self
            .seen
            .known
            .iter()
            .zip(keys)
            .any(|(known, key)| !has_null(key) && known.values.contains(key.rows.row(row).as_ref()));
        if repeated {
            return Ok(true);
        }
        for (known, key) in self.seen.known.iter_mut().zip(keys) {
            if !has_null(key) {
                let value: Box<[u8]> = key.rows.row(row).as_ref().into();
                self.seen.memory.try_grow(value.len() + OVERHEAD_BYTES).map_err(from_datafusion)?;
                known.values.insert(value);
            }
        }
        Ok(false)
    }
}
