//! `wharf-bench bad-input`: what no client and no disk should do, done to a server.
//!
//! Each check names what it did and what came of it. The server must answer with a clear error (an SQLSTATE where there is a client),
//! must not crash, must not hang, and must lose nothing that it acknowledged. Checks that need rights this process does not
//! have are skipped, and say so.

mod damage;
mod disk;
mod network;
mod process;
mod raw;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::peers::wharf::{Launch, Wharf};

/// What `wharf-bench bad-input` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The `wharf` to mistreat. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Only checks whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Checks that fail still, a name a line; one of them that does not fail any more fails the run.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Repeats the garbage and the damage of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

/// What a check came to, unless it failed.
enum Outcome {
    /// As it should be; with what is worth knowing.
    Passed(String),
    /// Not possible here; with the reason.
    Skipped(String),
}

/// What all checks are given.
#[derive(Clone)]
struct Setting {
    binary: PathBuf,
    random: fastrand::Rng,
}

impl Setting {
    fn launch(&self) -> Launch {
        Launch::new(&self.binary)
    }

    fn start(&self) -> anyhow::Result<Wharf> {
        self.launch().start()
    }

    fn start_on(&self, data: &Path) -> anyhow::Result<Wharf> {
        self.launch().data(data).start()
    }
}

type Check = fn(&mut Setting) -> anyhow::Result<Outcome>;

const CHECKS: [(&str, Check); 13] = [
    ("garbage on the port", network::garbage),
    ("broken messages", network::broken_messages),
    ("oversized messages", network::oversized_messages),
    ("half-open connections", network::half_open),
    ("1000 idle connections", network::idle_connections),
    ("a client that stops reading", network::deaf_client),
    ("truncated data file", damage::truncated_data_file),
    ("flipped bytes in a data file", damage::flipped_bytes),
    ("missing data and metadata files", damage::missing_files),
    ("corrupt catalog", damage::corrupt_catalog),
    ("full disk", disk::full_disk),
    ("a second process on the same data", process::second_process),
    ("SIGTERM while a query runs", process::drain),
];

/// Runs the command; the exit code is 1 when a check failed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(move || check_all(&arguments)).await?
}

fn check_all(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let known = match &arguments.known {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => String::new(),
    };
    let mut failed = 0;
    for (name, check) in CHECKS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let mut setting = Setting { binary: binary.clone(), random: fastrand::Rng::with_seed(seed) };
        let is_known = known.lines().any(|line| line == name);
        match check(&mut setting) {
            Ok(Outcome::Passed(what)) if is_known => {
                failed += 1;
                println!("FAILED   {name}: passes, and is still listed: {what}");
            }
            Err(error) if is_known => println!("known    {name}: {error:#}"),
            Ok(Outcome::Passed(what)) => println!("ok       {name}: {what}"),
            Ok(Outcome::Skipped(why)) => println!("skipped  {name}: {why}"),
            Err(error) => {
                failed += 1;
                println!("FAILED   {name}: {error:#}");
            }
        }
    }
    println!("{failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server still runs and answers a newcomer.
fn still_serves(server: &mut Wharf) -> anyhow::Result<()> {
    use crate::workloads::wire::{Address, Wire};
    anyhow::ensure!(server.is_running(), "the server has died: {}", server.log_tail(5));
    let mut wire = Wire::connect(&Address::parse(&server.url())?).context("the server takes no new connection")?;
    let answer = wire.simple("SELECT 1")?;
    anyhow::ensure!(answer.rows == 1, "SELECT 1 gives {} rows", answer.rows);
    Ok(())
}
