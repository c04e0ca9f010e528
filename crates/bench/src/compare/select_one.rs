//! `SELECT 1`, prepared: the latency of one connection, and the throughput of eight.
//!
//! The figures are those of the bare client, which leaves the server nowhere to hide; the latency through tokio-postgres, which is
//! what a program written in Rust sees, stands beside them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::Run;
use super::results::Results;
use super::server::Server;
use crate::report::quantile;
use crate::workloads::wire::Wire;

const LATENCY_QUERIES: usize = 5_000;
const CONNECTIONS: usize = 8;
const THROUGHPUT_FOR: Duration = Duration::from_secs(3);
const STATEMENT: &str = "one";

/// Measures both.
pub(super) fn measure(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    for round in 0..=usize::from(run.arguments.rounds) {
        for index in Run::turns(round, run.servers.len()) {
            let server = &run.servers[index];
            let latencies = latencies(server)?;
            let through_library = latencies_through_library(server)?;
            let throughput = throughput(server)?;
            if round > 0 {
                results.time("select1-p50", server.name(), quantile(&latencies, 0.5));
                results.time("select1-p99", server.name(), quantile(&latencies, 0.99));
                results.time("select1-p50-tokio-postgres", server.name(), quantile(&through_library, 0.5));
                results.rate("select1-per-second", server.name(), throughput);
            }
        }
    }
    Ok(())
}

fn prepared(server: &Server) -> anyhow::Result<Wire> {
    let mut wire = server.connect()?;
    wire.prepare(STATEMENT, "SELECT 1")?;
    Ok(wire)
}

/// Milliseconds of each query.
fn latencies(server: &Server) -> anyhow::Result<Vec<f64>> {
    let mut wire = prepared(server)?;
    let messages = Wire::execution(STATEMENT);
    let mut latencies = Vec::with_capacity(LATENCY_QUERIES);
    for _ in 0..LATENCY_QUERIES {
        let begun = Instant::now();
        let rows = wire.exchange(&messages)?;
        latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(rows == 1, "SELECT 1 gave {rows} rows");
    }
    Ok(latencies)
}

/// Milliseconds of each query, through tokio-postgres.
fn latencies_through_library(server: &Server) -> anyhow::Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
        tokio::spawn(connection);
        let statement = client.prepare("SELECT 1").await?;
        let mut latencies = Vec::with_capacity(LATENCY_QUERIES);
        for _ in 0..LATENCY_QUERIES {
            let begun = Instant::now();
            client.query_one(&statement, &[]).await?;
            latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(latencies)
    })
}

/// Queries a second, all connections together.
fn throughput(server: &Server) -> anyhow::Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(prepared(server)?);
    }
    let start = Barrier::new(CONNECTIONS);
    let counts: Vec<anyhow::Result<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|mut wire| {
                let start = &start;
                scope.spawn(move || {
                    let messages = Wire::execution(STATEMENT);
                    start.wait();
                    let begun = Instant::now();
                    let mut count = 0.0;
                    while begun.elapsed() < THROUGHPUT_FOR {
                        wire.exchange(&messages)?;
                        count += 1.0;
                    }
                    Ok(count / begun.elapsed().as_secs_f64())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("the thread does not panic")).collect()
    });
    counts.into_iter().sum()
}
