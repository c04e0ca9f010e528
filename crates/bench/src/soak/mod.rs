//! `wharf-bench soak`: three nodes, clients that do everything at once, and one fault after the other.
//!
//! The nodes are processes, each in a network namespace and on a disk of its own ([`network`], [`node`]); clients ([`workload`]) append
//! to lists, move money, merge, insert, make and drop tables, and write down what they were told ([`history`]); meanwhile processes are
//! killed and stopped, the network is cut, disks are filled ([`faults`], [`campaign`]). At the end the history has to be one of strong
//! snapshot isolation, definitions have to be linearizable, and nothing may be lost or doubled ([`check`]); and after each fault that
//! left a majority it has to take writes within five seconds. The seed makes choices repeatable, not the timing.

mod campaign;
mod check;
mod cluster;
mod faults;
mod history;
mod network;
mod node;
mod proxy;
mod report;
mod session;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::peers::wharf::Wharf;
use campaign::Campaign;
use cluster::Cluster;
use network::Network;
use report::Report;
use workload::{Shared, Workload};

/// How many nodes there are.
const NODES: usize = 3;

/// What `wharf-bench soak` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long it goes on.
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
    /// The `wharf` to test. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Connections that work at the same time.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=200))]
    clients: u16,
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults; the default is all of them.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<faults::Kind>,
    /// Tables are new every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    generation: u64,
    /// The longest time after a fault until each node of the majority that is left takes a write, that is not a failure.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5_000)]
    recovery_limit: u64,
    /// Use addresses of the loopback interface, although network namespaces may be allowed.
    #[arg(long)]
    loopback: bool,
    /// What the nodes log, as log.filter of the configuration has it.
    #[arg(long, value_name = "FILTER", default_value = "warn,wharf=info,openraft=off")]
    log: String,
    /// Write what it came to here, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the logs of a failed run, and say where they are.
    #[arg(long)]
    keep: bool,
}

/// Runs the command; the exit code is 1 when anything was wrong.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropping what runs ends the nodes and removes the namespaces.
    tokio::select! {
        ended = soak(&arguments) => ended,
        _ = terminate.recv() => bail!("ended by SIGTERM"),
        _ = tokio::signal::ctrl_c() => bail!("ended by SIGINT"),
    }
}

async fn soak(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::Builder::new().prefix(&format!("wharf-soak-{}-", std::process::id())).tempdir()?;
    let network = Network::make(seed, arguments.loopback).await?;
    let mut cluster = Cluster::start(binary, arguments.log.clone(), network, folder).await.context("the cluster")?;
    faults::usual_network(&cluster);

    let begun = Instant::now();
    let shared = Shared::new(cluster.addresses(), begun);
    let generation = Duration::from_secs(arguments.generation.max(1));
    let workload = Workload::start(&shared, random.fork(), usize::from(arguments.clients), generation).await;
    let mut campaign =
        Campaign { arguments, shared: &shared, cluster: &mut cluster, random, failures: Vec::new(), told: Vec::new() };
    campaign.run(begun + Duration::from_secs(arguments.seconds)).await?;
    let Campaign { mut failures, told, .. } = campaign;
    failures.extend(workload.stop().await);
    let mut is_whole = false;
    for node in 0..NODES {
        match workload::verify(&shared, node).await {
            Ok(violations) => {
                is_whole = true;
                failures.extend(violations);
            }
            Err(error) => failures.push(format!("node {} at the end: {error:#}", node + 1)),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    failures.extend(tokio::task::block_in_place(|| cluster.stop()));
    if is_whole {
        failures.extend(tokio::task::block_in_place(|| judge(&shared)));
    } else {
        // Without the last reads, whatever came late would seem to be lost.
        failures.push("no node could be read at the end, so what clients were told was not judged".to_owned());
    }

    let (namespaces, dates) = (cluster.network.has_namespaces(), cluster.nodes.iter().all(node::Node::has_own_date));
    let mut report = Report::new(seed, seconds, namespaces, dates, &shared.history(), told);
    report.failures = failures;
    report.print();
    if let Some(path) = &arguments.report {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    if report.failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.keep {
        println!("kept: {}", cluster.keep().display());
    }
    Ok(ExitCode::FAILURE)
}

/// What is wrong with the history.
fn judge(shared: &Arc<Shared>) -> Vec<String> {
    let history = shared.history();
    let mut violations = history.violations.clone();
    violations.extend(history.surprises.iter().map(|(error, many)| format!("{many} times: {error}")));
    violations.extend(check::lists(&history.transactions));
    let mut undecided = 0;
    for (name, definitions) in &history.definitions {
        match check::register(definitions) {
            check::Verdict::Linearizable => {}
            check::Verdict::Violation(what) => violations.push(format!("{name} is not linearizable at {what}")),
            check::Verdict::Undecided => undecided += 1,
        }
    }
    let (lists, names) = (history.transactions.len(), history.definitions.len());
    println!("\nchecked: {lists} transactions over lists, {names} names of which {undecided} were not decided");
    for kind in ["lists", "transfers", "sums", "inserts", "definitions"] {
        if history.done.get(kind).is_none_or(|many| *many == 0) {
            violations.push(format!("none of these was ever done: {kind}"));
        }
    }
    violations
}
