//! Folders that must not open, or only in a certain way.

use std::fs;
use std::path::{Path, PathBuf};

use wharf_consensus::{ConsensusError, Group};

use crate::helpers::{bootstrap, create_schemas, open, options, propose, refused, schemas, wait_for};

/// A folder with two snapshots and a log behind them.
async fn used_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    create_schemas(&group, 0..20).await;
    group.trigger_snapshot().await.unwrap();
    wait_for(&group, |status| status.snapshot_index > Some(15)).await;
    create_schemas(&group, 20..40).await;
    group.trigger_snapshot().await.unwrap();
    wait_for(&group, |status| status.purged_index > Some(15)).await;
    create_schemas(&group, 40..45).await;
    group.shutdown().await.unwrap();
    folder
}

fn snapshot_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("snapshots")).unwrap().map(|file| file.unwrap().path());
    let mut paths =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "snapshot")).collect::<Vec<_>>();
    paths.sort();
    paths
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip_the_middle(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    let error = refused(folder.path()).await;
    assert!(matches!(error, ConsensusError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    let expected = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().ends_with(&expected), "{error}");
    group.shutdown().await.unwrap();
    open(folder.path()).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let folder = used_folder().await;
    fs::write(folder.path().join("FORMAT"), "wharf-consensus 7\n").unwrap();
    let error = refused(folder.path()).await;
    assert!(matches!(error, ConsensusError::NewerVersion { found: 7, supported: 2, .. }), "{error}");
    assert_eq!(error.hint().as_deref(), Some("Start the version of wharf that wrote it, or a newer one."));

    // Of a snapshot: there is an earlier one, but it is not for us to pass the newer over.
    fs::write(folder.path().join("FORMAT"), "wharf-consensus 2\n").unwrap();
    damage(snapshot_files(folder.path()).last().unwrap(), |bytes| bytes[9] = 7);
    let error = refused(folder.path()).await;
    assert!(matches!(error, ConsensusError::NewerVersion { found: 7, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_snapshot_is_set_aside_for_the_one_before() {
    for change in
        [(|bytes| flip_the_middle(bytes)) as fn(&mut Vec<u8>), |bytes| bytes.truncate(100), |bytes| bytes.clear()]
    {
        let folder = used_folder().await;
        let newest = snapshot_files(folder.path()).pop().unwrap();
        damage(&newest, change);
        let group = open(folder.path()).await;
        assert_eq!(schemas(&group.read().await.unwrap()), (0..45).collect::<Vec<_>>());
        assert!(PathBuf::from(format!("{}.damaged", newest.display())).exists());
        // And it goes on: the next snapshot comes, and the log is purged behind it.
        group.trigger_snapshot().await.unwrap();
        create_schemas(&group, 45..50).await;
        wait_for(&group, |status| status.snapshot_index > Some(45)).await;
        group.shutdown().await.unwrap();
        let group = open(folder.path()).await;
        assert_eq!(schemas(&group.local()), (0..50).collect::<Vec<_>>());
        group.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn without_a_readable_snapshot_a_purged_log_is_not_enough() {
    let folder = used_folder().await;
    let files = snapshot_files(folder.path());
    assert_eq!(files.len(), 2);
    for file in &files {
        damage(file, |bytes| flip_the_middle(bytes));
    }
    let error = refused(folder.path()).await;
    assert!(matches!(error, ConsensusError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("no readable snapshot has the log entries up to"), "{error}");
    assert!(error.hint().unwrap().starts_with("Restore the catalog"));
}

#[tokio::test]
async fn a_lost_log_is_noticed() {
    // The whole of sled is gone.
    let folder = used_folder().await;
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let error = refused(folder.path()).await;
    assert!(error.to_string().contains("were acknowledged"), "{error}");

    // The file that tells the version is gone.
    let folder = used_folder().await;
    fs::remove_file(folder.path().join("FORMAT")).unwrap();
    let error = refused(folder.path()).await;
    assert!(error.to_string().contains("the file FORMAT is missing"), "{error}");

    // A torn mark says nothing and is no error.
    let folder = used_folder().await;
    damage(&folder.path().join("FLUSHED"), |bytes| flip_the_middle(bytes));
    assert_eq!(schemas(&open(folder.path()).await.local()), (0..45).collect::<Vec<_>>());
}

/// Whatever happens to sled's bytes: all that was acknowledged is there, or the folder does not open and says why.
#[tokio::test]
async fn bad_bytes_in_sled_lose_nothing_silently() {
    let folder = used_folder().await;
    let log = folder.path().join("log");
    let files = fs::read_dir(&log).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let files = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>();
    let (mut opened, mut refused) = (0, 0);
    for (path, bytes) in &files {
        // Damage in places spread over the file, of one byte and of a block.
        let places = (0..12).map(|place| bytes.len() * place / 12);
        for (place, length) in places.flat_map(|place| [(place, 0), (place, 1), (place, 4096)]) {
            // sled changes its files when it opens them.
            fs::remove_dir_all(&log).unwrap();
            fs::create_dir_all(log.join("blobs")).unwrap();
            for (path, bytes) in &files {
                fs::write(path, bytes).unwrap();
            }
            damage(path, |bytes| bytes.iter_mut().skip(place).take(length).for_each(|byte| *byte ^= 0xa5));
            match Group::open(options(folder.path())).await {
                Ok(group) => {
                    opened += 1;
                    let found = schemas(&group.local());
                    assert_eq!(found, (0..45).collect::<Vec<_>>(), "{}: {length} bytes at {place}", path.display());
                    group.shutdown().await.unwrap();
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, ConsensusError::Damaged { .. }), "{error}");
                }
            }
        }
    }
    assert!(refused > 0 && opened > 0, "opened {opened}, refused {refused}");
}
