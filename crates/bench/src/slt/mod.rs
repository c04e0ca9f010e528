//! `wharf-bench slt`: SQL with its expected answers, run against Wharf or PostgreSQL.
//!
//! Two dialects of the format. Our own files ([`topics`]) are parsed and driven by the `sqllogictest` crate, and say the exact
//! type of every column. SQLite's corpus ([`corpus`]) has rules of its own for rendering, sorting and hashing.
//!
//! What always holds: an expectation is written only from a PostgreSQL. `--override` without `--postgres` is refused, and so is
//! a server under `--postgres` that calls itself Wharf.

mod column_letter;
mod corpus;
mod files;
mod judge;
mod rewrite;
mod session;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::peers::cluster::Cluster;
use crate::peers::postgres::{Postgres, SPECIFIED_VERSION};
use crate::peers::wharf::{Launch, Wharf};

/// What `wharf-bench slt` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files (`.slt`), or folders of them.
    #[arg(default_value = "sqllogictest")]
    paths: Vec<PathBuf>,
    /// The server, as postgres://user@host:port/database. Without it a server is started for the run.
    #[arg(long, value_name = "URL", conflicts_with = "wharf")]
    url: Option<String>,
    /// Start this `wharf` on an empty folder. The default is the one beside this program.
    #[arg(long, value_name = "PATH", conflicts_with = "postgres")]
    wharf: Option<PathBuf>,
    /// Divide every query that can be among so many workers, as a cluster divides long ones.
    #[arg(long, value_name = "WORKERS", conflicts_with_all = ["postgres", "url"], value_parser = clap::value_parser!(u16).range(2..=64))]
    fanout: Option<u16>,
    /// The same among the nodes of a cluster: so many processes.
    #[arg(long, value_name = "NODES", conflicts_with_all = ["postgres", "url", "fanout"], value_parser = clap::value_parser!(u16).range(2..=9))]
    cluster: Option<u16>,
    /// The server is a PostgreSQL: the one at `--url`, or one started for the run.
    #[arg(long)]
    postgres: bool,
    /// Write PostgreSQL's answers into the files as what is expected.
    #[arg(long = "override", requires = "postgres", conflicts_with = "corpus")]
    overwrite: bool,
    /// The records of our own files that are known to miss, one `file:line` each; anything else that misses fails the run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["corpus", "overwrite"])]
    known: Option<PathBuf>,
    /// Write that list from this run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["corpus", "overwrite"])]
    write_known: Option<PathBuf>,
    /// Run SQLite's corpus in this folder instead.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// The corpus records that PostgreSQL itself fails: they do not count.
    #[arg(long, value_name = "FILE", requires = "corpus")]
    baseline: Option<PathBuf>,
    /// Write that list, from a run against PostgreSQL.
    #[arg(long, value_name = "FILE", requires_all = ["corpus", "postgres"], conflicts_with = "baseline")]
    write_baseline: Option<PathBuf>,
    /// Write every failed corpus record with its SQL and the reason.
    #[arg(long, value_name = "FILE", requires = "corpus")]
    misses: Option<PathBuf>,
    /// Fail when less than this percentage of the corpus records that count passes.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.5, requires = "corpus")]
    require: f64,
    /// Files that run at the same time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Seconds that one record may take.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Whose answers a server gives; also the label of `onlyif` and `skipif` in our own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Postgres,
    Wharf,
}

impl Dialect {
    fn label(self) -> &'static str {
        match self {
            Dialect::Postgres => "postgres",
            Dialect::Wharf => "wharf",
        }
    }
}

/// The server that a run talks to.
#[derive(Clone, Debug)]
struct Target {
    config: Config,
    dialect: Dialect,
    /// What the server answers to `SELECT version()`.
    version: String,
    /// How long one record may take.
    limit: Duration,
}

/// Keeps a server that was started for the run alive until the run has ended.
enum Started {
    Nothing,
    Postgres { _server: Postgres },
    Wharf { _server: Wharf },
    Cluster { _servers: Cluster },
}

/// Runs the command; the exit code is 1 when an expectation was not met.
///
/// An error means that the run itself could not be done: no server, an unreadable file.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (url, _started) = open_server(&arguments)?;
    let target = identify(&url, &arguments).await?;
    println!("{}: {}", target.dialect.label(), target.version);
    let green = match &arguments.corpus {
        Some(folder) => {
            let options = corpus::Options {
                folder: folder.clone(),
                baseline: arguments.baseline.clone(),
                write_baseline: arguments.write_baseline.clone(),
                misses: arguments.misses.clone(),
                require: arguments.require,
                jobs: usize::from(arguments.jobs),
            };
            corpus::run(&target, &options).await?
        }
        None => {
            let left_out = arguments.postgres.then_some(files::WHARF_ONLY);
            let files = files::find(&arguments.paths, "slt", left_out)?;
            topics::run(
                &target,
                &files,
                usize::from(arguments.jobs),
                arguments.overwrite,
                &topics::KnownMisses { list: arguments.known.clone(), write: arguments.write_known.clone() },
            )
            .await?
        }
    };
    Ok(if green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open_server(arguments: &Arguments) -> anyhow::Result<(String, Started)> {
    if let Some(url) = &arguments.url {
        return Ok((url.clone(), Started::Nothing));
    }
    if arguments.postgres {
        let server = Postgres::start(&[])?;
        if server.installation().version != SPECIFIED_VERSION {
            eprintln!(
                "warning: PostgreSQL {} in {}; the recorded answers are those of {SPECIFIED_VERSION}",
                server.installation().version,
                server.installation().programs.display()
            );
        }
        return Ok((server.url(), Started::Postgres { _server: server }));
    }
    let binary = match &arguments.wharf {
        Some(binary) => binary.clone(),
        None => Wharf::beside_this_program().context(
            "no `wharf` beside this program: build it (cargo build --release -p wharf-server), or give --wharf PATH, --url URL or --postgres",
        )?,
    };
    if let Some(nodes) = arguments.cluster {
        let servers = Cluster::start(&binary.canonicalize()?, nodes)?;
        return Ok((servers.url(), Started::Cluster { _servers: servers }));
    }
    let mut launch = Launch::new(&binary);
    if let Some(workers) = arguments.fanout {
        launch = launch.environment("WHARF_FANOUT__IN_PROCESS_WORKERS", &workers.to_string());
    }
    let server = launch.start()?;
    Ok((server.url(), Started::Wharf { _server: server }))
}

async fn identify(url: &str, arguments: &Arguments) -> anyhow::Result<Target> {
    let mut config: Config = url.parse().with_context(|| format!("{url:?} is no address of a server"))?;
    if arguments.fanout.is_some() || arguments.cluster.is_some() {
        config.options("-c wharf.distribute=on");
    }
    let (client, connection) = config.connect(NoTls).await.with_context(|| format!("cannot connect to {url}"))?;
    tokio::spawn(connection);
    let answer = client.simple_query("SELECT version()").await.context("SELECT version() failed")?;
    let version = answer
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .context("SELECT version() gave no row")?;
    if arguments.postgres && version.to_ascii_lowercase().contains("wharf") {
        bail!("--postgres, but the server calls itself {version:?}: only PostgreSQL's answers become expectations");
    }
    let dialect = match arguments.postgres {
        true => Dialect::Postgres,
        false => Dialect::Wharf,
    };
    Ok(Target { config, dialect, version, limit: Duration::from_secs(arguments.timeout) })
}
