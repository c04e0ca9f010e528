//! Very many commands: disk and memory take no more room at the end than near the beginning, and a restart is quick.
//!
//! `WHARF_TEST_ALONE=1 WHARF_COMMANDS=1000000 cargo test --release -p wharf-consensus --test group endurance -- --nocapture` has more of
//! them than the few of every run, with the options of production, and shows the figures as they come. `WHARF_CLIENTS` says how many
//! clients send them: the fewer, the more log entries.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;
use wharf_catalog::{
    Column, Command, CommentTarget, Envelope, RelationKind, RelationName, SqlType, TableChange, oids, state_hash,
};
use wharf_consensus::{Group, GroupOptions};

use crate::helpers::{alone, bootstrap, options, propose};

/// How many commands every run of the tests sends.
const COMMANDS: u64 = 20_000;
/// How many clients send them.
const CLIENTS: u64 = 64;
/// How many tables each client writes.
const TABLES: u64 = 4;
/// Of so many commands of a client, four make, comment, drop and forget a table; the others move heads.
const ROUND: u64 = 50;
/// How often it is looked what there is.
const PARTS: u64 = 10;
/// How often the node is started again, with some commands in between: at other distances from its last snapshot.
const RESTARTS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_and_memory_do_not_grow_with_the_commands() {
    if !alone("endurance::disk_and_memory_do_not_grow_with_the_commands") {
        return;
    }
    let number = |name, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let (commands, clients) = (number("WHARF_COMMANDS", COMMANDS), number("WHARF_CLIENTS", CLIENTS));
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        // As the configuration has it; the few commands of every run have as many snapshots as very many.
        let snapshot_every = if commands > COMMANDS { 4096 } else { 20 };
        Group::open(GroupOptions { snapshot_every, ..options(folder.path()) }).await.unwrap()
    };
    let group = open().await;
    propose(&group, bootstrap()).await.unwrap();
    let mut clients = (0..clients).map(Client::new).collect::<Vec<_>>();
    let (mut seen, started) = (Vec::new(), Instant::now());
    for part in 1..=PARTS {
        let began = Instant::now();
        let (working, peak) = work(clients, &group, folder.path(), commands / PARTS).await;
        clients = working;
        let per_second = commands as f64 / PARTS as f64 / began.elapsed().as_secs_f64();
        let (log, snapshots) = (size(&folder.path().join("log")), size(&folder.path().join("snapshots")));
        let (memory, status) = (resident_bytes(), group.status());
        println!(
            "{:>8} commands, {} s, {per_second:.0}/s: log {} KB, snapshots {} KB, most {} KB; memory {} KB; entries {:?}, purged {:?}",
            commands / PARTS * part,
            started.elapsed().as_secs(),
            log >> 10,
            snapshots >> 10,
            peak >> 10,
            memory >> 10,
            status.last_log_index,
            status.purged_index,
        );
        seen.push((peak, memory));
    }
    let mut group = group;
    for _ in 0..RESTARTS {
        let hash = state_hash(&group.local());
        group.shutdown().await.unwrap();
        drop(group);
        let (began, computed) = (Instant::now(), processor_time());
        group = open().await;
        let (took, computed) = (began.elapsed(), processor_time() - computed);
        let log = size(&folder.path().join("log")) >> 10;
        println!("restart: {} ms, of the processor {} ms, log {log} KB", took.as_millis(), computed.as_millis());
        // The time that passes says as much of what else the machine has to do.
        assert!(computed < Duration::from_secs(2), "{computed:?}");
        assert_eq!(state_hash(&group.local()), hash);
        (clients, _) = work(clients, &group, folder.path(), commands / 50).await;
    }
    group.shutdown().await.unwrap();
    // By then there have been some snapshots, and as many answers are kept for clients that ask again as ever are.
    let (early, late) = (seen[seen.len() / 2], seen[seen.len() - 1]);
    assert!(late.0 < early.0 * 3 / 2, "disk: {} bytes, then {}", early.0, late.0);
    assert!(late.1 < early.1 * 5 / 4, "memory: {} bytes, then {}", early.1, late.1);
}

