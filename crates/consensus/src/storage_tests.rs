//! openraft's own test suite for storage, on ours.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::data_folder::DataFolder;
use crate::flushed::FlushedMark;
use crate::health::Health;
use crate::log_store::LogStore;
use crate::raft_types::{StorageError, TypeConfig};
use crate::sled_storage::SledStorage;
use crate::snapshots::SnapshotStore;
use crate::state_machine::StateMachine;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let data = Arc::new(DataFolder::open(folder.path()).unwrap());
        let health = Arc::new(Health::default());
        let storage = Arc::new(SledStorage::open(data.log(), Arc::clone(&data)).unwrap());
        let mark = FlushedMark::open(&data.flushed()).unwrap();
        let log = LogStore::new(storage, mark, Arc::clone(&health), &data.log()).unwrap();
        let (snapshots, newest) = SnapshotStore::open(data).unwrap();
        let (machine, _) = StateMachine::new(Arc::new(snapshots), newest, health);
        Ok((folder, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Suite::test_all(Builder).unwrap();
}
