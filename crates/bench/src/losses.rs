//! `wharf-bench losses`: nodes die and hang while they run parts of TPC-H's queries, and nobody hears of it.
//!
//! Three nodes; a client asks the first one all queries, again and again, each of them divided, while another node is killed or
//! stopped at a random moment and comes back. Every answer is held against the one that one node alone gives, and an error is a
//! failure too, since the answers are too short for rows to have left before a loss. The seed is printed; it makes the choices
//! repeatable, not the timing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::answers::{Expected, load};
use crate::peers::cluster::Cluster;
use crate::peers::wharf::Wharf;
use crate::workloads::tpch::{Files, QUERIES, cache_folder};
use crate::workloads::wire::{Address, Wire};

/// What `wharf-bench losses` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often a node is lost.
    #[arg(long, default_value_t = 20)]
    losses: u32,
    /// Lose nodes in this way alone. Without it they are killed and hang by turns.
    #[arg(long, value_name = "WAY")]
    only: Option<Way>,
    /// TPC-H's scale factor.
    #[arg(long, default_value_t = 0.05)]
    scale: f64,
    /// The `wharf` to start. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
}

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    Kill,
    Hang,
}

/// How often a node is asked to lead before that is a failure.
const TRIES_TO_LEAD: u32 = 5;
/// How long all nodes are there before one is lost.
const CALM_MILLISECONDS: std::ops::Range<u64> = 200..3_000;
/// How long a node hangs: shorter and longer than others wait for it.
const HANGS_MILLISECONDS: std::ops::Range<u64> = 500..10_000;

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    queries: usize,
    failures: usize,
    longest: Duration,
}

/// Runs the command; the exit code is 1 when an answer was wrong or missing.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(move || check(&arguments)).await?
}

fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut choices = fastrand::Rng::with_seed(seed);
    let files = Files::prepare(&cache_folder().join("data"), arguments.scale, false)?;
    let mut cluster = Cluster::start(&Wharf::binary(arguments.wharf.as_deref())?, 3)?;
    let address = Address::parse(&cluster.url())?;
    load(&address, &files, false)?;
    let mut alone = Wire::connect(&address)?;
    alone.simple("SET wharf.distribute = 'off'")?;
    let expected = Expected::of(&mut alone)?;

    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&address, &expected, &mut alone, &stop));
        let disturbed = disturb(&mut cluster, arguments, &mut choices);
        stop.store(true, Ordering::Relaxed);
        let seen = asking.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        disturbed.map(|()| seen)
    })?;
    println!(
        "{} losses, {} queries, {} wrong or failed; the longest took {} ms",
        arguments.losses,
        seen.queries,
        seen.failures,
        seen.longest.as_millis()
    );
    Ok(if seen.failures == 0 && seen.queries > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks all queries until it is told to stop.
fn ask(address: &Address, expected: &Expected, alone: &mut Wire, stop: &AtomicBool) -> anyhow::Result<Seen> {
    let mut wire = Wire::connect(address)?;
    wire.simple("SET wharf.distribute = 'on'")?;
    let mut seen = Seen::default();
    for query in QUERIES.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let problems = expected.differences(query, &mut wire, alone).context(query.name)?;
        let took = begun.elapsed();
        seen.queries += 1;
        seen.longest = seen.longest.max(took);
        if let Some(problem) = problems.first() {
            seen.failures += 1;
            println!("{}  {problem}", query.name);
        }
    }
    Ok(seen)
}

/// Hands the lead over to a node; in an election another one may be ahead of it, then once more.
fn lead(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    let mut tries = 0;
    while cluster.leader()? != node {
        let mut wire = Wire::connect(&Address::parse(&cluster.url())?)?;
        let handed_over = wire.simple(&format!("CALL wharf.transfer_leader({})", cluster.number(node)?));
        tries += 1;
        if tries == TRIES_TO_LEAD {
            handed_over?;
        }
    }
    println!("node {} leads", node + 1);
    Ok(())
}

/// Kills and stops nodes other than the first.
fn disturb(cluster: &mut Cluster, arguments: &Arguments, choices: &mut fastrand::Rng) -> anyhow::Result<()> {
    for loss in 0..arguments.losses {
        cluster.wait_for_all()?;
        std::thread::sleep(Duration::from_millis(choices.u64(CALM_MILLISECONDS)));
        let node = choices.usize(1..3);
        // Every third time it is the leader that is lost.
        if loss % 3 == 2 {
            lead(cluster, node)?;
        }
        match arguments.only.unwrap_or(if loss % 2 == 0 { Way::Kill } else { Way::Hang }) {
            Way::Kill => {
                println!("loss {}: node {} is killed", loss + 1, node + 1);
                cluster.kill(node);
                cluster.restart(node)?;
            }
            Way::Hang => {
                let hangs = Duration::from_millis(choices.u64(HANGS_MILLISECONDS));
                println!("loss {}: node {} hangs for {} ms", loss + 1, node + 1, hangs.as_millis());
                cluster.node(node).signal("STOP");
                std::thread::sleep(hangs);
                cluster.node(node).signal("CONT");
            }
        }
    }
    cluster.wait_for_all()
}
