//! What keeps tables small, for procedures and for the background.
//!
//! What always holds: a file is removed only after the catalog has taken a state of its table that does not refer to it, and not
//! while an open statement or transaction, of this node or another, may still read it.

mod background;
mod compact;
mod dropped;
mod expire;
mod instants;
mod manifests;
mod orphans;
mod readers;

pub use background::MaintenanceOptions;
pub(crate) use compact::{Rewrite, compact};
pub(crate) use expire::expire;
pub(crate) use instants::Instants;
pub(crate) use manifests::rewrite_manifests;
pub(crate) use orphans::remove_orphans;
use readers::{lasting_readers, readers, relatives};

use std::sync::Arc;

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
