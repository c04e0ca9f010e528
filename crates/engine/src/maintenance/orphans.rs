//! Removing files that nothing refers to.

use uuid::Uuid;
use wharf_lake::maintain::{self, Removed};
use wharf_values::SqlError;

use super::{head, readers, relatives};
use crate::engine::Engine;
use crate::error::from_lake;
use crate::files::progress::Progress;

/// Finds the files of a table that nothing refers to and that are from before a moment, and removes them unless this is a dry run.
///
/// `progress` has the files that are removed.
///
/// # Errors
/// `42P01` for a table that is gone, `57P03` when a node does not say what it reads, and what the lake says.
pub(crate) async fn remove_orphans(
    engine: &Engine,
    id: Uuid,
    older_than_ms: i64,
    dry_run: bool,
    progress: &Progress,
) -> Result<Removed, SqlError> {
    let table = head(engine, id).await?;
    let mut others = readers(engine, id).await?;
    others.extend(relatives(engine, id).await?);
    let found = maintain::find_orphans(&table, &others, older_than_ms).await.map_err(|error| from_lake(&error))?;
    if !dry_run && !found.locations.is_empty() {
        progress.total(found.locations.len() as u64, found.bytes);
        let removed = maintain::remove(&engine.warehouse, &found, || progress.file_done());
        removed.await.map_err(|error| from_lake(&error))?;
        tracing::info!(table = %id, files = found.locations.len(), bytes = found.bytes, "orphaned files removed");
    }
    Ok(found)
}
