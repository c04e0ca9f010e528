//! Groups of nodes of different builds, on real folders with a transport in memory between them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use uuid::Uuid;
use wharf_catalog::{
    Column, Command, Envelope, ForeignSource, RelationName, SqlType, encode_envelope, oids, state_hash,
};

use crate::disk::Disk;
use crate::error::ConsensusError;
use crate::group::{Entrance, Group};
use crate::options::{GroupOptions, Role};
use crate::test_commands::{bootstrap, create_schema, drop_foreign_table};
use crate::transport::{Peer, Transport, TransportError};
use crate::wire::{self, Head, Hello, ProposeAnswer, Request, StateHashAnswer};

/// Of a build that reads version 1 of the catalog's format, and says so.
const OLDER: Hello = Hello { catalog: Some(1), ..Hello::OURS };
/// Of one that does not say what it reads.
const SILENT: Hello = Hello { catalog: None, ..Hello::OURS };

/// Who listens at which address.
#[derive(Clone, Default)]
struct Switchboard(Arc<Mutex<BTreeMap<String, Arc<Group>>>>);

#[async_trait]
impl Transport for Switchboard {
    async fn call(&self, peer: &Peer, request: Bytes, timeout: Duration) -> Result<Bytes, TransportError> {
        let group = self.0.lock().get(&peer.address).cloned();
        let group = group.ok_or_else(|| TransportError::Unreachable(peer.address.clone()))?;
        tokio::time::timeout(timeout, group.handle(request)).await.map_err(|_| TransportError::Timeout)
    }
}

#[derive(Default)]
struct Cluster {
    switchboard: Switchboard,
    folders: Vec<TempDir>,
}

impl Cluster {
    /// Starts the node of a number, which joins the first.
    async fn try_start(&mut self, number: usize, hello: Hello) -> Result<Arc<Group>, ConsensusError> {
        while self.folders.len() <= number {
            self.folders.push(tempfile::tempdir().unwrap());
        }
        let options = GroupOptions {
            address: address(number),
            min_free_bytes: 0,
            min_free_bytes_to_open: 0,
            startup_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_millis(50),
            election_timeout: (Duration::from_millis(400), Duration::from_millis(700)),
            compare_every: 4,
            ..GroupOptions::new(self.folders[number].path())
        };
        let entrance = if number == 0 { Entrance::Open } else { Entrance::Join(address(0)) };
        let opening = options.clone();
        let disk = tokio::task::spawn_blocking(move || Disk::open(&opening)).await.unwrap()?;
        let transport = Arc::new(self.switchboard.clone());
        let group = Arc::new(Group::start_on(disk, options, entrance, transport, hello).await?);
        self.switchboard.0.lock().insert(address(number), Arc::clone(&group));
        Ok(group)
    }

    async fn start(&mut self, number: usize, hello: Hello) -> Arc<Group> {
        self.try_start(number, hello).await.unwrap()
    }

    /// Starts nodes that all vote.
    async fn start_all(&mut self, hellos: &[Hello]) -> Vec<Arc<Group>> {
        let mut groups = Vec::new();
        for (number, hello) in hellos.iter().enumerate() {
            groups.push(self.start(number, *hello).await);
            if number == 0 {
                propose(&groups[0], bootstrap()).await;
            }
        }
        let voters = |group: &Group| {
            let members = group.status().members;
            members.iter().filter(|member| member.role != Role::Learner).count()
        };
        until("all vote", || groups.iter().all(|group| voters(group) == hellos.len())).await;
        groups
    }

    async fn stop(&self, number: usize) {
        let group = self.switchboard.0.lock().remove(&address(number)).unwrap();
        group.shutdown().await.unwrap();
    }

    /// Ends all nodes: they hold the switchboard, which holds them.
    async fn end(self) {
        let groups = std::mem::take(&mut *self.switchboard.0.lock());
        for group in groups.into_values() {
            group.shutdown().await.unwrap();
        }
    }
}

fn address(number: usize) -> String {
    format!("node-{number}:1")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not so in time: {what}");
}

async fn propose(group: &Group, envelope: Envelope) {
    group.propose(envelope).await.unwrap().unwrap();
}

/// A command that takes version 2.
fn create_foreign() -> Envelope {
    let (name, ty) = ("a".to_owned(), SqlType::Text);
    let column = Column { name, ty, nullable: true, field_id: 1, comment: None, default: None };
    let locations = vec!["s3://bucket/*.csv".to_owned()];
    let command = Command::CreateForeignTable {
        database: oids::FIRST_USER,
        name: RelationName::new("public", "f"),
        columns: vec![column],
        source: ForeignSource { locations, format: "csv".to_owned(), options: Vec::new() },
        owner: oids::BOOTSTRAP_SUPERUSER,
        if_not_exists: false,
    };
    Envelope { request_id: Uuid::from_u128(1 << 65), now_ms: 0, command }
}

