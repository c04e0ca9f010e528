//! `wharf-bench crash`: what was acknowledged is there after `kill -9`, and nothing that was not is there by halves.
//!
//! Writers on several connections insert, copy and run transactions while the server is killed at a random moment; it is started
//! again, which must take less than two seconds, and every row is counted against the [`journal`]. Then the same at each failpoint:
//! places on the commit path where the process aborts by itself. The seed is printed; it makes the choices repeatable, not the
//! timing.

mod journal;
mod writers;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio_postgres::{Client, NoTls};

use crate::peers::wharf::{Launch, Started, Wharf};
use journal::Journal;

/// What `wharf-bench crash` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kills at random moments.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// The `wharf` to kill. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Connections that write at the same time.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=200))]
    writers: u16,
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave the failpoints out.
    #[arg(long)]
    no_failpoints: bool,
    /// Only these failpoints.
    #[arg(long, value_delimiter = ',', conflicts_with = "no_failpoints")]
    failpoints: Vec<String>,
    /// The longest time from start to readiness that is not a failure.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2_000)]
    restart_limit: u64,
    /// Keep the data folder of a failed run here.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Tables are new every so many rounds: each commit of a table costs as much as the table has snapshots.
const ROUNDS_PER_GENERATION: u32 = 5;
/// The server lives this long in a round.
const LIFE_MILLISECONDS: std::ops::Range<u64> = 50..1_500;
/// A failpoint that was not reached by then is not on the path.
const FAILPOINT_LIMIT: Duration = Duration::from_secs(60);
/// A failpoint that a start passes by itself is passed this often before the process dies there, so that it is a commit's.
const LATER_PASS: u32 = 10;
/// Raft snapshots are taken this often, so that their failpoints are reached.
const SNAPSHOT_EVERY: (&str, &str) = ("WHARF_CATALOG__SNAPSHOT_EVERY_ENTRIES", "20");

/// Runs the command; the exit code is 1 when anything was lost, halved, or slow to come back.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut failures = random_kills(&arguments, &binary, seed).await?;
    if !arguments.no_failpoints {
        failures += failpoints(&arguments, &binary, seed).await?;
    }
    println!("{failures} failures");
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Kills at random moments, all rounds on one data folder.
async fn random_kills(arguments: &Arguments, binary: &Path, seed: u64) -> anyhow::Result<usize> {
    let folder = tempfile::Builder::new().prefix("wharf-crash-").tempdir()?;
    let data = folder.path().join("data");
    let launch = Launch::new(binary).data(&data).environment(SNAPSHOT_EVERY.0, SNAPSHOT_EVERY.1);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut journal = Journal::default();
    let mut failures = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut acknowledged = 0;
    let mut server = launch.start().context("the first start")?;
    for round in 1..=arguments.rounds {
        if (round - 1) % ROUNDS_PER_GENERATION == 0 {
            let client = connect(&server).await?;
            journal = verify_old(&mut failures, journal, &client, round).await?;
            writers::create_tables(&client, journal.generation(), usize::from(arguments.writers)).await?;
        }
        let shared = share(&mut journal);
        let writers = writers::start(&server.url(), &shared, random.fork(), usize::from(arguments.writers));
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE_MILLISECONDS))).await;
        server.kill();
        let known = failures.len();
        writers.finish(&mut failures).await;
        journal = unshare(shared);

        let begun = Instant::now();
        server = launch.start().with_context(|| format!("round {round}: the restart"))?;
        let client = connect(&server).await?;
        client.simple_query("SELECT 1").await?;
        let restart = begun.elapsed();
        slowest = slowest.max(restart);
        if restart > Duration::from_millis(arguments.restart_limit) {
            failures.push(format!("round {round}: the restart took {} ms", restart.as_millis()));
        }
        let counts = journal.verify(&client, &mut failures).await?;
        acknowledged += counts.acknowledged;
        println!("round {round}: {counts}, restart {} ms", restart.as_millis());
        for failure in &failures[known..] {
            println!("  FAILED {failure}");
        }
    }
    let client = connect(&server).await?;
    verify_old(&mut failures, journal, &client, arguments.rounds + 1).await?;
    drop(client);
    if acknowledged == 0 {
        failures.push("nothing was ever acknowledged".to_owned());
    }
    // The end of a life that was not cut short must be clean, too.
    let status = server.stop(Duration::from_secs(30))?;
    if !status.success() {
        failures.push(format!("after SIGTERM: {status}"));
    }
    println!("{} rounds, {acknowledged} acknowledged, slowest restart {} ms", arguments.rounds, slowest.as_millis());
    keep(arguments, folder, &failures, "rounds")?;
    Ok(failures.len())
}

