//! Opens tables as one transaction sees them: as committed, or with the transaction's own changes.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::Table;
use wharf_lake::{LakeError, LakeTable, Warehouse};

/// Where the tables of one statement are read from.
#[derive(Clone)]
pub(crate) struct TableReader {
    pub(crate) warehouse: Arc<Warehouse>,
    /// Metadata that the open transaction has written and not committed, by table.
    pub(crate) uncommitted: Arc<HashMap<Uuid, String>>,
}

impl TableReader {
    /// The table at the metadata this transaction sees.
    pub(crate) async fn open(&self, table: &Table) -> Result<Arc<LakeTable>, LakeError> {
        let location = self.uncommitted.get(&table.id).unwrap_or(&table.metadata_location);
        self.warehouse.load(location).await
    }
}
