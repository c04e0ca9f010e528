//! A process that is stopped at every point of a commit's way: what it acknowledged is there, and the folder opens at once.
//!
//! The process is this test binary, started again with [`CHILD`] in its environment. It prints the number of every schema it was told is
//! made, and aborts at a failpoint after some time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wharf_consensus::{FAILPOINTS, Group, GroupOptions};

use crate::helpers::{bootstrap, create_schema, create_schemas, open, options, propose, schemas};

/// The data folder, the failpoint, and how often it is passed before the process aborts there, for a child.
const CHILD: &str = "WHARF_TEST_CHILD";

#[test]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let mut arguments = arguments.split('|');
    let (folder, failpoint) = (arguments.next().unwrap(), arguments.next().unwrap());
    let passes = AtomicU64::new(arguments.next().unwrap().parse().unwrap());
    fail::cfg_callback(failpoint, move || {
        if passes.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    })
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let group = Group::open(GroupOptions { snapshot_every: 10, ..options(Path::new(folder)) }).await.unwrap();
        propose(&group, bootstrap()).await.unwrap();
        let first = schemas(&group.local()).last().map_or(0, |last| last + 1);
        // Snapshots take their time, so that a failpoint of theirs may need many commands.
        for number in first..first + 5000 {
            propose(&group, create_schema(number)).await.unwrap();
            println!("acknowledged {number}");
        }
    });
    unreachable!("the failpoint was not passed");
}

/// Runs a child until it aborts; returns the last number that it acknowledged.
fn run_child(folder: &Path, failpoint: &str, passes: u64) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD, format!("{}|{failpoint}|{passes}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let acknowledged = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).last();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "{failpoint}: {status}");
    acknowledged
}

#[tokio::test]
async fn a_crash_at_every_failpoint_loses_nothing() {
    for failpoint in FAILPOINTS {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = None;
        // The first time the folder is new; then everything is there already.
        for passes in [1, 2, 7, 3] {
            acknowledged = run_child(folder.path(), failpoint, passes).or(acknowledged);
            let began = Instant::now();
            let group = open(folder.path()).await;
            assert!(began.elapsed() < Duration::from_secs(2), "{failpoint}: {:?}", began.elapsed());
            let found = schemas(&group.local());
            let last = found.last().copied();
            assert!(last >= acknowledged, "{failpoint}: {acknowledged:?} was acknowledged, the last is {last:?}");
            assert_eq!(found, (0..last.map_or(0, |last| last + 1)).collect::<Vec<_>>(), "{failpoint}");
            // At most the command that was in flight is there besides.
            assert!(last <= Some(acknowledged.map_or(0, |number: u64| number + 1)), "{failpoint}: {last:?}");
            acknowledged = last;
            group.shutdown().await.unwrap();
        }
        let group = open(folder.path()).await;
        propose(&group, bootstrap()).await.unwrap();
        create_schemas(&group, 10_000..10_003).await;
        group.shutdown().await.unwrap();
    }
}
