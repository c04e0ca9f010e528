//! Functions about PostgreSQL's partitions, which are tables of their own. Wharf's partitions are parts of one table, so
//! no table has an ancestor.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use wharf_values::SqlError;

use super::call::{Call, Result};
use super::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[immutable("pg_partition_ancestors", "oid -> regclass[]", no_tables)];

fn no_tables(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = call.return_type() else {
        return Err(SqlError::internal("a set of tables is a list"));
    };
    let items = new_empty_array(item.data_type());
    let list = ListArray::try_new(Arc::clone(item), OffsetBuffer::new_zeroed(call.rows), items, call.nulls.clone());
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| SqlError::internal(error.to_string()))
}
