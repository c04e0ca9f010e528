//! `wharf-bench store`: what a warehouse on an object store costs, beside one on a local disk.
//!
//! TPC-H is loaded into both. The store is a real S3 server behind a proxy that makes it as slow as one far away and counts what it
//! is asked. The queries run three times over, each on both sides before the next: cold, after a start without a cache; warm, in
//! rounds; and restarted, after a start with the cache that is on disk.

mod results;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::peers::s3::{S3, with_warehouse};
use crate::peers::wharf::{Launch, Wharf};
use crate::throttle::{Answered, Distance, Requests, Throttle};
use crate::workloads::tpch::{Files, QUERIES, TABLES, cache_folder};
use crate::workloads::wire::{Address, Wire};
use results::{Asked, Phase, Results};

const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What `wharf-bench store` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// TPC-H's scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The `wharf` to measure. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Rounds of warm queries, after the cold one.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// An S3 server that is there already, with a bucket `lake`; else one is started.
    #[arg(long, value_name = "HOST:PORT")]
    s3: Option<SocketAddr>,
    /// From a request to the first byte of its answer.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30)]
    first_byte: u64,
    /// How much the store gives and takes, over all connections together.
    #[arg(long, value_name = "MB", default_value_t = 100.0, value_parser = positive)]
    megabytes_per_second: f64,
    /// A setting of the server on the store, as a variable of its environment.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Write the figures here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every request here, a line of JSON for each.
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// Fail when the aim is missed.
    #[arg(long)]
    enforce: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    (value.is_finite() && value > 0.0).then_some(value).ok_or_else(|| "it must be above 0".to_owned())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command. The exit code is 1 when answers differ, and with `--enforce` when the aim is missed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let own = match arguments.s3 {
        Some(_) => None,
        None => Some(tokio::task::spawn_blocking(S3::start).await??),
    };
    let server = arguments.s3.or_else(|| own.as_ref().map(S3::address)).context("there is no S3 server")?;
    let first_byte = Duration::from_millis(arguments.first_byte);
    let distance = Distance { first_byte, bytes_per_second: arguments.megabytes_per_second * 1e6 };
    let throttle = Throttle::start(server, distance).await?;
    let (endpoint, requests) = (format!("http://{}", throttle.address()), Arc::clone(throttle.requests()));
    let code = tokio::task::spawn_blocking(move || measure(&arguments, &endpoint, requests)).await?;
    drop(throttle);
    code
}

/// A server on one of the two.
struct Side {
    name: &'static str,
    launch: Launch,
    data: PathBuf,
    running: Option<(Wharf, Wire)>,
}

impl Side {
    fn start(&mut self) -> anyhow::Result<()> {
        let wharf = self.launch.start().with_context(|| format!("the server on the {} does not start", self.name))?;
        let wire = Wire::connect(&Address::parse(&wharf.url())?)?;
        self.running = Some((wharf, wire));
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((wharf, wire)) = self.running.take() {
            drop(wire);
            wharf.stop(STOP_LIMIT)?;
        }
        Ok(())
    }

    fn wire(&mut self) -> anyhow::Result<&mut Wire> {
        let running =
            self.running.as_mut().with_context(|| format!("the server on the {} is not running", self.name))?;
        Ok(&mut running.1)
    }
}