/// Has the clients send so many commands; what the disk took at most meanwhile.
async fn work(clients: Vec<Client>, group: &Arc<Group>, folder: &Path, commands: u64) -> (Vec<Client>, u64) {
    let peak = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn({
        let (peak, folder) = (Arc::clone(&peak), folder.to_owned());
        async move {
            loop {
                peak.fetch_max(size(&folder), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let each = commands / clients.len() as u64;
    let working = clients.into_iter().map(|client| tokio::spawn(client.work(Arc::clone(group), each)));
    let clients = futures::future::try_join_all(working.collect::<Vec<_>>()).await.unwrap();
    watching.abort();
    (clients, peak.load(Ordering::Relaxed))
}

/// A client with tables that nobody else writes.
struct Client {
    number: u64,
    /// How many commands it has sent.
    sent: u64,
    /// How many times the head of each of its tables was moved; none: it is not there yet.
    versions: Vec<Option<u64>>,
}

impl Client {
    fn new(number: u64) -> Self {
        Client { number, sent: 0, versions: vec![None; TABLES as usize] }
    }

    async fn work(mut self, group: Arc<Group>, commands: u64) -> Self {
        for _ in 0..commands {
            let command = self.next();
            let request_id = Uuid::from_u64_pair(self.number + 2, self.sent);
            self.sent += 1;
            propose(&group, Envelope { request_id, now_ms: 1_700_000_000_000, command }).await.unwrap();
        }
        self
    }

    fn next(&mut self) -> Command {
        if let Some(missing) = self.versions.iter().position(Option::is_none) {
            self.versions[missing] = Some(0);
            return self.create(missing as u64);
        }
        let (round, database) = (self.sent / ROUND, oids::FIRST_USER);
        let passing = TABLES + round;
        match self.sent % ROUND {
            10 => self.create(passing),
            20 => {
                let on = CommentTarget::Relation { kind: RelationKind::Table, name: self.name(passing) };
                Command::Comment { database, on, text: Some(format!("of round {round}")) }
            }
            30 => {
                let (kind, names, search_path) = (RelationKind::Table, vec![self.name(passing)], Vec::new());
                Command::DropRelations {
                    database,
                    kind,
                    names,
                    if_exists: false,
                    cascade: false,
                    search_path,
                    purge: true,
                }
            }
            40 => Command::ForgetDropped { ids: vec![self.id(passing)] },
            // Some transactions write two tables.
            step => {
                let tables =
                    if step.is_multiple_of(5) { vec![step % TABLES, (step + 1) % TABLES] } else { vec![step % TABLES] };
                Command::CommitTables { changes: tables.into_iter().map(|table| self.change(table)).collect() }
            }
        }
    }

    fn create(&self, table: u64) -> Command {
        let column = |field_id: i32, ty| Column {
            name: format!("column_{field_id}"),
            ty,
            nullable: true,
            field_id,
            comment: None,
            default: None,
        };
        let types =
            [SqlType::BigInt, SqlType::Text, SqlType::Date, SqlType::Numeric(Some((15, 2))), SqlType::TimestampTz];
        Command::CreateTable {
            database: oids::FIRST_USER,
            id: self.id(table),
            name: self.name(table),
            columns: (1..).zip(types.into_iter().cycle().take(10)).map(|(id, ty)| column(id, ty)).collect(),
            metadata_location: self.location(table, 0),
            owner: oids::BOOTSTRAP_SUPERUSER,
            if_not_exists: false,
            constraints: Vec::new(),
        }
    }

    fn change(&mut self, table: u64) -> TableChange {
        let version = self.versions[table as usize].unwrap();
        self.versions[table as usize] = Some(version + 1);
        let (expected, new) = (self.location(table, version), self.location(table, version + 1));
        TableChange { id: self.id(table), expected, new, columns: None }
    }

    fn id(&self, table: u64) -> Uuid {
        Uuid::from_u64_pair(self.number << 32, table)
    }

    fn name(&self, table: u64) -> RelationName {
        RelationName::new("public", format!("table_{}_{table}", self.number))
    }

    fn location(&self, table: u64, version: u64) -> String {
        let (id, file) = (self.id(table), Uuid::from_u64_pair(table, version));
        format!("s3://warehouse/wharf/{id}/metadata/{version:05}-{file}.metadata.json")
    }
}

/// What the files of a folder take, bytes; they come and go meanwhile.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What the process has in memory, bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// How long the processor has worked for the process.
fn processor_time() -> Duration {
    let status = fs::read_to_string("/proc/self/stat").unwrap();
    // User and system, in hundredths of a second; the name before may have spaces.
    let fields = status.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}
