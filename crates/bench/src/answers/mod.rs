//! `wharf-bench answers`: Wharf's answers to TPC-H's 22 queries are PostgreSQL's, character by character.
//!
//! Both servers hold the same generated rows. Values are compared as the text the servers send, rows in the order that ORDER BY
//! gives them. Rows that ORDER BY does not tell apart are compared as a set; when such rows stand at the edge that LIMIT cuts,
//! either choice among PostgreSQL's is right.

mod difference;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::peers::cluster::Cluster;
use crate::peers::postgres::Postgres;
use crate::peers::wharf::{Launch, Wharf};
use crate::workloads::tpch::{Files, QUERIES, Query, TABLES, cache_folder};
use crate::workloads::wire::{Address, TextRow, Wire};
use difference::{Verdict, compare};

/// What `wharf-bench answers` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// TPC-H's scale factor.
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
    /// Start this `wharf` on an empty folder. The default is the one beside this program.
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    wharf: Option<PathBuf>,
    /// Load it by `wharf demo` instead of COPY.
    #[arg(long, conflicts_with = "url")]
    demo: bool,
    /// Divide every query among so many workers; one that is not divided counts as different.
    #[arg(long, value_name = "WORKERS", conflicts_with = "url", value_parser = clap::value_parser!(u16).range(2..=64))]
    fanout: Option<u16>,
    /// The same among the nodes of a cluster: so many processes.
    #[arg(long, value_name = "NODES", conflicts_with_all = ["url", "fanout", "demo"], value_parser = clap::value_parser!(u16).range(2..=9))]
    cluster: Option<u16>,
    /// Ask this server, as postgres://user@host:port/database: it holds TPC-H at this scale already.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only these queries, such as q01,q15.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Differences of one query that are printed.
const SHOWN: usize = 5;

/// Runs the command; the exit code is 1 when an answer differs.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(move || check(&arguments)).await?
}

/// The server under test, and what must live as long as it.
struct Subject {
    address: Address,
    _server: Option<Wharf>,
    _cluster: Option<Cluster>,
    _folder: Option<TempDir>,
}

fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let files = Files::prepare(&cache_folder().join("data"), arguments.scale, false)?;
    let postgres = Postgres::start(&[
        ("shared_buffers", "1GB"),
        ("work_mem", "256MB"),
        ("maintenance_work_mem", "512MB"),
        ("max_wal_size", "16GB"),
    ])?;
    let postgres_address = Address::parse(&postgres.url())?;
    eprintln!("loading PostgreSQL {}", postgres.installation().version);
    load(&postgres_address, &files, true)?;
    let subject = subject(arguments, &files)?;

    let mut expected = Wire::connect(&postgres_address)?;
    let mut actual = Wire::connect(&subject.address)?;
    for table in &TABLES {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let (ours, theirs) = (actual.rows(&sql)?.1, expected.rows(&sql)?.1);
        if ours != theirs {
            bail!("{} has {ours:?} rows, PostgreSQL's has {theirs:?}: is this scale {}?", table.name, arguments.scale);
        }
    }
    let divided = arguments.fanout.is_some() || arguments.cluster.is_some();
    if divided {
        actual.simple("SET wharf.distribute = 'on'")?;
    }
    let mut wrong = 0;
    let chosen = |query: &&Query| arguments.only.is_empty() || arguments.only.iter().any(|name| name == query.name);
    for query in QUERIES.iter().filter(chosen) {
        let (rows, mut problems) = differences(query, &mut actual, &mut expected)?;
        if divided {
            problems.extend(not_divided(query, &mut actual)?);
        }
        if problems.is_empty() {
            println!("{}  same, {rows} rows", query.name);
            continue;
        }
        wrong += 1;
        println!("{}  DIFFERENT", query.name);
        for problem in problems.iter().take(SHOWN) {
            println!("     {problem}");
        }
        if problems.len() > SHOWN {
            println!("     and {} more", problems.len() - SHOWN);
        }
    }
    println!("scale {}: {wrong} queries differ", arguments.scale);
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// PostgreSQL's number of rows, and what is different in the other answer.
fn differences(query: &Query, actual: &mut Wire, expected: &mut Wire) -> anyhow::Result<(usize, Vec<String>)> {
    let answer = expected.rows(query.sql)?;
    let problems = differences_from(&answer, query, actual, expected)?;
    Ok((answer.1.len(), problems))
}

/// What is different in the other answer from the one that `expected` gives.
fn differences_from(
    (expected_names, expected_rows): &(Vec<String>, Vec<TextRow>),
    query: &Query,
    actual: &mut Wire,
    expected: &mut Wire,
) -> anyhow::Result<Vec<String>> {
    let (actual_names, actual_rows) = match actual.rows(query.sql) {
        Ok(answer) => answer,
        Err(error) => return Ok(vec![format!("{error:#}")]),
    };
    let mut problems = Vec::new();
    if actual_names != *expected_names {
        problems.push(format!("columns {actual_names:?}, expected {expected_names:?}"));
    }
    match compare(&actual_rows, expected_rows, query.order) {
        Verdict::Same => {}
        Verdict::Different(found) => problems.extend(found),
        Verdict::OtherEdge(edge) => {
            // Legitimate only when the other server has these rows, too, beyond its LIMIT.
            let (_, all) = expected.rows(&without_limit(query.sql))?;
            problems.extend(missing(edge, all).map(|row| format!("the row {row:?} is not among those expected")));
        }
    }
    Ok(problems)
}

