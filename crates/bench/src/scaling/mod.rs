//! `wharf-bench scaling`: one node beside three, on this machine.
//!
//! Five questions, each a part that can be asked for alone: what TPC-H costs on three nodes when the server decides what is divided,
//! and when everything is; how much faster three nodes read from an object store that gives each of them so much a second; what it
//! spares a join to have the rows of a hot key spread; how long a write waits when the leader dies; and what a commit and a command of
//! the catalog take.

mod commits;
mod failover;
mod results;
mod scan;
mod skew;
mod tpch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::peers::wharf::Wharf;
use results::Results;

/// Nodes of the cluster.
const NODES: u16 = 3;

/// What `wharf-bench scaling` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The `wharf` to measure. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_value = "tpch,scan,skew,failover,commits")]
    only: Vec<Part>,
    /// TPC-H's scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Measured rounds of queries, after the one that is not.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Gigabytes that a scan reads.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    gigabytes: u16,
    /// What the object store gives each node.
    #[arg(long, value_name = "MB", default_value_t = 50)]
    megabytes_per_second: u32,
    /// From a request to the object store to the first byte of its answer.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30)]
    first_byte: u64,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    failovers: u16,
    /// How long commits are measured, each way.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Write the figures here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when an aim is missed.
    #[arg(long)]
    enforce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Tpch,
    Scan,
    Skew,
    Failover,
    Commits,
}

/// Runs the command. The exit code is 1 when an answer was wrong, and with `--enforce` when an aim is missed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let mut results = Results::default();
    for part in &arguments.only {
        match part {
            Part::Tpch => tpch::measure(&binary, &arguments, &mut results)?,
            Part::Scan => scan::measure(&binary, &arguments, &mut results).await?,
            Part::Skew => skew::measure(&binary, &arguments, &mut results)?,
            Part::Failover => failover::measure(&binary, &arguments, &mut results)?,
            Part::Commits => commits::measure(&binary, &arguments, &mut results)?,
        }
    }
    print!("\n{results}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {}", path.display());
    }
    let failed = !results.is_right() || (arguments.enforce && !results.aims_are_met());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
