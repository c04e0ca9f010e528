//! Which files were loaded: a property of the table, added to by the commit that adds their rows.
//!
//! What always holds: two commits that load the same file do not both succeed, unless one asked for that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::snapshot::write_state;
use crate::error::LakeError;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// The property with the digests of the files that were loaded, separated by commas, the latest last.
pub const LOADED_FILES: &str = "wharf.loaded-files";

/// How many files are remembered; the oldest are forgotten.
const REMEMBERED: usize = 50_000;

/// Files that were loaded.
#[derive(Clone, Debug)]
pub struct LoadedFiles {
    /// A digest of each.
    pub digests: Vec<String>,
    /// They may have been loaded before.
    pub again: bool,
}

impl LoadedFiles {
    /// Has somebody else loaded one of them, which was not to be loaded twice?
    fn conflicts(&self, base: &LakeTable) -> bool {
        let known: HashSet<&str> = known(base).collect();
        !self.again && self.digests.iter().any(|digest| known.contains(digest.as_str()))
    }

    /// Adds them to those that were loaded; returns the location of the new metadata file, none when somebody else was faster.
    pub(super) async fn apply(
        &self,
        warehouse: &Arc<Warehouse>,
        base: &Arc<LakeTable>,
    ) -> Result<Option<String>, LakeError> {
        if self.conflicts(base) {
            return Ok(None);
        }
        let own: HashSet<&str> = self.digests.iter().map(String::as_str).collect();
        let mut all: Vec<&str> = known(base).filter(|digest| !own.contains(digest)).collect();
        all.extend(self.digests.iter().map(String::as_str));
        let forgotten = all.len().saturating_sub(REMEMBERED);
        let location = base.metadata_location();
        let built = base
            .metadata()
            .clone()
            .into_builder(Some(location.to_owned()))
            .set_properties(HashMap::from([(LOADED_FILES.to_owned(), all[forgotten..].join(","))]))
            .and_then(|builder| builder.build())
            .map_err(|error| LakeError::metadata(location, error))?;
        write_state(warehouse, base, built.metadata).await.map(Some)
    }
}

fn known(table: &LakeTable) -> impl Iterator<Item = &str> {
    let property = table.properties().get(LOADED_FILES).map(String::as_str).unwrap_or_default();
    property.split(',').filter(|digest| !digest.is_empty())
}
