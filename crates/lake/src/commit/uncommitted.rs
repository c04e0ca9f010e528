//! Files that nobody refers to unless the catalog takes the commit they were written for.
//!
//! What always holds: when this is dropped, what it knows is removed in the background; but not while it is in doubt whether
//! the catalog refers to it. A crash leaves the files where they are.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::ManifestStatus;

use crate::error::LakeError;
use crate::manifest;
use crate::travel::Version;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// Data files and states of a table, to be removed unless they are committed.
pub struct Uncommitted {
    warehouse: Arc<Warehouse>,
    files: Vec<String>,
    states: Vec<String>,
    in_doubt: bool,
}

impl Uncommitted {
    /// Nothing yet.
    pub fn new(warehouse: &Arc<Warehouse>) -> Uncommitted {
        Uncommitted { warehouse: Arc::clone(warehouse), files: Vec::new(), states: Vec::new(), in_doubt: false }
    }

    /// Takes data files in.
    pub fn add_files(&mut self, files: &[WrittenFile]) {
        self.files.extend(files.iter().map(|file| file.location().to_owned()));
    }

    /// Takes in what a function of this module has written: the metadata file at the location, and the manifests that came
    /// with it.
    pub fn add_state(&mut self, location: &str) {
        self.states.push(location.to_owned());
    }

    /// Takes in a metadata file alone: the manifests behind it are another writer's.
    pub fn add_metadata(&mut self, location: &str) {
        self.files.push(location.to_owned());
    }

    /// Takes in what another has.
    pub fn absorb(&mut self, mut other: Uncommitted) {
        self.files.append(&mut other.files);
        self.states.append(&mut other.states);
    }

    /// Lets go of data files that are going to be committed another way.
    pub fn let_go(&mut self, files: &[WrittenFile]) {
        let kept: HashSet<_> = files.iter().map(WrittenFile::location).collect();
        self.files.retain(|file| !kept.contains(file.as_str()));
    }

    /// While the catalog is asked nobody knows whether it refers to the files, and when it has taken them it does.
    pub fn set_in_doubt(&mut self, in_doubt: bool) {
        self.in_doubt = in_doubt;
    }
}

impl Drop for Uncommitted {
    fn drop(&mut self) {
        if self.in_doubt || (self.files.is_empty() && self.states.is_empty()) {
            return;
        }
        let (files, states) = (std::mem::take(&mut self.files), std::mem::take(&mut self.states));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let warehouse = Arc::clone(&self.warehouse);
            drop(runtime.spawn(async move { remove(&warehouse, files, states).await }));
        }
    }
}

async fn remove(warehouse: &Arc<Warehouse>, files: Vec<String>, states: Vec<String>) {
    // The youngest first: what is before a state says what it has brought.
    for state in states.into_iter().rev() {
        match written_for(warehouse, &state).await {
            Ok(locations) => warehouse.store().discard(locations).await,
            Err(error) => tracing::warn!(location = %state, %error, "could not remove the files of a given-up commit"),
        }
    }
    warehouse.store().discard(files).await;
}

/// The metadata file of a state, and the manifests and delete files of the snapshots that it has and the state before it has not. A
/// state without one before it has brought none: the snapshot of a clone is that of its source.
async fn written_for(warehouse: &Arc<Warehouse>, location: &str) -> Result<Vec<String>, LakeError> {
    let table = warehouse.load(location).await?;
    let mut locations = Vec::new();
    if let Some(before) = table.metadata().metadata_log().last() {
        let before = warehouse.load(&before.metadata_file).await?;
        let is_new = |id: i64| before.metadata().snapshot_by_id(id).is_none();
        for snapshot in table.metadata().snapshots().filter(|snapshot| is_new(snapshot.snapshot_id())) {
            let state = warehouse.load_at(location, &Version::Snapshot(snapshot.snapshot_id())).await?;
            let manifests = state.manifests().await?.iter();
            let own = manifests.filter(|manifest| manifest.added_snapshot_id == snapshot.snapshot_id());
            for file in own {
                if manifest::has_deletes(file) {
                    // Delete files are written by the commit itself; several vectors are in one file.
                    let entries = table.entries(file).await?;
                    let added = entries.iter().filter(|entry| entry.status() == ManifestStatus::Added);
                    locations.extend(added.map(|entry| entry.file_path().to_owned()).collect::<HashSet<_>>());
                }
                locations.push(file.manifest_path.clone());
            }
            locations.push(snapshot.manifest_list().to_owned());
        }
    }
    // The last, since it leads to the others.
    locations.push(location.to_owned());
    Ok(locations)
}
