//! openraft's own test suite for storage, on ours.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::hashes::HashQueue;
use crate::health::Health;
use crate::log_store::LogStore;
use crate::options::GroupOptions;
use crate::raft_types::{StorageError, TypeConfig};
use crate::snapshots::Covered;
use crate::state_machine::StateMachine;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&GroupOptions::new(folder.path())).unwrap();
        let health = Arc::new(Health::default());
        let covered = watch::channel(Covered::everything()).1;
        let log = LogStore::new(disk.storage, disk.mark, covered, Arc::clone(&health), &disk.folder).unwrap();
        let (hashes, _) = HashQueue::new(64);
        let (machine, _) = StateMachine::new(Arc::new(disk.snapshots), disk.newest, health, hashes);
        Ok((folder, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Suite::test_all(Builder).unwrap();
}
