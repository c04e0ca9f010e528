//! `wharf-bench planning`: what it takes to plan a query of one row over a table of very many data files.
//!
//! The table has one file for each value of its partition key, as a few large inserts make it. Then the server is started again, so
//! that the first query finds nothing in memory; what is measured is EXPLAIN, which reads metadata and no data. A plan of a
//! query of one row that would read more than one file is an error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::peers::wharf::{Launch, Wharf};
use crate::report::{TextTable, forget_peak, mebibytes, median, memory_bytes, peak_memory_bytes, processor_ms};

/// What `wharf-bench planning` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Start this `wharf`. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// The data folder. A table that an earlier run has left there is planned again; the default is a new one, which goes at the
    /// end. Making the table is much quicker in a folder in memory, such as one below /dev/shm.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// How many data files the table has.
    #[arg(long, default_value_t = 100_000)]
    files: u32,
    /// How many inserts make it: each adds a manifest.
    #[arg(long, default_value_t = 20)]
    inserts: u32,
}

/// How many rows are looked for in turn, at equal distances: when there are as many inserts, each is in a manifest of its own.
const ROWS: u32 = 20;

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    ensure!(arguments.files > 0 && arguments.inserts > 0, "a table has at least one file, made by one insert");
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let own = tempfile::Builder::new().prefix("wharf-bench-planning-").tempdir()?;
    let data = arguments.data.clone().unwrap_or_else(|| own.path().join("data"));
    make(&binary, &data, &arguments).await?;

    let server = start(&binary, &data)?;
    let client = connect(&server).await?;
    client.batch_execute("SELECT 1 FROM pg_class LIMIT 1").await?;
    let before = memory_bytes(server.pid()).unwrap_or(0);
    let mut costs = Vec::new();
    let (files, rows) = (arguments.files, arguments.files.min(ROWS));
    let measured = Measured { server: &server, client: &client, files, before };
    costs.push(("first plan", measured.rows(&[files / 2]).await?));
    let keys = (0..rows).map(|row| u64::from(row) * u64::from(files) / u64::from(rows));
    let keys = keys.map(u32::try_from).collect::<Result<Vec<_>, _>>()?;
    costs.push(("plans of other rows", measured.rows(&keys).await?));
    costs.push(("the same again", measured.rows(&keys).await?));
    costs.push(("first plan of a query of all files", measured.all().await?));
    costs.push(("the same again", measured.all().await?));
    costs.push(("plans of one row after that", measured.rows(&keys).await?));
    let held = memory_bytes(server.pid()).unwrap_or(0).saturating_sub(before);

    let mut table =
        TextTable::new([format!("{files} files").as_str(), "ms, median", "ms of processor, mean", "memory at most"]);
    for (what, cost) in costs {
        let (wall, processor) = (format!("{:.1}", median(&cost.wall_ms)), format!("{:.1}", cost.processor_ms));
        table.row([what.to_owned(), wall, processor, mebibytes(cost.peak_bytes)]);
    }
    print!("{table}");
    println!(
        "memory at the end: {}; before the first plan: {}, which is not counted",
        mebibytes(held),
        mebibytes(before)
    );
    Ok(ExitCode::SUCCESS)
}

/// What plans take.
struct Cost {
    wall_ms: Vec<f64>,
    /// Of the server, for each.
    processor_ms: f64,
    /// The most memory that the server had meanwhile, above what it had before the first plan.
    peak_bytes: u64,
}

/// A server whose plans are measured.
struct Measured<'a> {
    server: &'a Wharf,
    client: &'a Client,
    files: u32,
    /// The memory of the server before the first plan.
    before: u64,
}

impl Measured<'_> {
    /// Queries of one key each.
    async fn rows(&self, keys: &[u32]) -> anyhow::Result<Cost> {
        let begun = self.begin();
        let mut wall_ms = Vec::new();
        for key in keys {
            wall_ms.push(plan(self.client, *key, self.files).await?);
        }
        Ok(self.cost(begun, wall_ms))
    }

    /// A query of all files.
    async fn all(&self) -> anyhow::Result<Cost> {
        let (begun, start) = (self.begin(), Instant::now());
        self.client.simple_query("EXPLAIN SELECT count(note) FROM planned").await?;
        Ok(self.cost(begun, vec![start.elapsed().as_secs_f64() * 1000.0]))
    }

    /// The processor time until now; the peak of memory begins anew.
    fn begin(&self) -> u64 {
        forget_peak(self.server.pid());
        processor_ms(self.server.pid())
    }

    fn cost(&self, begun: u64, wall_ms: Vec<f64>) -> Cost {
        let used = processor_ms(self.server.pid()).saturating_sub(begun);
        let peak_bytes = peak_memory_bytes(self.server.pid()).unwrap_or(0).saturating_sub(self.before);
        Cost { processor_ms: used as f64 / wall_ms.len().max(1) as f64, wall_ms, peak_bytes }
    }
}

fn start(binary: &Path, data: &Path) -> anyhow::Result<Wharf> {
    Launch::new(binary).data(data).environment("WHARF_MAINTENANCE__ENABLED", "false").start()
}

async fn connect(server: &Wharf) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.context("cannot connect")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the table, unless it is there.
async fn make(binary: &Path, data: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let server = start(binary, data)?;
    let client = connect(&server).await?;
    let files = i64::from(arguments.files);
    if client.query_opt("SELECT FROM pg_tables WHERE tablename = 'planned'", &[]).await?.is_some() {
        let found: i64 = client.query_one("SELECT count(*) FROM planned", &[]).await?.get(0);
        ensure!(found == files, "the folder has a table of {found} files: give another folder, or --files {found}");
        return Ok(());
    }
    let begun = Instant::now();
    let definition = "CREATE TABLE planned (key integer NOT NULL, at timestamptz, amount bigint, price numeric(12, 2), \
                      note text) PARTITION BY (key)";
    client.batch_execute(definition).await?;
    for insert in 0..i64::from(arguments.inserts) {
        let (from, to) =
            (insert * files / i64::from(arguments.inserts), (insert + 1) * files / i64::from(arguments.inserts));
        let rows = format!(
            "INSERT INTO planned SELECT k, timestamptz '2024-01-01 00:00:00+00' + k * interval '1 minute', \
             k * 1000::bigint, k / 100.0, 'note ' || k FROM generate_series({from}, {}) AS g(k)",
            to - 1
        );
        if from < to {
            client.batch_execute(&rows).await.with_context(|| rows.clone())?;
        }
        eprintln!("{to} of {files} files after {:.0} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Plans a query of one key; returns the milliseconds that took.
async fn plan(client: &Client, key: u32, files: u32) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let answer = client.simple_query(&format!("EXPLAIN SELECT * FROM planned WHERE key = {key}")).await?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let lines = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan = lines.collect::<Vec<_>>().join("\n");
    ensure!(
        plan.contains(&format!("read=1 of {files} files")),
        "the plan of key {key} reads more than its file:\n{plan}"
    );
    Ok(took)
}