/// The run of a command.
struct Run {
    sides: [Side; 2],
    requests: Arc<Requests>,
    /// All requests of the phases, when they are to be written.
    kept: Vec<(&'static str, Vec<Answered>)>,
    results: Results,
}

fn measure(arguments: &Arguments, endpoint: &str, requests: Arc<Requests>) -> anyhow::Result<ExitCode> {
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    let files = Files::prepare(&cache_folder().join("data"), arguments.scale, false)?;
    let work = tempfile::Builder::new().prefix("wharf-store-").tempdir()?;
    let side = |name: &'static str| {
        let data = work.path().join(name);
        // Nothing but the queries is to ask the store.
        let launch = Launch::new(&binary).data(&data).environment("WHARF_MAINTENANCE__ENABLED", "false");
        Side { name, launch, data, running: None }
    };
    let mut store = side("store");
    store.launch = with_warehouse(store.launch, endpoint);
    for (name, value) in &arguments.set {
        store.launch = store.launch.environment(name, value);
    }
    let results = Results::new(arguments.scale, arguments.rounds, arguments.first_byte, arguments.megabytes_per_second);
    let mut run = Run { sides: [store, side("local")], requests, kept: Vec::new(), results };
    run.load(&files)?;
    run.restart()?;
    run.phase("cold", 1)?;
    run.phase("warm", arguments.rounds)?;
    run.restart_with_cache()?;
    run.phase("restarted", 1)?;
    for side in &mut run.sides {
        side.stop()?;
    }
    run.results.judge();
    println!("{}", run.results);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&run.results)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {}", path.display());
    }
    if let Some(path) = &arguments.requests {
        write_requests(path, &run.kept)?;
    }
    let failed = !run.results.failures.is_empty() || (arguments.enforce && !run.results.aim_is_met());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Run {
    /// Fills the tables of both.
    fn load(&mut self, files: &Files) -> anyhow::Result<()> {
        for side in &mut self.sides {
            side.start()?;
            let begun = Instant::now();
            let wire = side.wire()?;
            for table in &TABLES {
                wire.simple(&table.create(None))?;
                let file = File::open(files.csv(table))?;
                wire.copy_in(&format!("COPY {} FROM STDIN (FORMAT csv)", table.name), file)?;
            }
            let seconds = begun.elapsed().as_secs_f64();
            eprintln!("{}: loaded in {seconds:.1} s", side.name);
            self.results.load_seconds.insert(side.name, seconds);
        }
        self.end_phase(Phase { name: "load", ..Phase::default() })
    }

    /// Starts both servers again, without what they have kept.
    fn restart(&mut self) -> anyhow::Result<()> {
        for side in &mut self.sides {
            side.stop()?;
            let cache = side.data.join("cache");
            if cache.exists() {
                std::fs::remove_dir_all(&cache).with_context(|| format!("cannot remove {}", cache.display()))?;
            }
            side.start()?;
        }
        Ok(())
    }

    fn restart_with_cache(&mut self) -> anyhow::Result<()> {
        for side in &mut self.sides {
            side.stop()?;
            side.start()?;
        }
        Ok(())
    }

    /// Runs all queries so many times.
    fn phase(&mut self, name: &'static str, rounds: u16) -> anyhow::Result<()> {
        let mut phase = Phase { name, ..Phase::default() };
        for round in 0..usize::from(rounds) {
            for query in &QUERIES {
                let mut rows = Vec::with_capacity(self.sides.len());
                for index in 0..self.sides.len() {
                    // Each goes first in turn.
                    let side = &mut self.sides[(index + round) % 2];
                    let begun = Instant::now();
                    match side.wire()?.simple(query.sql) {
                        Ok(answer) => {
                            let times = phase.milliseconds.entry(side.name).or_default().entry(query.name).or_default();
                            times.push(begun.elapsed().as_secs_f64() * 1000.0);
                            rows.push(answer.rows);
                        }
                        Err(error) => {
                            self.results.failures.push(format!("{name} {}: {}: {error:#}", query.name, side.name));
                        }
                    }
                }
                if rows.windows(2).any(|pair| pair[0] != pair[1]) {
                    self.results.failures.push(format!("{name} {}: {rows:?} rows", query.name));
                }
            }
        }
        self.end_phase(phase)
    }

    fn end_phase(&mut self, mut phase: Phase) -> anyhow::Result<()> {
        let (names, rows) = self.sides[0].wire()?.rows("SELECT * FROM wharf.cache")?;
        let values = rows.into_iter().flatten().map(|value| value.and_then(|value| value.parse().ok()).unwrap_or(0));
        phase.cache = names.into_iter().zip(values).collect();
        let asked = self.requests.take();
        phase.asked = Asked::new(&asked);
        eprintln!("{}: {}", phase.name, phase.asked);
        self.kept.push((phase.name, asked.0));
        self.results.phases.push(phase);
        Ok(())
    }
}

fn write_requests(path: &std::path::Path, kept: &[(&'static str, Vec<Answered>)]) -> anyhow::Result<()> {
    use std::io::Write;

    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = std::io::BufWriter::new(file);
    for (phase, answered) in kept {
        for request in answered {
            writeln!(out, "{}", serde_json::json!({ "phase": phase, "request": request }))?;
        }
    }
    out.flush()?;
    Ok(())
}
