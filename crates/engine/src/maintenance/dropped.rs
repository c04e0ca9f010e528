//! Dropped tables that can no longer come back: they are forgotten, and then their files go.

use wharf_catalog::{CatalogError, Command, Effect};
use wharf_lake::maintain;
use wharf_values::SqlError;

use super::{readers, relatives};
use crate::engine::{Engine, now_us};
use crate::error::{from_catalog, from_lake};

/// Forgets what was dropped longer ago than tables are kept, and removes the files of it that no other table and no reader
/// needs. A table that another is a clone of stays until that is gone.
///
/// # Errors
/// What the catalog and the lake say; what is left of a table then stays where it is.
pub(crate) async fn purge_dropped(engine: &Engine) -> Result<(), SqlError> {
    let retention_ms = i64::try_from(engine.options.dropped_retention.as_millis()).unwrap_or(i64::MAX);
    let before_ms = (now_us() / 1000).saturating_sub(retention_ms);
    let catalog = engine.catalog().await?;
    let due: Vec<_> = catalog
        .dropped()
        .filter(|dropped| dropped.purged || dropped.dropped_ms < before_ms)
        .filter(|dropped| catalog.borrowers(dropped.table.id).next().is_none())
        .map(|dropped| dropped.table.clone())
        .collect();
    drop(catalog);
    for table in due {
        // Once it is forgotten nobody can begin to read it, so who reads it now is waited for, until another round.
        if !readers(engine, table.id).await?.is_empty() {
            continue;
        }
        let location = match engine.warehouse.load(&table.metadata_location).await {
            Ok(state) => state.location().to_owned(),
            Err(error) => {
                tracing::warn!(table = %table.name, %error, "a dropped table cannot be read, so its files stay");
                continue;
            }
        };
        // Asked while the catalog still knows whose files the table borrows.
        let needed = relatives(engine, table.id).await?;
        match engine.try_propose(Command::ForgetDropped { ids: vec![table.id] }).await? {
            Ok(answer) if matches!(answer.effect, Effect::Dropped { .. }) => {}
            // Brought back or cloned meanwhile.
            Ok(_) | Err(CatalogError::StillCloned { .. }) => continue,
            Err(other) => return Err(from_catalog(&other)),
        }
        let files = maintain::find_dropped(&engine.warehouse, &location, &needed).await;
        let files = files.map_err(|error| from_lake(&error))?;
        maintain::remove(&engine.warehouse, &files, || {}).await.map_err(|error| from_lake(&error))?;
        tracing::info!(table = %table.name, files = files.locations.len(), bytes = files.bytes, "dropped table purged");
    }
    Ok(())
}