/// A server's answers to all queries.
pub(crate) struct Expected(Vec<(Vec<String>, Vec<TextRow>)>);

impl Expected {
    /// Asks for them.
    pub(crate) fn of(server: &mut Wire) -> anyhow::Result<Expected> {
        let answers = QUERIES.iter().map(|query| server.rows(query.sql).context(query.name));
        Ok(Expected(answers.collect::<anyhow::Result<_>>()?))
    }

    /// What is different in the answer of another server. `server` is asked only for what LIMIT has cut off.
    pub(crate) fn differences(
        &self,
        query: &Query,
        actual: &mut Wire,
        server: &mut Wire,
    ) -> anyhow::Result<Vec<String>> {
        let position = QUERIES.iter().position(|known| known.name == query.name);
        let answer = position.and_then(|position| self.0.get(position)).context("a query without an answer")?;
        differences_from(answer, query, actual, server)
    }
}

/// The reason that EXPLAIN gives when several workers have no part in a query.
fn not_divided(query: &Query, actual: &mut Wire) -> anyhow::Result<Option<String>> {
    let (_, lines) = actual.rows(&format!("EXPLAIN {}", query.sql))?;
    let lines: Vec<String> = lines.into_iter().flatten().flatten().collect();
    let divided = lines.iter().any(|line| line.contains("Stage 1 "));
    Ok((!divided).then(|| lines.last().cloned().unwrap_or_default()))
}

/// The rows that `all` does not hold as often as `edge` does.
fn missing(edge: Vec<TextRow>, mut all: Vec<TextRow>) -> impl Iterator<Item = TextRow> {
    edge.into_iter().filter(move |row| match all.iter().position(|candidate| candidate == row) {
        Some(index) => {
            all.swap_remove(index);
            false
        }
        None => true,
    })
}

fn without_limit(sql: &str) -> String {
    sql.rsplit_once("\nlimit ").map_or(sql, |(query, _)| query).to_owned()
}

fn subject(arguments: &Arguments, files: &Files) -> anyhow::Result<Subject> {
    if let Some(url) = &arguments.url {
        return Ok(Subject { address: Address::parse(url)?, _server: None, _cluster: None, _folder: None });
    }
    let binary = Wharf::binary(arguments.wharf.as_deref())?;
    if let Some(nodes) = arguments.cluster {
        let cluster = Cluster::start(&binary, nodes)?;
        let address = Address::parse(&cluster.url())?;
        eprintln!("loading Wharf");
        load(&address, files, false)?;
        return Ok(Subject { address, _server: None, _cluster: Some(cluster), _folder: None });
    }
    let folder = tempfile::Builder::new().prefix("wharf-answers-").tempdir()?;
    let data = folder.path().join("data");
    if arguments.demo {
        demo(&binary, arguments.scale, &data)?;
    }
    let mut launch = Launch::new(&binary).data(&data);
    if let Some(workers) = arguments.fanout {
        launch = launch.environment("WHARF_FANOUT__IN_PROCESS_WORKERS", &workers.to_string());
    }
    let server = launch.start()?;
    let address = Address::parse(&server.url())?;
    if !arguments.demo {
        eprintln!("loading Wharf");
        load(&address, files, false)?;
    }
    Ok(Subject { address, _server: Some(server), _cluster: None, _folder: Some(folder) })
}

fn demo(binary: &Path, scale: f64, data: &Path) -> anyhow::Result<()> {
    let status = Command::new(binary)
        .args(["demo", "--exit", "--listen", "127.0.0.1:0", "--scale", &scale.to_string(), "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    if !status.success() {
        bail!("wharf demo failed ({status})");
    }
    Ok(())
}

/// Creates TPC-H's tables and fills them.
pub(crate) fn load(address: &Address, files: &Files, with_indexes: bool) -> anyhow::Result<()> {
    let mut wire = Wire::connect(address)?;
    for table in &TABLES {
        wire.simple(&table.create(None))?;
        wire.copy_in(&format!("COPY {} FROM STDIN (FORMAT csv)", table.name), File::open(files.csv(table))?)?;
        if with_indexes {
            for index in table.indexes {
                wire.simple(index)?;
            }
        }
    }
    if with_indexes {
        wire.simple("ANALYZE")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_there_once_is_missing_the_second_time() {
        let row = |text: &str| vec![Some(text.to_owned())];
        let left: Vec<TextRow> =
            missing(vec![row("a"), row("a"), row("b")], vec![row("b"), row("a"), row("c")]).collect();
        assert_eq!(left, [row("a")]);
    }

    #[test]
    fn only_the_outer_limit_is_taken_away() {
        assert_eq!(without_limit("select 1\norder by\n    a\nlimit 10;\n"), "select 1\norder by\n    a");
        assert_eq!(without_limit("select 1;\n"), "select 1;\n");
        let limited = QUERIES.iter().filter(|query| without_limit(query.sql) != query.sql).count();
        assert_eq!(limited, 5);
    }
}
