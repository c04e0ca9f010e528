//! Expiring snapshots: a commit, and then the removal of what only they had.

use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, TableChange};
use wharf_lake::LakeTable;
use wharf_lake::maintain::{self, ExpireOptions, Removed};
use wharf_values::SqlError;

use super::{head, lasting_readers, relatives};
use crate::engine::{Engine, now_us};
use crate::error::{from_catalog, from_lake};
use crate::files::progress::Progress;

/// What is gone.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) snapshots: Vec<i64>,
    pub(crate) refs: Vec<String>,
    pub(crate) files: Vec<String>,
}

/// Expires what a table may forget, and removes the files that nothing else needs.
///
/// `progress` has the files that are removed.
///
/// # Errors
/// `42P01` for a table that is gone, `22023` for options that make no sense, and what the lake says. `40001` when others
/// keep changing the table.
pub(crate) async fn expire(
    engine: &Engine,
    id: Uuid,
    options: &ExpireOptions,
    progress: &Progress,
) -> Result<Done, SqlError> {
    for _ in 0..engine.options.commit_attempts.max(1) {
        let base = head(engine, id).await?;
        let expiry = maintain::expire(&engine.warehouse, &base, options, now_us() / 1000).await;
        let Some(expiry) = expiry.map_err(|error| from_lake(&error))? else {
            return Ok(Done::default());
        };
        let change = TableChange {
            id,
            expected: base.metadata_location().to_owned(),
            new: expiry.location.clone(),
            columns: None,
        };
        match engine.try_propose(Command::CommitTables { changes: vec![change] }).await? {
            Ok(_) => {}
            Err(CatalogError::CommitConflict { .. }) => continue,
            Err(other) => return Err(from_catalog(&other)),
        }
        let done = Done { snapshots: expiry.snapshots, refs: expiry.refs, files: Vec::new() };
        let files = match free(engine, &base, &done.snapshots).await {
            Ok(files) => files,
            // The snapshots are gone; their files go as orphans do.
            Err(error) => {
                tracing::warn!(table = %id, %error, "files of expired snapshots stay for now");
                return Ok(done);
            }
        };
        progress.total(files.locations.len() as u64, files.bytes);
        let removed = maintain::remove(&engine.warehouse, &files, || progress.file_done());
        removed.await.map_err(|error| from_lake(&error))?;
        tracing::info!(table = %id, snapshots = done.snapshots.len(), files = files.locations.len(), "snapshots expired");
        return Ok(Done { files: files.locations, ..done });
    }
    Err(crate::session::conflict())
}

/// The files that only these snapshots had and nobody needs.
async fn free(engine: &Engine, base: &Arc<LakeTable>, snapshots: &[i64]) -> Result<Removed, SqlError> {
    let id = base.id();
    let mut needed = lasting_readers(engine, id).await?;
    needed.push(head(engine, id).await?);
    needed.extend(relatives(engine, id).await?);
    maintain::files_only_of(base, snapshots, &needed).await.map_err(|error| from_lake(&error))
}
