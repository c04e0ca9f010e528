//! A running group: commands, reads and limits.

use std::sync::Arc;
use std::time::Duration;

use wharf_catalog::Effect;
use wharf_consensus::{ConsensusError, Group, GroupOptions};

use crate::helpers::{alone, bootstrap, create_schema, create_schemas, open, options, propose, schemas, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commands_share_log_entries() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    let before = group.status().last_log_index.unwrap();
    let clients = (0..64_u64).map(|client| {
        let group = Arc::clone(&group);
        tokio::spawn(async move { create_schemas(&group, (0..10).map(|step| client * 10 + step)).await })
    });
    futures::future::try_join_all(clients).await.unwrap();
    assert_eq!(schemas(&group.local()), (0..640).collect::<Vec<_>>());
    let entries = group.status().last_log_index.unwrap() - before;
    assert!(entries < 320, "{entries} entries for 640 commands of 64 clients");
}

/// Every answered command must be seen by a read that begins after the answer, in both ways of reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_sees_what_was_answered_before() {
    for sole_voter_reads in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::open(GroupOptions { sole_voter_reads, ..options(folder.path()) }).await.unwrap();
        propose(&group, bootstrap()).await.unwrap();
        let clients = (0..16_u64).map(|client| {
            let group = Arc::clone(&group);
            tokio::spawn(async move {
                for step in 0..20 {
                    let number = client * 100 + step;
                    propose(&group, create_schema(number)).await.unwrap();
                    assert!(schemas(&group.read().await.unwrap()).contains(&number), "{number}");
                }
            })
        });
        futures::future::try_join_all(clients).await.unwrap();
        group.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    let first = propose(&group, bootstrap()).await.unwrap();
    assert!(matches!(first.effect, Effect::Created { .. }));
    assert_eq!(propose(&group, bootstrap()).await.unwrap(), first);
    let revision = group.local().revision();
    assert_eq!(propose(&group, create_schema(1)).await, propose(&group, create_schema(1)).await);
    assert_eq!(group.local().revision(), revision + 1);
}

#[tokio::test]
async fn limits_have_errors_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let group = Group::open(GroupOptions { max_command_bytes: 250, ..options(folder.path()) }).await.unwrap();
    propose(&group, bootstrap()).await.unwrap();
    let mut large = create_schema(1);
    if let wharf_catalog::Command::CreateSchema { name, .. } = &mut large.command {
        *name = "s".repeat(250);
    }
    let error = group.propose(large).await.unwrap_err();
    assert!(matches!(error, ConsensusError::CommandTooLarge { limit_bytes: 250, .. }), "{error}");
    assert_eq!(error.sqlstate(), "54000");
    propose(&group, create_schema(1)).await.unwrap();
    group.shutdown().await.unwrap();

    // More room than any disk has: as on a disk that is nearly full, commands are refused and reads are not.
    let group = Group::open(GroupOptions { min_free_bytes: u64::MAX, ..options(folder.path()) }).await.unwrap();
    let error = group.propose(create_schema(2)).await.unwrap_err();
    assert!(matches!(error, ConsensusError::DiskFull { .. }), "{error}");
    assert_eq!((error.sqlstate(), error.hint().as_deref()), ("53100", Some("Free some space.")));
    assert_eq!(schemas(&group.read().await.unwrap()), [1]);
    group.shutdown().await.unwrap();

    // And when there is not even room to open it, nothing is touched: sled would destroy its files.
    let full = GroupOptions { min_free_bytes_to_open: u64::MAX, ..options(folder.path()) };
    let error = Group::open(full).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().contains("no space left on device")), ("53100", true));
    assert_eq!(schemas(&open(folder.path()).await.local()), [1]);
}

// The failpoint blocks a thread; those who wait have another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_waits_too_long_is_told_so() {
    if !alone("running::a_command_that_waits_too_long_is_told_so") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let propose_timeout = Duration::from_millis(200);
    let slow = GroupOptions { propose_timeout, max_waiting_commands: 1, ..options(folder.path()) };
    let group = Group::open(slow).await.unwrap();
    fail::cfg("consensus::before_append", "sleep(800)").unwrap();
    // Those that come at the same time can become one entry.
    let after = async |milliseconds, envelope| {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        group.propose(envelope).await
    };
    let (first, second, third) =
        futures::join!(after(0, bootstrap()), after(50, create_schema(1)), after(100, create_schema(2)));
    // The first is on its way, the second in the queue, and for the third there is no room.
    let error = first.unwrap_err();
    assert_eq!(error.to_string(), "catalog command was not confirmed within 200 ms");
    assert_eq!((error.sqlstate(), error.detail().as_deref()), ("08007", Some("It may still be applied.")));
    assert!(matches!(second, Err(ConsensusError::Timeout { .. })), "{second:?}");
    let error = third.unwrap_err();
    assert!(matches!(error, ConsensusError::Overloaded { limit: 1 }), "{error}");
    assert_eq!((error.sqlstate(), error.hint().as_deref()), ("53400", Some("Try again.")));
    fail::remove("consensus::before_append");
    wait_for(&group, |_| schemas(&group.local()) == [1]).await;
    assert_eq!(schemas(&group.local()), [1], "what was taken is applied, what was refused is not");
    group.shutdown().await.unwrap();
}

/// The disk fills up in the midst of a write: nobody is told that it was done, and a restart with more room goes on.
#[tokio::test]
async fn an_append_that_fails_is_not_acknowledged() {
    if !alone("running::an_append_that_fails_is_not_acknowledged") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path()).await;
    propose(&group, bootstrap()).await.unwrap();
    create_schemas(&group, 0..3).await;
    fail::cfg("consensus::before_append", "return").unwrap();
    for number in 3..6 {
        let error = group.propose(create_schema(number)).await.unwrap_err();
        assert!(matches!(error, ConsensusError::DiskFull { .. }), "{error}");
        assert_eq!(error.sqlstate(), "53100");
    }
    assert_eq!(schemas(&group.local()), [0, 1, 2]);
    // Reads go on: what was answered is there, and nothing else can be answered by anyone.
    assert_eq!(schemas(&group.read().await.unwrap()), [0, 1, 2]);
    fail::remove("consensus::before_append");
    group.shutdown().await.unwrap();
    let group = open(folder.path()).await;
    assert_eq!(schemas(&group.read().await.unwrap()), [0, 1, 2]);
    create_schemas(&group, 3..6).await;
    group.shutdown().await.unwrap();
}
