//! `wharf-bench inserts`: many connections, each inserting one row after the other into one table.
//!
//! Every acknowledged row is counted at the end: a rate of rows that are not there is worth nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls};

use crate::peers::wharf::Wharf;
use crate::report::{processor_ms, quantile};

/// What `wharf-bench inserts` accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server, as postgres://user@host:port/database. Without it a Wharf is started for the run.
    #[arg(long)]
    url: Option<String>,
    /// Start this `wharf` on an empty folder. The default is the one beside this program.
    #[arg(long, value_name = "PATH")]
    wharf: Option<PathBuf>,
    /// Connections that insert at the same time; 1 shows what a single one takes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    connections: Vec<u16>,
    /// For so long each.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (url, server) = match &arguments.url {
        Some(url) => (url.clone(), None),
        None => {
            let server = Wharf::start(&Wharf::binary(arguments.wharf.as_deref())?)?;
            (server.url(), Some(server))
        }
    };
    println!(
        "{:>11} {:>10} {:>10} {:>10} {:>10} {:>20}",
        "connections", "rows", "rows/s", "p50 ms", "p99 ms", "ms of processor, row"
    );
    for connections in &arguments.connections {
        let duration = Duration::from_secs(arguments.seconds);
        measure(&url, server.as_ref(), usize::from(*connections), duration).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("cannot connect")?;
    tokio::spawn(connection);
    Ok(client)
}

/// `server` is the one behind `url` if it was started for the run: only then it is known what it costs the processor.
async fn measure(url: &str, server: Option<&Wharf>, connections: usize, duration: Duration) -> anyhow::Result<()> {
    let client = connect(url).await?;
    client
        .batch_execute("DROP TABLE IF EXISTS inserts; CREATE TABLE inserts (writer integer, n bigint, t text)")
        .await?;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(connect(url).await?);
    }
    let used_before = server.map(|server| processor_ms(server.pid()));
    let begun = Instant::now();
    let mut writers = Vec::with_capacity(connections);
    for (writer, client) in clients.into_iter().enumerate() {
        writers.push(tokio::spawn(async move {
            let statement = client.prepare("INSERT INTO inserts VALUES ($1, $2, 'a row of a small insert')").await?;
            let writer = i32::try_from(writer)?;
            let mut latencies = Vec::new();
            while begun.elapsed() < duration {
                let number = i64::try_from(latencies.len())?;
                let sent = Instant::now();
                client.execute(&statement, &[&writer, &number]).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for writer in writers {
        latencies.extend(writer.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rows = latencies.len();
    let used = server.zip(used_before).map(|(server, before)| processor_ms(server.pid()).saturating_sub(before));
    let used = used.map_or_else(|| "-".to_owned(), |used| format!("{:.2}", used as f64 / rows.max(1) as f64));
    println!(
        "{connections:>11} {rows:>10} {:>10.0} {:>10.2} {:>10.2} {used:>20}",
        rows as f64 / seconds,
        quantile(&latencies, 0.5),
        quantile(&latencies, 0.99)
    );
    let row = client.query_one("SELECT count(*), count(DISTINCT n * 1000 + writer) FROM inserts", &[]).await?;
    let counts = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    ensure!(counts == (i64::try_from(rows)?, i64::try_from(rows)?), "{rows} were acknowledged, there are {counts:?}");
    Ok(())
}
