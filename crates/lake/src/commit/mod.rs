//! Commits: new metadata files over an old one.
//!
//! Each function here takes the state of a table it builds on and returns the location of the metadata file of the new
//! state ([`requested()`], which does what another engine asks for, gives the state itself). Nobody sees it until the catalog
//! swaps its pointer from the one to the other; when somebody else was faster, the
//! engine loads the new head and calls again with the same data files, which is sound for appends, and for overwriting files
//! that are still there. A [`Step`] is such a call, kept for that. What always holds: when a function returns a location,
//! everything it leads to is durable; when it fails, what it wrote has been removed where that was possible, and the data
//! files that were given to it are untouched.

mod append;
mod delta;
mod edit;
mod manifests;
mod overwrite;
mod replace;
mod requested;
mod requested_table;
mod snapshot;
mod step;
mod uncommitted;

use std::sync::Arc;

use crate::warehouse::Warehouse;
use crate::write::{self, WrittenFile};

pub use append::append;
pub use delta::delta;
pub use edit::{
    Edit, IfTaken, LoadedFiles, RefEdit, RefError, RefKind, RefRetention, Rewritten, RewrittenHead, SchemaChange,
    SeenRows, set_columns,
};
pub use manifests::{RewriteManifests, RewrittenManifests, rewrite_manifests};
pub use overwrite::overwrite;
pub use replace::{replace, truncate};
pub use requested::{RequestError, Requested, requested};
pub use requested_table::{NewRequestedTable, StagedTable, register, requested_table, requested_table_of};
pub(crate) use snapshot::write_state;
pub use step::{Step, apply, squash, still_fits};
pub use uncommitted::Uncommitted;

/// Removes data files that will not be committed.
pub async fn discard(warehouse: &Arc<Warehouse>, files: &[WrittenFile]) {
    write::discard(warehouse.store(), files).await;
}