/// All generations so far, once more; then begins the next.
async fn verify_old(
    failures: &mut Vec<String>,
    mut journal: Journal,
    client: &Client,
    round: u32,
) -> anyhow::Result<Journal> {
    let known = failures.len();
    journal.verify_all(client, failures).await?;
    for failure in &failures[known..] {
        println!("  FAILED before round {round}: {failure}");
    }
    journal.begin_generation();
    Ok(journal)
}

/// Dies at each failpoint, each on a data folder of its own that has rows in it already.
async fn failpoints(arguments: &Arguments, binary: &Path, seed: u64) -> anyhow::Result<usize> {
    let output = Command::new(binary).arg("failpoints").stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "`wharf failpoints` failed ({})", output.status);
    let names = String::from_utf8(output.stdout)?;
    let names: Vec<&str> = names.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        bail!("`wharf failpoints` names none");
    }
    let mut random = fastrand::Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut count = 0;
    for unknown in arguments.failpoints.iter().filter(|name| !names.contains(&name.as_str())) {
        println!("FAILED {unknown} is no failpoint");
        count += 1;
    }
    for name in names {
        if !arguments.failpoints.is_empty() && !arguments.failpoints.iter().any(|chosen| chosen == name) {
            continue;
        }
        for pass in [1, LATER_PASS] {
            let folder = tempfile::Builder::new().prefix("wharf-crash-").tempdir()?;
            let mut failures = Vec::new();
            let armed = format!("{name}=abort@{pass}");
            let outcome = one_failpoint(arguments, binary, folder.path(), &armed, random.fork(), &mut failures).await;
            let reached = outcome.as_ref().ok().map(|(reached, _)| *reached);
            if pass > 1 && reached == Some(Reached::Starting) {
                failures.push("only ever reached while starting".to_owned());
            }
            match outcome {
                Ok((_, how)) if failures.is_empty() => println!("ok      {armed}: {how}"),
                Ok((_, how)) => println!("FAILED  {armed}: {how}"),
                Err(error) => failures.push(format!("{error:#}")),
            }
            for failure in &failures {
                println!("  FAILED {armed}: {failure}");
            }
            count += failures.len();
            keep(arguments, folder, &failures, &armed)?;
            if reached != Some(Reached::Starting) {
                break;
            }
        }
    }
    Ok(count)
}

/// When the process died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Before anybody could connect.
    Starting,
    /// While it was written to, or on its way down.
    Serving,
}

