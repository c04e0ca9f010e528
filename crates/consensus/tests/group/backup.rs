//! Backups, and groups that begin with one.

use std::fs;
use std::path::Path;

use wharf_consensus::{Backup, ConsensusError, Group, restore};

use crate::helpers::{bootstrap, create_schema, create_schemas, open, options, propose, schemas};

async fn backup_of(folder: &Path) -> Backup {
    let group = open(folder).await;
    propose(&group, bootstrap()).await.unwrap();
    create_schemas(&group, 0..20).await;
    let backup = group.backup(1234, "file:///lake".to_owned()).await.unwrap();
    let status = group.status();
    assert_eq!(backup.info().cluster, status.cluster);
    assert_eq!(Some(backup.info().log_index), status.applied_index);
    assert_eq!(backup.info().term, status.term);
    group.shutdown().await.unwrap();
    backup
}

#[tokio::test]
async fn a_group_begins_with_a_backup_and_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup_of(&folder.path().join("old")).await.encode();
    let backup = Backup::decode(Path::new("b"), &bytes).unwrap();
    assert_eq!((backup.info().taken_ms, backup.info().warehouse.as_str()), (1234, "file:///lake"));

    let directory = folder.path().join("new");
    let restored = restore(&directory, &backup).unwrap();
    assert_ne!(restored.cluster, backup.info().cluster);
    assert_eq!(restored.node, 2, "the number of the node that was is not given again");
    // Starts that end at once, and then one that goes on.
    for _ in 0..2 {
        open(&directory).await.shutdown().await.unwrap();
    }
    let group = open(&directory).await;
    assert_eq!(schemas(&group.read().await.unwrap()), (0..20).collect::<Vec<_>>());
    let status = group.status();
    assert_eq!((status.cluster, status.node, status.leads), (restored.cluster, 2, true));
    assert!(status.term > backup.info().term && status.last_log_index > Some(backup.info().log_index));
    propose(&group, create_schema(20)).await.unwrap();
    group.trigger_snapshot().await.unwrap();
    group.shutdown().await.unwrap();
    let group = open(&directory).await;
    assert_eq!(schemas(&group.local()), (0..21).collect::<Vec<_>>());
    group.shutdown().await.unwrap();

    let error = restore(&directory, &backup).unwrap_err();
    assert!(matches!(error, ConsensusError::Io { .. }), "{error}");
}

#[tokio::test]
async fn what_an_interrupted_restore_left_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let backup = backup_of(&folder.path().join("old")).await;
    fs::create_dir_all(folder.path().join("new.restoring/snapshots")).unwrap();
    fs::write(folder.path().join("new.restoring/snapshots/99999999999999999999.snapshot"), "x").unwrap();
    restore(&folder.path().join("new"), &backup).unwrap();
    let group = Group::open(options(&folder.path().join("new"))).await.unwrap();
    assert_eq!(schemas(&group.local()).len(), 20);
    group.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup_of(&folder.path().join("old")).await.encode();
    let read = |bytes: &[u8]| Backup::decode(Path::new("b"), bytes);
    for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        assert!(matches!(read(&bytes[..length]), Err(ConsensusError::Damaged { .. })), "{length}");
    }
    for place in (0..bytes.len()).step_by(5).filter(|place| !(8..10).contains(place)) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        assert!(matches!(read(&damaged), Err(ConsensusError::Damaged { .. })), "{place}");
    }
    let mut newer = bytes;
    newer[9] = 7;
    let error = read(&newer).unwrap_err();
    assert_eq!(error.to_string(), "\"b\": the backup has format version 7, this version of wharf reads up to 1",);
}
