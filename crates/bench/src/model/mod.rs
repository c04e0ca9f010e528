//! `wharf-bench model`: random sequences of DDL, DML, transactions, time travel, rollback, compaction, expiry and crashes, against
//! a model in memory.
//!
//! One client does one step after the other, so the model always knows what must be there. After a step the tables it touched are
//! compared with the model, row by row; now and then all tables and all their former snapshots are. The seed is printed and
//! makes a run repeatable.

mod database;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::peers::wharf::{Launch, Wharf};
use database::{Database, Row, Table};

/// What `wharf-bench model` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many steps.
    #[arg(long, default_value_t = 1_000)]
    steps: u64,
    /// The `wharf` to test. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Repeats an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Print every statement.
    #[arg(long)]
    verbose: bool,
    /// Keep the data folder of a failed run, and say where it is.
    #[arg(long)]
    keep: bool,
}

/// All tables and their history are compared after so many steps.
const STEPS_PER_CHECK: u64 = 25;
/// How far the run is, is printed after so many.
const STEPS_PER_LINE: u64 = 500;

/// Runs the command; the exit code is 1 when the server and the model differ.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let folder = tempfile::Builder::new().prefix("wharf-model-").tempdir()?;
    let launch = Launch::new(&binary)
        .data(&folder.path().join("data"))
        // Tables are looked after only when a step says so, so that a run can be repeated.
        .environment("WHARF_MAINTENANCE__ENABLED", "false");
    let server = launch.start().context("the first start")?;
    let client = connect(&server).await?;
    let mut run = Run {
        launch,
        server,
        client,
        random: fastrand::Rng::with_seed(seed),
        verbose: arguments.verbose,
        last: Vec::new(),
        counts: Default::default(),
    };
    let mut database = Database::default();
    for step in 1..=arguments.steps {
        let result = steps::step(&mut run, &mut database).await;
        let result = match result {
            Ok(()) if step % STEPS_PER_CHECK == 0 || step == arguments.steps => run.check_all(&mut database).await,
            result => result,
        };
        if result.is_ok() && step % STEPS_PER_LINE == 0 {
            println!("{step} steps");
        }
        if let Err(error) = result {
            println!("FAILED at step {step}: {error:#}");
            for statement in &run.last {
                println!("  {statement}");
            }
            if arguments.keep {
                println!("kept: {}", folder.keep().display());
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("{} steps, no difference: {}", arguments.steps, run.summary());
    Ok(ExitCode::SUCCESS)
}

async fn connect(server: &Wharf) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// How many statements a failure shows.
const SHOWN: usize = 40;

/// The server and what was done to it.
struct Run {
    launch: Launch,
    server: Wharf,
    client: Client,
    random: fastrand::Rng,
    verbose: bool,
    last: Vec<String>,
    counts: std::collections::BTreeMap<&'static str, u64>,
}

impl Run {
    /// Counts a step by its kind.
    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn summary(&self) -> String {
        let counts = self.counts.iter().map(|(kind, count)| format!("{count} {kind}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn note(&mut self, statement: &str) {
        if self.verbose {
            println!("{statement}");
        }
        if self.last.len() == SHOWN {
            self.last.remove(0);
        }
        self.last.push(statement.to_owned());
    }

    /// A statement that must succeed.
    async fn execute(&mut self, statement: &str) -> anyhow::Result<()> {
        self.note(statement);
        self.client.simple_query(statement).await.map(drop).with_context(|| statement.to_owned())
    }

    /// The rows of a query as text.
    async fn rows(&mut self, query: &str) -> anyhow::Result<Vec<Row>> {
        let messages = self.client.simple_query(query).await.with_context(|| query.to_owned())?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Kills the server and starts it again.
    async fn crash(&mut self) -> anyhow::Result<()> {
        self.note("-- kill -9");
        self.server.kill();
        self.server = self.launch.start().context("the restart")?;
        self.client = connect(&self.server).await?;
        Ok(())
    }

    /// Compares a table with the model.
    async fn check(&mut self, name: &str, table: &Table) -> anyhow::Result<()> {
        let query = format!("SELECT {} FROM {name} ORDER BY id", table.column_list());
        let found = self.rows(&query).await?;
        compare(&format!("table {name}"), &found, table.rows())
    }

    async fn current_snapshot(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let current = self.rows(&format!("SELECT snapshot_id FROM {name}$refs WHERE name = 'main'")).await?;
        Ok(current.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Notes the snapshot that a table has now, and forgets those that it has no more.
    async fn note_snapshot(&mut self, name: &str, table: &mut Table) -> anyhow::Result<()> {
        let current = self.current_snapshot(name).await?;
        let there = self.rows(&format!("SELECT snapshot_id FROM {name}$snapshots")).await?;
        let id = |row: &Row| row.first().cloned().flatten();
        table.note_snapshot(current, &there.iter().filter_map(id).collect());
        Ok(())
    }

    /// Compares all tables and their former snapshots.
    async fn check_all(&mut self, database: &mut Database) -> anyhow::Result<()> {
        for (name, table) in &mut database.tables {
            self.check(name, table).await?;
            self.note_snapshot(name, table).await?;
            for (id, former) in table.history() {
                let query = format!("SELECT {} FROM {name} FOR VERSION AS OF {id} ORDER BY id", former.column_list());
                let found = self.rows(&query).await?;
                compare(&format!("table {name} at snapshot {id}"), &found, former.rows())?;
            }
        }
        Ok(())
    }
}

/// # Errors
/// The first row that differs.
fn compare<'a>(what: &str, found: &[Row], expected: impl ExactSizeIterator<Item = &'a Row>) -> anyhow::Result<()> {
    let count = expected.len();
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        ensure!(found == expected, "{what}: row {index} is {found:?}, should be {expected:?}");
    }
    ensure!(found.len() == count, "{what}: {} rows, should be {count}", found.len());
    Ok(())
}
