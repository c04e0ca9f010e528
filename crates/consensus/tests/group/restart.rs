//! Restarts.

use std::time::{Duration, Instant};

use wharf_catalog::{CatalogError, state_hash};
use wharf_consensus::{Group, GroupOptions};

use crate::helpers::{bootstrap, create_schema, create_schemas, open, options, propose, schemas, wait_for};

#[tokio::test]
async fn a_restart_keeps_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    create_schemas(&group, 0..20).await;
    let before = state_hash(&group.local());
    group.shutdown().await.unwrap();

    let began = Instant::now();
    let group = open(folder.path()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(schemas(&group.read().await.unwrap()), (0..20).collect::<Vec<_>>());
    assert_eq!(state_hash(&group.local()), before);
    // The memory of requests has survived too.
    let answer = propose(&group, create_schema(3)).await;
    assert_eq!(answer, propose(&group, create_schema(3)).await);
    assert!(answer.is_ok());
    create_schemas(&group, 20..25).await;
    group.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_group_that_was_dropped_without_shutdown_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    create_schemas(&group, 0..5).await;
    drop(group);
    // Its tasks end in the background.
    let mut opened = Group::open(options(folder.path())).await;
    for _ in 0..200 {
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        opened = Group::open(options(folder.path())).await;
    }
    assert_eq!(schemas(&opened.unwrap().local()), (0..5).collect::<Vec<_>>());
}

#[tokio::test]
async fn snapshots_keep_the_log_short() {
    let folder = tempfile::tempdir().unwrap();
    let short = || GroupOptions { snapshot_every: 10, ..options(folder.path()) };
    let group = Group::open(short()).await.unwrap();
    propose(&group, bootstrap()).await.unwrap();
    let mut made = 95;
    create_schemas(&group, 0..made).await;
    // A snapshot that is being written while commands come delays the next, so there may have to be a few commands more.
    while group.status().purged_index < Some(70) {
        assert!(made < 1000, "{:?}", group.status());
        create_schemas(&group, made..made + 1).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        made += 1;
    }
    let snapshots = || {
        let files = std::fs::read_dir(folder.path().join("snapshots")).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
        names.sort();
        names
    };
    let status = wait_for(&group, |status| {
        let first = status.purged_index.map(|purged| format!("{:020}.snapshot", purged + 1));
        snapshots().first() == first.as_ref()
    })
    .await;
    // The log before the snapshot before the newest is gone, and no more than that.
    assert!(status.snapshot_index > status.purged_index, "{status:?}");
    group.shutdown().await.unwrap();

    // One more snapshot may have come meanwhile.
    let (names, status) = (snapshots(), group.status());
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0] >= format!("{:020}.snapshot", status.purged_index.unwrap() + 1), "{names:?} {status:?}");

    let group = Group::open(short()).await.unwrap();
    assert_eq!(schemas(&group.read().await.unwrap()), (0..made).collect::<Vec<_>>());
    assert_eq!(
        propose(&group, create_schema(1_000_000)).await.map(|_| ()),
        Ok(()),
        "the log goes on after a restart from a snapshot"
    );
    let retried = propose(&group, create_schema(2)).await;
    assert!(!matches!(retried, Err(CatalogError::DuplicateSchema { .. })), "the snapshot has the memory of requests");
    group.shutdown().await.unwrap();
}

/// One entry may have hundreds of commands: counted by entries alone, the log of a busy node got so long that its start took seconds.
#[tokio::test]
async fn a_log_of_few_large_entries_is_kept_short_too() {
    let folder = tempfile::tempdir().unwrap();
    let (snapshot_every, snapshot_log_bytes) = (1_000_000, 64 << 10);
    let group =
        Group::open(GroupOptions { snapshot_every, snapshot_log_bytes, ..options(folder.path()) }).await.unwrap();
    propose(&group, bootstrap()).await.unwrap();
    let mut made = 0;
    while group.status().purged_index.is_none() {
        assert!(made < 5000, "{:?}", group.status());
        let together = (made..made + 50).map(|number| propose(&group, create_schema(number)));
        futures::future::try_join_all(together).await.unwrap();
        made += 50;
    }
    // No more often than that: the first snapshot came after as many bytes, and the second after as many again.
    assert!(made >= 300, "{made}");
    group.shutdown().await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_after_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    group.shutdown().await.unwrap();
    group.shutdown().await.unwrap();
    let error = group.propose(create_schema(1)).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("57P01", "catalog is shutting down"));
    assert_eq!(group.read().await.unwrap_err().sqlstate(), "57P01");
    // Another group in the same process can have the folder while the first is still there.
    let second = open(folder.path()).await;
    assert!(second.local().is_bootstrapped());
    assert!(group.local().is_bootstrapped());
}
