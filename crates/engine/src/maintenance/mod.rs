//! What keeps tables small, for procedures and for the background.
//!
//! What always holds: a file is removed only after the catalog has taken a state of its table that does not refer to it, and not
//! while an open statement or transaction may still read it.

mod background;
mod compact;
mod dropped;
mod expire;
mod instants;
mod manifests;
mod orphans;

pub use background::MaintenanceOptions;
pub(crate) use compact::{Rewrite, compact};
pub(crate) use expire::expire;
pub(crate) use instants::Instants;
pub(crate) use manifests::rewrite_manifests;
pub(crate) use orphans::remove_orphans;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;
use wharf_catalog::CatalogError;
use wharf_lake::LakeTable;
use wharf_values::SqlError;

use crate::engine::Engine;
use crate::error::{from_catalog, from_lake};

/// The head of a table. The instant of the catalog is let go of: it would keep the files of the head from being removed.
async fn head(engine: &Engine, id: Uuid) -> Result<Arc<LakeTable>, SqlError> {
    let catalog = engine.catalog().await?;
    let table = catalog.table_by_id(id).ok_or_else(|| from_catalog(&CatalogError::TableDropped { id }))?;
    engine.warehouse.load(&table.metadata_location).await.map_err(|error| from_lake(&error))
}

/// How long a removal waits for statements that may still read what is to go.
const READERS_WAIT: Duration = Duration::from_secs(3);
/// How often it looks.
const READERS_PAUSE: Duration = Duration::from_millis(20);

/// As [`readers`], after statements that were about to end have ended.
async fn lasting_readers(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
    let deadline = Instant::now() + READERS_WAIT;
    loop {
        let found = readers(engine, id).await?;
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        let head = head(engine, id).await?;
        if found.iter().all(|state| state.metadata_location() == head.metadata_location()) {
            return Ok(found);
        }
        drop(found);
        tokio::time::sleep(READERS_PAUSE).await;
    }
}

/// The states of other tables that may refer to the same files: of clones, of what this is a clone of, and of what has been
/// dropped and can come back. To be asked after the commit that gave files up: no clone is made of a former head.
async fn relatives(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
    let catalog = engine.catalog().await?;
    let heads: Vec<_> = catalog.relatives(id).map(|table| (table.id, table.metadata_location.clone())).collect();
    drop(catalog);
    let mut states = Vec::new();
    for (relative, location) in heads {
        states.push(engine.warehouse.load(&location).await.map_err(|error| from_lake(&error))?);
        states.extend(readers(engine, relative).await?);
    }
    Ok(states)
}

/// The states of a table, besides its head, whose files are needed: those that statements read now, and those that open
/// transactions may still read. Plans that are only kept read nothing.
async fn readers(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
    engine.kept_plans.let_go();
    let mut states = engine.warehouse.states_being_read(id);
    for location in engine.instants.locations(id) {
        if states.iter().all(|state| state.metadata_location() != location) {
            states.push(engine.warehouse.load(&location).await.map_err(|error| from_lake(&error))?);
        }
    }
    Ok(states)
}