async fn one_failpoint(
    arguments: &Arguments,
    binary: &Path,
    folder: &Path,
    failpoint: &str,
    random: fastrand::Rng,
    failures: &mut Vec<String>,
) -> anyhow::Result<(Reached, String)> {
    let count = usize::from(arguments.writers);
    let data = folder.join("data");
    let plain = Launch::new(binary).data(&data).environment(SNAPSHOT_EVERY.0, SNAPSHOT_EVERY.1);
    let armed = plain.clone().environment("WHARF_FAILPOINTS", failpoint);

    // Rows from a quiet life, so that there is something to lose.
    let mut journal = Journal::default();
    journal.begin_generation();
    {
        let server = plain.start()?;
        let client = connect(&server).await?;
        writers::create_tables(&client, journal.generation(), count).await?;
        let shared = share(&mut journal);
        let writers = writers::start(&server.url(), &shared, random.clone(), count);
        tokio::time::sleep(Duration::from_millis(300)).await;
        writers.stop();
        writers.finish(failures).await;
        journal = unshare(shared);
        server.stop(Duration::from_secs(30))?;
    }

    let begun = Instant::now();
    let mut how = None;
    match armed.attempt()? {
        Started::Ended(status, output) => {
            let status = aborted(status, &output)?;
            how = Some((Reached::Starting, format!("reached while starting ({status})")));
        }
        Started::Ready(mut server) => {
            let shared = share(&mut journal);
            let writers = writers::start(&server.url(), &shared, random.clone(), count);
            let mut ended = None;
            while ended.is_none() && begun.elapsed() < FAILPOINT_LIMIT {
                ended = server.wait(Duration::ZERO);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if let Some(status) = ended {
                let status = aborted(status, &server.log_tail(10))?;
                let after = begun.elapsed().as_millis();
                how = Some((Reached::Serving, format!("reached after {after} ms ({status})")));
            }
            writers.stop();
            writers.finish(failures).await;
            journal = unshare(shared);
            // It may be on the way down only.
            if how.is_none() {
                server.ask_to_end();
                let status = server.wait(Duration::from_secs(30)).context("it did not end after SIGTERM")?;
                if !status.success() {
                    let status = aborted(status, &server.log_tail(10))?;
                    how = Some((Reached::Serving, format!("reached while ending ({status})")));
                }
            }
        }
    }

    let begun = Instant::now();
    let server = plain.start().context("the restart")?;
    let client = connect(&server).await?;
    let restart = begun.elapsed();
    if restart > Duration::from_millis(arguments.restart_limit) {
        failures.push(format!("the restart took {} ms", restart.as_millis()));
    }
    let counts = journal.verify(&client, failures).await?;
    // It must be possible to go on.
    let shared = share(&mut journal);
    let writers = writers::start(&server.url(), &shared, random, count);
    tokio::time::sleep(Duration::from_millis(300)).await;
    writers.stop();
    writers.finish(failures).await;
    unshare(shared).verify(&client, failures).await?;
    drop(client);
    server.stop(Duration::from_secs(30))?;

    let (reached, how) = match how {
        Some(how) => how,
        None => (Reached::Serving, first_start(&armed, &plain, folder, failures).await?),
    };
    Ok((reached, format!("{how}, {counts}, restart {} ms", restart.as_millis())))
}

/// A failpoint that no statement reaches must be on the way of a first start.
async fn first_start(
    armed: &Launch,
    plain: &Launch,
    folder: &Path,
    failures: &mut Vec<String>,
) -> anyhow::Result<String> {
    let data = folder.join("first");
    match armed.clone().data(&data).attempt()? {
        Started::Ready(_) => {
            failures.push(format!("never reached in {} s of writing, nor by a first start", FAILPOINT_LIMIT.as_secs()));
            Ok("never reached".to_owned())
        }
        Started::Ended(status, output) => {
            let status = aborted(status, &output)?;
            let server = plain.clone().data(&data).start().context("after dying in the first start")?;
            connect(&server).await?.simple_query("CREATE TABLE t AS SELECT 1 AS one").await?;
            Ok(format!("reached in the first start ({status})"))
        }
    }
}

/// A failpoint ends the process by SIGABRT; any other end, such as a refusal to start, has not reached it.
fn aborted(status: ExitStatus, output: &str) -> anyhow::Result<ExitStatus> {
    const SIGABRT: i32 = 6;
    ensure!(status.signal() == Some(SIGABRT), "it ended by itself ({status}): {output}");
    Ok(status)
}

/// Moves the folder of a failed run to where it can be looked at.
fn keep(arguments: &Arguments, folder: tempfile::TempDir, failures: &[String], name: &str) -> anyhow::Result<()> {
    let (Some(keep), false) = (&arguments.keep, failures.is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(keep)?;
    let target = keep.join(name.replace([':', '/', '=', '@'], "-"));
    let source = folder.keep();
    // Another file system: it stays where it is.
    let kept = std::fs::rename(&source, &target).map_or(source, |()| target);
    println!("  kept in {}", kept.display());
    Ok(())
}

async fn connect(server: &Wharf) -> anyhow::Result<Client> {
    connect_to(&server.url()).await
}

async fn connect_to(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

type SharedJournal = Arc<std::sync::Mutex<Journal>>;

/// Hands the journal to writers; an empty one stays behind.
fn share(journal: &mut Journal) -> SharedJournal {
    Arc::new(std::sync::Mutex::new(std::mem::take(journal)))
}

/// The journal back from writers that have all ended.
fn unshare(shared: SharedJournal) -> Journal {
    let mutex = Arc::into_inner(shared).expect("the writers have ended and given their share back");
    mutex.into_inner().expect("no writer panics while it holds the journal")
}
