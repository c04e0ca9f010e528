//! Who still reads a table: statements and transactions of all nodes, and other tables that have files of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;
use wharf_lake::LakeTable;
use wharf_values::{SqlError, SqlState};

use super::head;
use crate::engine::Engine;
use crate::error::from_lake;

/// How long a removal waits for statements that may still read what is to go.
const READERS_WAIT: Duration = Duration::from_secs(3);
/// How often it looks.
const READERS_PAUSE: Duration = Duration::from_millis(50);

/// As [`readers`], after statements that were about to end have ended.
pub(super) async fn lasting_readers(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
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
pub(super) async fn relatives(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
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
/// transactions may still read, on all nodes. To be asked after the commit that gave files up: each node answers when it has applied
/// that, so no statement that begins after the answer sees a state that still had them.
///
/// # Errors
/// `57P03` when a node does not say what it reads.
pub(super) async fn readers(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
    match states_needed(engine, id).await {
        // A transaction elsewhere may have ended between its node's answer and now, and taken along the state that it had written.
        Err(error) if error.code != SqlState::CANNOT_CONNECT_NOW => states_needed(engine, id).await,
        found => found,
    }
}

async fn states_needed(engine: &Engine, id: Uuid) -> Result<Vec<Arc<LakeTable>>, SqlError> {
    let (mut locations, mut states) = engine.read_here(id).await?;
    // After that, since with the catalog as of now comes who is in the cluster now.
    locations.extend(engine.queries.read_elsewhere(&engine.group, id).await.map_err(|node| unanswered(&node))?);
    for location in locations {
        if states.iter().all(|state| state.metadata_location() != location) {
            states.push(engine.warehouse.load(&location).await.map_err(|error| from_lake(&error))?);
        }
    }
    Ok(states)
}

fn unanswered(node: &str) -> SqlError {
    let message = format!("the node at {node} does not say what its statements read");
    SqlError::new(SqlState::CANNOT_CONNECT_NOW, message)
        .with_detail("Files that it may still need stay.")
        .with_hint("Try again when it answers, or remove it from the cluster if it is gone for good.")
}

impl Engine {
    /// The metadata files of the states of a table that are read on this node, or may still be. Plans that are only kept read nothing.
    ///
    /// # Errors
    /// What keeps the catalog's group from answering.
    pub(crate) async fn states_read(&self, id: Uuid) -> Result<Vec<String>, SqlError> {
        let (mut locations, states) = self.read_here(id).await?;
        locations.extend(states.iter().map(|state| state.metadata_location().to_owned()));
        Ok(locations)
    }

    /// The metadata files that the table has at open instants, and the states of it that are scanned.
    async fn read_here(&self, id: Uuid) -> Result<(Vec<String>, Vec<Arc<LakeTable>>), SqlError> {
        // This node may lag behind the one that asks. A statement that has begun and has no instant yet gets none from before this.
        drop(self.catalog().await?);
        self.kept_plans.let_go();
        // In this order: a statement has its scans before it lets go of its instant.
        let locations = self.instants.locations(id);
        Ok((locations, self.warehouse.states_being_read(id)))
    }
}
