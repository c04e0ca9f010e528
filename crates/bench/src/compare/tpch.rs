//! TPC-H's 22 queries on every peer.

use std::time::Instant;

use super::memory::{Watch, watch_process};
use super::results::Results;
use super::{Peer, Run, server};
use crate::peers::python::Engine;
use crate::workloads::tpch::{QUERIES, table};
use crate::workloads::wire::Wire;

/// One who answers queries, and how.
pub(super) struct Competitor {
    pub(super) name: String,
    way: Way,
    pub(super) watch: Watch,
}

enum Way {
    Socket(Wire),
    Child(Box<Engine>),
}

impl Competitor {
    /// Milliseconds and rows.
    pub(super) fn run(&mut self, sql: &str) -> anyhow::Result<(f64, u64)> {
        match &mut self.way {
            Way::Socket(wire) => {
                let begun = Instant::now();
                let answer = wire.simple(sql)?;
                Ok((begun.elapsed().as_secs_f64() * 1000.0, answer.rows))
            }
            Way::Child(engine) => engine.query(sql),
        }
    }
}

/// Measures each query on all of them before the next query.
pub(super) fn measure(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    let mut competitors = competitors(run, results)?;
    for query in &QUERIES {
        let mut rows: Vec<Option<u64>> = vec![None; competitors.len()];
        for round in 0..=usize::from(run.arguments.rounds) {
            for index in Run::turns(round, competitors.len()) {
                let competitor = &mut competitors[index];
                match competitor.run(query.sql) {
                    // The first round warms up.
                    Ok((milliseconds, count)) => {
                        if round > 0 {
                            results.time(query.name, &competitor.name, milliseconds);
                        }
                        rows[index] = Some(count);
                    }
                    Err(error) => {
                        results.disagree(format!("{}: {} failed: {error:#}", query.name, competitor.name));
                    }
                }
            }
        }
        // Values are compared by `wharf-bench answers`; here a wrong number of rows would make a time worthless.
        let mut known =
            competitors.iter().zip(&rows).filter_map(|(competitor, rows)| Some((&competitor.name, (*rows)?)));
        if let Some((first, expected)) = known.next() {
            for (name, count) in known {
                if count != expected {
                    results.disagree(format!("{}: {name} gives {count} rows, {first} gives {expected}", query.name));
                }
            }
        }
        eprintln!("{}: {}", query.name, results.line(query.name));
    }
    for competitor in &competitors {
        results.memory(&competitor.name, "tpch", competitor.watch.peak());
    }
    Ok(())
}

fn servers(run: &Run) -> anyhow::Result<Vec<Competitor>> {
    let competitor = |server: &server::Server| {
        Ok(Competitor { name: server.name().to_owned(), way: Way::Socket(server.connect()?), watch: server.watch() })
    };
    run.servers.iter().map(competitor).collect()
}

/// Those whose tables can be changed: the servers, and DuckDB with files of its own.
pub(super) fn changing_competitors(run: &Run, results: &mut Results) -> anyhow::Result<Vec<Competitor>> {
    let mut competitors = servers(run)?;
    if let (Some(python), true) = (&run.python, run.arguments.peers.contains(&Peer::Duckdb)) {
        let parquet = |name| vec![run.files.parquet(table(name))];
        let engine = Engine::start(python, "duckdb-native", parquet, run.work.path())?;
        results.versions.insert("duckdb-native".to_owned(), engine.version().to_owned());
        let watch = watch_process(engine.pid());
        let name = "duckdb-native".to_owned();
        competitors.push(Competitor { name, way: Way::Child(Box::new(engine)), watch });
    }
    Ok(competitors)
}

fn competitors(run: &Run, results: &mut Results) -> anyhow::Result<Vec<Competitor>> {
    let mut competitors = servers(run)?;
    let Some(python) = &run.python else {
        return Ok(competitors);
    };
    let wharf_files = server::wharf_files(run);
    let mut children = Vec::new();
    if run.arguments.peers.contains(&Peer::Duckdb) {
        children.push(("duckdb-parquet", "duckdb-parquet", false));
        if wharf_files.is_some() {
            children.push(("duckdb-wharf-files", "duckdb-parquet", true));
        }
        children.push(("duckdb-native", "duckdb-native", false));
    }
    if run.arguments.peers.contains(&Peer::Datafusion) {
        children.push(("datafusion", "datafusion-parquet", false));
    }
    for (name, kind, reads_wharf) in children {
        let parquet = |name| match &wharf_files {
            Some(files) if reads_wharf => files[name].clone(),
            _ => vec![run.files.parquet(table(name))],
        };
        let engine = Engine::start(python, kind, parquet, run.work.path())?;
        results.versions.insert(name.to_owned(), engine.version().to_owned());
        let watch = watch_process(engine.pid());
        competitors.push(Competitor { name: name.to_owned(), way: Way::Child(Box::new(engine)), watch });
    }
    Ok(competitors)
}
