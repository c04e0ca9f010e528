//! Edits: changes of a table's metadata that leave its rows alone.
//!
//! One file for each kind. An edit is kept by the transaction it belongs to and made again on another head when somebody else
//! was faster, as every [`Step`](super::Step) is.

mod columns;

use std::sync::Arc;

use wharf_catalog::Column;

use crate::error::LakeError;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

pub use columns::set_columns;

/// A change of a table's metadata alone.
#[derive(Clone, Debug)]
pub enum Edit {
    /// The table has these columns; see [`set_columns`].
    Columns(Vec<Column>),
}

impl Edit {
    /// The columns that the table has after it; none: those it had.
    pub fn columns(&self) -> Option<&[Column]> {
        match self {
            Edit::Columns(columns) => Some(columns),
        }
    }

    /// Makes the edit; returns the location of the new metadata file.
    pub(super) async fn apply(&self, warehouse: &Arc<Warehouse>, base: &Arc<LakeTable>) -> Result<String, LakeError> {
        match self {
            Edit::Columns(columns) => set_columns(warehouse, base, columns).await,
        }
    }
}
