//! `wharf-bench compare`: Wharf and its peers on the same data in one run, side by side.
//!
//! Every measurement is repeated, after one unmeasured round, with the peers taking turns inside each round, so that a noisy moment
//! of the machine hits all of them; what is reported is the median. Servers are measured through their sockets by one and
//! the same client; DuckDB and DataFusion run in a Python child and time themselves, without any wire. PostgreSQL syncs its log, and
//! has the indexes and the memory that its manual advises.

mod dml;
mod memory;
mod results;
mod select_one;
mod server;
mod tpch;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::peers::python;
use crate::peers::wharf::Wharf;
use crate::workloads::tpch::{Files, cache_folder};
use results::Results;
use server::Server;

/// What `wharf-bench compare` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// TPC-H's scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The `wharf` to measure. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Measure the peers alone, without Wharf.
    #[arg(long, conflicts_with = "wharf")]
    no_wharf: bool,
    /// Whom to measure it against.
    #[arg(long, value_delimiter = ',', default_value = "duckdb,datafusion,postgres")]
    peers: Vec<Peer>,
    /// What to measure; `dml` is DELETE, UPDATE and MERGE.
    #[arg(long, value_delimiter = ',', default_value = "tpch,select1,copy-in,copy-out")]
    only: Vec<Workload>,
    /// Measured rounds, after the one that is not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Rows that COPY brings in.
    #[arg(long, default_value_t = 2_000_000)]
    copy_in_rows: u64,
    /// Rows that are taken out.
    #[arg(long, default_value_t = 1_000_000)]
    copy_out_rows: u64,
    /// Write the figures here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when an aim is missed.
    #[arg(long)]
    enforce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    Duckdb,
    Datafusion,
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    Tpch,
    Select1,
    CopyIn,
    CopyOut,
    Dml,
}

/// What all measurements share.
struct Run {
    arguments: Arguments,
    files: Files,
    /// Wharf first, when it is measured, then PostgreSQL.
    servers: Vec<Server>,
    python: Option<PathBuf>,
    work: TempDir,
}

impl Run {
    fn wants(&self, workload: Workload) -> bool {
        self.arguments.only.contains(&workload)
    }

    /// Whose turn comes first in a round: each in turn, so that no one always follows the same neighbour.
    fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
        (0..count).map(move |index| (index + round) % count)
    }
}

/// Runs the command. The exit code is 1 when peers disagree about an answer, and with `--enforce` when an aim is missed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(move || compare(arguments)).await?
}

fn compare(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let work = tempfile::Builder::new().prefix("wharf-compare-").tempdir()?;
    let wants_python = arguments.peers.iter().any(|peer| *peer != Peer::Postgres)
        && arguments.only.iter().any(|workload| matches!(workload, Workload::Tpch | Workload::Dml));
    let wants_postgres = arguments.peers.contains(&Peer::Postgres);
    let python = match (wants_python, wants_postgres) {
        (false, false) => None,
        (_, postgres) => Some(python::install(if postgres { &["postgres"] } else { &[] })?),
    };
    let files = Files::prepare(&cache_folder().join("data"), arguments.scale, wants_python)?;

    let mut servers = Vec::new();
    if !arguments.no_wharf {
        let binary = Wharf::binary(arguments.wharf.as_deref())?;
        servers.push(Server::wharf(&binary)?);
    }
    if wants_postgres {
        servers.push(Server::postgres()?);
    }
    if servers.is_empty() && !wants_python {
        bail!("nothing to measure: no Wharf, no peer");
    }
    let mut results = Results::new(arguments.scale, arguments.rounds);
    for server in &servers {
        results.versions.insert(server.name().to_owned(), server.version()?);
    }
    let run = Run { arguments, files, servers, python, work };

    if run.wants(Workload::Tpch) || run.wants(Workload::CopyOut) || run.wants(Workload::Dml) {
        server::load(&run, &mut results)?;
    }
    if run.wants(Workload::Tpch) {
        tpch::measure(&run, &mut results)?;
    }
    if run.wants(Workload::Select1) {
        select_one::measure(&run, &mut results)?;
    }
    if run.wants(Workload::CopyIn) {
        transfer::measure_in(&run, &mut results)?;
    }
    if run.wants(Workload::CopyOut) {
        transfer::measure_out(&run, &mut results)?;
    }
    if run.wants(Workload::Dml) {
        dml::measure(&run, &mut results)?;
    }
    results.judge();
    println!("{results}");
    if let Some(path) = &run.arguments.json {
        let text = serde_json::to_string_pretty(&results)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {}", path.display());
    }
    let failed =
        !results.disagreements.is_empty() || (run.arguments.enforce && results.aims.iter().any(|aim| !aim.met));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
