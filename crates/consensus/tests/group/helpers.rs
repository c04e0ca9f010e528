//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use wharf_catalog::{Answer, CatalogError, Command, Envelope, State, oids};
use wharf_consensus::{ConsensusError, Group, GroupOptions, GroupStatus};

/// Options with short limits.
pub(crate) fn options(folder: &Path) -> GroupOptions {
    GroupOptions { min_free_bytes: 1 << 20, min_free_bytes_to_open: 1 << 20, ..GroupOptions::new(folder) }
}

pub(crate) async fn open(folder: &Path) -> Arc<Group> {
    Group::open(options(folder)).await.unwrap()
}

/// The error of a folder that must not open.
pub(crate) async fn refused(folder: &Path) -> ConsensusError {
    match Group::open(options(folder)).await {
        Ok(group) => panic!("opened: {:?}", group.status()),
        Err(error) => error,
    }
}

pub(crate) fn bootstrap() -> Envelope {
    let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
    let command = Command::Bootstrap { database, superuser, verifier: None };
    Envelope { request_id: Uuid::from_u128(1 << 64), now_ms: 0, command }
}

/// A command that makes schema `s<number>`.
pub(crate) fn create_schema(number: u64) -> Envelope {
    let (database, owner) = (oids::FIRST_USER, oids::BOOTSTRAP_SUPERUSER);
    let command = Command::CreateSchema { database, name: format!("s{number}"), owner, if_not_exists: false };
    Envelope { request_id: Uuid::from_u128(number.into()), now_ms: 0, command }
}

pub(crate) async fn propose(group: &Group, envelope: Envelope) -> Result<Answer, CatalogError> {
    group.propose(envelope).await.unwrap()
}

/// Makes the schemas with these numbers, which must all be new.
pub(crate) async fn create_schemas(group: &Group, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        propose(group, create_schema(number)).await.unwrap();
    }
}

/// The numbers of the schemas there are, in order.
pub(crate) fn schemas(state: &State) -> Vec<u64> {
    let names = state.namespaces(oids::FIRST_USER).filter_map(|schema| schema.name.strip_prefix('s')?.parse().ok());
    let mut numbers = names.collect::<Vec<u64>>();
    numbers.sort_unstable();
    numbers
}

/// Waits until a status is as wanted.
pub(crate) async fn wait_for(group: &Group, wanted: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
    for _ in 0..1000 {
        let status = group.status();
        if wanted(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("still {:?}", group.status());
}

/// Tells a test that it has a process of its own.
const ALONE: &str = "WHARF_TEST_ALONE";

/// Failpoints are the whole process's: a test that sets them runs itself again alone. True in that process; false when it was run
/// there and has passed.
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    print!("{text}");
    false
}
