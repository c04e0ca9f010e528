//! openraft's own test suite for storage, on ours; and what it does not ask for.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::hashes::HashQueue;
use crate::health::Health;
use crate::log_growth::LogGrowth;
use crate::log_store::LogStore;
use crate::options::GroupOptions;
use crate::raft_types::{LogId, StorageError, TypeConfig};
use crate::snapshots::Covered;
use crate::state_machine::StateMachine;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&GroupOptions::new(folder.path())).unwrap();
        let health = Arc::new(Health::default());
        let covered = watch::channel(Covered::upto(u64::MAX)).1;
        let log = LogStore::new(disk.storage, disk.mark, covered, Arc::clone(&health), &disk.folder).unwrap();
        let (hashes, _) = HashQueue::new(64);
        let (growth, _) = LogGrowth::new(u64::MAX, disk.snapshots.newest_bytes());
        let (machine, _) = StateMachine::new(Arc::new(disk.snapshots), disk.newest, health, hashes, growth);
        Ok((folder, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Suite::test_all(Builder).unwrap();
}

/// openraft purges at once what a leader's snapshot has, while that is still being written: a crash in between left neither.
#[tokio::test]
async fn the_log_is_purged_when_its_snapshot_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(&GroupOptions::new(folder.path())).unwrap();
    let (covers, covered) = watch::channel(Covered::upto(6));
    let mut log = LogStore::new(disk.storage, disk.mark, covered, Arc::default(), &disk.folder).unwrap();
    let purgeable = LogId::new(CommittedLeaderId::new(1, 1), 7);
    {
        let mut purge = std::pin::pin!(log.purge(purgeable));
        assert!(futures::poll!(purge.as_mut()).is_pending());
        covers.send_replace(Covered::upto(7));
        purge.await.unwrap();
    }
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(purgeable));
    covers.send_replace(Covered::nothing_ever());
    assert!(log.purge(LogId::new(CommittedLeaderId::new(1, 1), 8)).await.is_err(), "the snapshot was not written");
}
