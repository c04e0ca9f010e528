//! Edits: changes of a table's metadata. Most leave its rows alone; a schema may come with the rows under it.
//!
//! One file for each kind. An edit is kept by the transaction it belongs to and made again on another head when somebody else
//! was faster, as every [`Step`](super::Step) is.

mod columns;
mod layout;
mod loaded;
mod properties;
mod refs;

use std::sync::Arc;

use wharf_catalog::Column;

use super::uncommitted::Uncommitted;
use crate::error::LakeError;
use crate::partition::{PartitionChange, SortTerm};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

pub use columns::{Rewritten, RewrittenHead, SchemaChange, set_columns};
pub use loaded::LoadedFiles;
pub use refs::{IfTaken, RefEdit, RefError, RefKind, RefRetention, SeenRows};

/// A change of a table's metadata alone.
#[derive(Clone)]
pub enum Edit {
    /// The table has these columns; see [`set_columns`].
    Columns(Vec<Column>),
    /// The table has another schema, and with it perhaps other files.
    Schema(Box<SchemaChange>),
    /// Rows that are written from now on are partitioned otherwise.
    Partition(PartitionChange),
    /// The table has the rows of these files.
    Loaded(LoadedFiles),
    /// Rows that are written from now on are in this order; none: in any.
    Sort(Vec<SortTerm>),
    /// Table properties come and go.
    Properties {
        /// Names and their new values.
        set: Vec<(String, String)>,
        /// Names of those that go.
        removed: Vec<String>,
    },
    /// Branches and tags, and where they are.
    Refs {
        /// The change.
        edit: RefEdit,
        /// What was seen of the rows that it needs to fit.
        seen: Option<SeenRows>,
    },
}

impl Edit {
    /// The columns that the table has after it; none: those it had.
    pub fn columns(&self) -> Option<&[Column]> {
        match self {
            Edit::Columns(columns) => Some(columns),
            Edit::Partition(_) | Edit::Sort(_) | Edit::Properties { .. } => None,
            Edit::Schema(change) => Some(&change.columns),
            Edit::Refs { .. } | Edit::Loaded(_) => None,
        }
    }

    /// Was it made of the rows that the table had, so that it cannot be made again over others?
    pub fn depends_on_rows(&self) -> bool {
        match self {
            Edit::Columns(_)
            | Edit::Partition(_)
            | Edit::Sort(_)
            | Edit::Properties { .. }
            | Edit::Refs { .. }
            | Edit::Loaded(_) => false,
            Edit::Schema(change) => change.checked,
        }
    }

    /// The data files that it brings.
    pub fn files(&self) -> &[WrittenFile] {
        match self {
            Edit::Columns(_)
            | Edit::Partition(_)
            | Edit::Sort(_)
            | Edit::Properties { .. }
            | Edit::Refs { .. }
            | Edit::Loaded(_) => &[],
            Edit::Schema(change) => {
                change.rewritten.as_ref().map(|rewritten| rewritten.files.as_slice()).unwrap_or_default()
            }
        }
    }

    /// Does it leave every branch at its snapshot, or at another that is there already?
    pub(super) fn is_metadata_alone(&self) -> bool {
        match self {
            Edit::Schema(change) => change.rewritten.is_none(),
            _ => true,
        }
    }

    /// Makes the edit; returns the location of the new metadata file, none when somebody else was faster. States on the way to it are put
    /// into `written`.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &Arc<LakeTable>,
        written: &mut Uncommitted,
    ) -> Result<Option<String>, LakeError> {
        match self {
            Edit::Columns(columns) => set_columns(warehouse, base, &SchemaChange::of(base, columns)).await.map(Some),
            Edit::Schema(change) => change.apply(warehouse, base, written).await,
            Edit::Loaded(files) => files.apply(warehouse, base).await,
            Edit::Partition(change) => layout::change_partition(warehouse, base, change).await.map(Some),
            Edit::Sort(terms) => layout::set_order(warehouse, base, terms).await.map(Some),
            Edit::Properties { set, removed } => properties::change(warehouse, base, set, removed).await.map(Some),
            Edit::Refs { edit, seen } => edit.apply(warehouse, base, seen.as_ref()).await,
        }
    }
}
