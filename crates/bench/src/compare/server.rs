//! A server that is measured through its socket: Wharf or PostgreSQL.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use super::Run;
use super::memory::{self, Watch};
use super::results::Results;
use crate::peers::postgres::Postgres;
use crate::peers::wharf::Wharf;
use crate::workloads::tpch::TABLES;
use crate::workloads::wire::{Address, Wire};

/// What a PostgreSQL of this size would be given by its administrator; it syncs, as Wharf does.
const POSTGRES_SETTINGS: [(&str, &str); 12] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "2GB"),
    ("effective_cache_size", "8GB"),
    ("work_mem", "256MB"),
    ("maintenance_work_mem", "1GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "30min"),
    ("random_page_cost", "1.1"),
    ("max_parallel_workers_per_gather", "2"),
    ("max_connections", "100"),
];

/// A running server.
pub(super) struct Server {
    kind: Kind,
    address: Address,
    pid: u32,
}

enum Kind {
    Wharf(Wharf),
    Postgres(Postgres),
}

impl Server {
    pub(super) fn wharf(binary: &Path) -> anyhow::Result<Server> {
        let wharf = Wharf::start(binary)?;
        Ok(Server { address: Address::parse(&wharf.url())?, pid: wharf.pid(), kind: Kind::Wharf(wharf) })
    }

    pub(super) fn postgres() -> anyhow::Result<Server> {
        let postgres = Postgres::start(&POSTGRES_SETTINGS)?;
        let address = Address::parse(&postgres.url())?;
        // Open until its process has been looked at.
        let mut wire = Wire::connect(&address)?;
        let (_, rows) = wire.rows("SELECT pg_backend_pid()")?;
        let backend = rows.first().and_then(|row| row.first()?.clone()).context("pg_backend_pid() gave nothing")?;
        // Every backend is a child of the postmaster.
        let status = std::fs::read_to_string(format!("/proc/{backend}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let pid = parent.context("the backend has no parent")?.trim().parse()?;
        drop(wire);
        Ok(Server { kind: Kind::Postgres(postgres), address, pid })
    }

    /// `wharf` or `postgres`.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Wharf(_) => "wharf",
            Kind::Postgres(_) => "postgres",
        }
    }

    pub(super) fn is_wharf(&self) -> bool {
        matches!(self.kind, Kind::Wharf(_))
    }

    /// The address as tokio-postgres takes it.
    pub(super) fn url(&self) -> String {
        match &self.kind {
            Kind::Wharf(wharf) => wharf.url(),
            Kind::Postgres(postgres) => postgres.url(),
        }
    }

    pub(super) fn connect(&self) -> anyhow::Result<Wire> {
        Wire::connect(&self.address).with_context(|| format!("{} does not answer", self.name()))
    }

    pub(super) fn version(&self) -> anyhow::Result<String> {
        let (_, rows) = self.connect()?.rows("SELECT version()")?;
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    }

    /// Begins to watch its memory.
    pub(super) fn watch(&self) -> Watch {
        match self.kind {
            Kind::Wharf(_) => memory::watch_process(self.pid),
            Kind::Postgres(_) => memory::watch_family(self.pid),
        }
    }
}

/// Creates TPC-H's tables on every server and fills them by COPY.
pub(super) fn load(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    for server in &run.servers {
        let watch = server.watch();
        let begun = Instant::now();
        let mut wire = server.connect()?;
        for table in &TABLES {
            wire.simple(&table.create(None))?;
            let file = File::open(run.files.csv(table))?;
            wire.copy_in(&format!("COPY {} FROM STDIN (FORMAT csv)", table.name), file)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("{}: loaded in {seconds:.1} s", server.name());
        results.load_seconds.insert(server.name().to_owned(), seconds);
        if !server.is_wharf() {
            for index in TABLES.iter().flat_map(|table| table.indexes) {
                wire.simple(index)?;
            }
            // Also writes the hint bits, which the first query would do otherwise.
            wire.simple("VACUUM ANALYZE")?;
            eprintln!("{}: with its indexes {:.1} s", server.name(), begun.elapsed().as_secs_f64());
        }
        results.memory(server.name(), "load", watch.peak());
    }
    Ok(())
}

/// The Parquet files that Wharf itself wrote for each table. `None` when it does not say where its tables are.
pub(super) fn wharf_files(run: &Run) -> Option<BTreeMap<&'static str, Vec<PathBuf>>> {
    let wharf = run.servers.iter().find(|server| server.is_wharf())?;
    let mut wire = wharf.connect().ok()?;
    let mut found = BTreeMap::new();
    for table in &TABLES {
        let sql = format!(
            "SELECT metadata_location FROM wharf.tables WHERE schema_name = 'public' AND table_name = '{}'",
            table.name
        );
        let (_, rows) = wire.rows(&sql).ok()?;
        let location = rows.into_iter().flatten().flatten().next()?;
        let metadata = Path::new(location.strip_prefix("file://").unwrap_or(&location));
        // `<table>/metadata/<file>`. One COPY wrote the table, so every data file below it belongs to its one snapshot.
        let mut files = Vec::new();
        parquet_below(metadata.parent()?.parent()?, &mut files);
        if files.is_empty() {
            return None;
        }
        files.sort();
        found.insert(table.name, files);
    }
    Some(found)
}

fn parquet_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            parquet_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
}
