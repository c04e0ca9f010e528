//! Rewriting manifests: a commit that changes no row.

use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, TableChange};
use wharf_lake::commit::{self, RewriteManifests, Uncommitted};
use wharf_values::SqlError;

use super::head;
use crate::engine::Engine;
use crate::error::{from_catalog, from_lake};

/// How many manifests went and came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) rewritten: usize,
    pub(crate) added: usize,
}

/// Writes manifests of a table anew. When somebody else was faster, it is done again for the new head.
///
/// # Errors
/// `42P01` for a table that is gone, `40001` when others keep changing the table, and what the lake says.
pub(crate) async fn rewrite_manifests(
    engine: &Engine,
    id: Uuid,
    which: RewriteManifests,
) -> Result<Rewritten, SqlError> {
    for _ in 0..engine.options.commit_attempts.max(1) {
        let base = head(engine, id).await?;
        let done = commit::rewrite_manifests(&engine.warehouse, &base, which).await;
        let Some(done) = done.map_err(|error| from_lake(&error))? else {
            return Ok(Rewritten::default());
        };
        let mut written = Uncommitted::new(&engine.warehouse);
        written.add_state(&done.location);
        let change = TableChange {
            id,
            expected: base.metadata_location().to_owned(),
            new: done.location.clone(),
            columns: None,
        };
        written.set_in_doubt(true);
        let result = engine.try_propose(Command::CommitTables { changes: vec![change] }).await?;
        written.set_in_doubt(result.is_ok());
        match result {
            Ok(_) => {
                tracing::info!(table = %id, manifests = done.rewritten, into = done.added, "manifests rewritten");
                return Ok(Rewritten { rewritten: done.rewritten, added: done.added });
            }
            Err(CatalogError::CommitConflict { .. }) => {}
            Err(other) => return Err(from_catalog(&other)),
        }
    }
    Err(crate::session::conflict())
}
