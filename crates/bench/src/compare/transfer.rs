//! Rows in bulk: COPY in, and out as text and binary.

use std::fs::File;
use std::time::Instant;

use anyhow::ensure;

use super::Run;
use super::results::Results;
use crate::workloads::tpch::table;

/// CSV of the first rows of lineitem, by COPY into an empty table without indexes.
pub(super) fn measure_in(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    let lineitem = table("lineitem");
    let (path, rows) = run.files.csv_of(lineitem, run.arguments.scale, run.arguments.copy_in_rows)?;
    results.rows.insert("copy-in".to_owned(), rows);
    let watches: Vec<_> = run.servers.iter().map(super::server::Server::watch).collect();
    for round in 0..=usize::from(run.arguments.rounds) {
        for index in Run::turns(round, run.servers.len()) {
            let server = &run.servers[index];
            let mut wire = server.connect()?;
            wire.simple("DROP TABLE IF EXISTS copied_in")?;
            wire.simple(&lineitem.create(Some("copied_in")))?;
            let begun = Instant::now();
            let answer = wire.copy_in("COPY copied_in FROM STDIN (FORMAT csv)", File::open(&path)?)?;
            let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
            ensure!(answer.tag == format!("COPY {rows}"), "{} answered {:?}", server.name(), answer.tag);
            if round > 0 {
                results.time("copy-in", server.name(), milliseconds);
            }
            wire.simple("DROP TABLE copied_in")?;
        }
        eprintln!("copy-in, round {round}: {}", results.line("copy-in"));
    }
    for (server, watch) in run.servers.iter().zip(watches) {
        results.memory(server.name(), "copy-in", watch.peak());
    }
    Ok(())
}

/// One way to take rows out.
struct Way {
    name: &'static str,
    sql: &'static str,
    protocol: Protocol,
}

#[derive(Clone, Copy)]
enum Protocol {
    Simple,
    ExtendedText,
    ExtendedBinary,
}

const WAYS: [Way; 4] = [
    Way { name: "copy-out", sql: "COPY taken_out TO STDOUT", protocol: Protocol::Simple },
    Way { name: "select-out-text", sql: "SELECT * FROM taken_out", protocol: Protocol::Simple },
    Way { name: "select-out-extended-text", sql: "SELECT * FROM taken_out", protocol: Protocol::ExtendedText },
    Way { name: "select-out-binary", sql: "SELECT * FROM taken_out", protocol: Protocol::ExtendedBinary },
];

/// Rows of lineitem out: COPY as text, SELECT as text, and SELECT in the binary formats.
pub(super) fn measure_out(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    let mut expected = None;
    for server in &run.servers {
        let mut wire = server.connect()?;
        wire.simple("DROP TABLE IF EXISTS taken_out")?;
        wire.simple(&format!(
            "CREATE TABLE taken_out AS SELECT * FROM lineitem LIMIT {}",
            run.arguments.copy_out_rows
        ))?;
        if !server.is_wharf() {
            wire.simple("VACUUM ANALYZE taken_out")?;
        }
        let rows = wire.simple("SELECT * FROM taken_out")?.rows;
        ensure!(*expected.get_or_insert(rows) == rows, "{} has {rows} rows to take out", server.name());
    }
    results.rows.insert("copy-out".to_owned(), expected.unwrap_or(0));
    let watches: Vec<_> = run.servers.iter().map(super::server::Server::watch).collect();
    for way in &WAYS {
        for round in 0..=usize::from(run.arguments.rounds) {
            for index in Run::turns(round, run.servers.len()) {
                let server = &run.servers[index];
                let mut wire = server.connect()?;
                let begun = Instant::now();
                let answer = match way.protocol {
                    Protocol::Simple => wire.simple(way.sql)?,
                    Protocol::ExtendedText => wire.extended(way.sql, false)?,
                    Protocol::ExtendedBinary => wire.extended(way.sql, true)?,
                };
                let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
                // CopyData may hold several lines, so the tag counts.
                let rows = answer.tag.rsplit(' ').next().and_then(|count| count.parse().ok());
                ensure!(rows == expected, "{}: {} answered {:?}", way.name, server.name(), answer.tag);
                if round > 0 {
                    results.time(way.name, server.name(), milliseconds);
                }
            }
        }
        eprintln!("{}: {}", way.name, results.line(way.name));
    }
    for (server, watch) in run.servers.iter().zip(watches) {
        results.memory(server.name(), "copy-out", watch.peak());
    }
    Ok(())
}