/// A command that takes version 2 is refused for the sake of one member.
async fn is_refused_for(group: &Group, node: u64) -> ConsensusError {
    // One that is slow to say what it reads may be named besides.
    for _ in 0..100 {
        let error = group.propose(create_foreign()).await.unwrap_err();
        let ConsensusError::OlderMembers { format: 2, members } = &error else { panic!("{error}") };
        if members.iter().all(|(member, _)| *member == node) {
            assert_eq!(error.sqlstate(), "55000");
            return error;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("others than node {node} are named, too");
}

/// A command that takes version 2 is taken.
async fn goes_through(group: &Group, envelope: Envelope) {
    for _ in 0..100 {
        match group.propose(envelope.clone()).await {
            Ok(answer) => return drop(answer.unwrap()),
            // Somebody was slow to say what it reads, or the leader to apply what is in its log.
            Err(ConsensusError::OlderMembers { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("refused still");
}

/// All become the same, and nobody has stopped.
async fn are_the_same(groups: &[Arc<Group>]) {
    let hashes = || groups.iter().map(|group| state_hash(&group.local())).collect::<Vec<_>>();
    until("the states are the same", || hashes().windows(2).all(|pair| pair[0] == pair[1])).await;
    for group in groups {
        assert!(group.failure().is_none(), "{group:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_member_could_not_read_waits_until_it_is_upgraded() {
    for older in [OLDER, SILENT] {
        let mut cluster = Cluster::default();
        let mut groups = cluster.start_all(&[Hello::OURS, Hello::OURS, older]).await;
        for (number, group) in (0..12).zip(groups.iter().cycle()) {
            propose(group, create_schema(number)).await;
        }
        are_the_same(&groups).await;
        for group in &groups {
            let error = is_refused_for(group, 3).await;
            assert_eq!(error.detail().unwrap(), "Node 3 reads up to version 1.");
            assert_eq!(error.hint().unwrap(), "Upgrade node 3. Then try again.");
        }
        // Away, it is still what it was.
        cluster.stop(2).await;
        is_refused_for(&groups[0], 3).await;
        propose(&groups[1], create_schema(12)).await;
        groups[2] = cluster.start(2, Hello::OURS).await;
        goes_through(&groups[1], create_foreign()).await;
        are_the_same(&groups).await;
        assert_eq!(groups[2].read().await.unwrap().format(), 2);
        cluster.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_leader_is_not_given_what_it_could_not_read() {
    let mut cluster = Cluster::default();
    let groups = cluster.start_all(&[OLDER, Hello::OURS]).await;
    let error = is_refused_for(&groups[1], 1).await;
    assert_eq!(error.hint().unwrap(), "Upgrade node 1. Then try again.");
    propose(&groups[1], create_schema(1)).await;
    are_the_same(&groups).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_never_heard_of_holds_up_what_it_might_not_read() {
    let mut cluster = Cluster::default();
    drop(cluster.start_all(&[Hello::OURS; 3]).await);
    for number in [2, 1, 0] {
        cluster.stop(number).await;
    }
    let groups = [cluster.start(0, Hello::OURS).await, cluster.start(1, Hello::OURS).await];
    let error = is_refused_for(&groups[0], 3).await;
    assert_eq!(error.hint().unwrap(), "Start node 3, or remove what does not come back. Then try again.");
    groups[1].remove(3).await.unwrap();
    goes_through(&groups[0], create_foreign()).await;
    // All that are members from now on read it: who was never heard of is one of those.
    cluster.start(3, Hello::OURS).await;
    for number in [3, 1, 0] {
        cluster.stop(number).await;
    }
    let groups = [cluster.start(0, Hello::OURS).await, cluster.start(1, Hello::OURS).await];
    goes_through(&groups[0], drop_foreign_table(Uuid::from_u128(1 << 66))).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_read_what_there_is_does_not_join() {
    let mut cluster = Cluster::default();
    let founder = cluster.start_all(&[Hello::OURS]).await.remove(0);
    goes_through(&founder, create_foreign()).await;
    let error = cluster.try_start(1, OLDER).await.unwrap_err();
    let reason = "the catalog is in version 2 of its format, and the node reads up to version 1: upgrade it";
    assert!(matches!(error, ConsensusError::JoinFailed { .. }) && error.to_string().contains(reason), "{error}");
    cluster.start(1, Hello::OURS).await;
    cluster.end().await;
}

/// Builds before this one wrote all commands in the newest format they knew, and hashed states in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_format_than_needed_is_written_anew_and_hashes_are_not_compared() {
    let mut cluster = Cluster::default();
    let groups = cluster.start_all(&[Hello::OURS, SILENT]).await;
    for number in 0..8 {
        propose(&groups[1], create_schema(number)).await;
    }
    let is_compared = |index: &u64| groups[0].node().hashes.get(*index).is_some();
    until("the first has hashed a state", || (0..100).any(|index| is_compared(&index))).await;
    let index = (0..100).find(is_compared).unwrap();
    let head = Head { version: 1, cluster: groups[0].status().cluster, from: 2, to: 1 };
    let hash = async |catalog| {
        let request = wire::encode_request(head, &Request::StateHash { index, catalog });
        wire::decode_answer::<StateHashAnswer>(&groups[0].handle(request).await).unwrap()
    };
    assert!(hash(Some(2)).await.is_some());
    assert_eq!(hash(None).await, None);

    until("the first leads", || groups[0].status().leads).await;
    let mut command = encode_envelope(&create_schema(8));
    assert_eq!(command[..2], [0, 1]);
    command[1] = 2;
    let request = wire::encode_request(head, &Request::Propose { timeout_ms: 5_000, command: command.into() });
    let answer = wire::decode_answer::<ProposeAnswer>(&groups[0].handle(request).await).unwrap();
    assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
    are_the_same(&groups).await;
    cluster.end().await;
}
