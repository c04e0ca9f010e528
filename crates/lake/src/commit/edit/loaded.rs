//! Which files were loaded: added to what the table remembers ([`crate::loaded`]) after the step that adds their rows.
//!
//! What always holds: two commits that load the same file into one branch do not both succeed, unless one asked for that.

use std::sync::Arc;

use super::super::snapshot::write_state;
use crate::error::LakeError;
use crate::loaded::{self, Memory};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Files that were loaded.
#[derive(Clone, Debug)]
pub struct LoadedFiles {
    /// A digest of each.
    pub digests: Vec<String>,
    /// They may have been loaded before.
    pub again: bool,
}

impl LoadedFiles {
    /// Adds them to those that are loaded in a branch, of whose head the base is; returns the location of the new metadata file, none
    /// when somebody else was faster. A table that never had a row remembers nothing.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &Arc<LakeTable>,
    ) -> Result<Option<String>, LakeError> {
        let location = base.metadata_location();
        let known = base.loaded_digests();
        if !self.again && self.digests.iter().any(|digest| known.contains(digest.as_str())) {
            return Ok(None);
        }
        let Some(snapshot) = base.snapshot_id() else { return Ok(Some(location.to_owned())) };
        let mut memory = Memory::of(base.metadata());
        memory.add(snapshot, self.digests.iter().map(String::as_str));
        let builder = base.metadata().clone().into_builder(Some(location.to_owned()));
        let built = loaded::set(builder, memory.text()).and_then(|builder| builder.build());
        let built = built.map_err(|error| LakeError::metadata(location, error))?;
        write_state(warehouse, base, built.metadata).await.map(Some)
    }
}
