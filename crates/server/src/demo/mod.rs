//! The demo's data and queries: TPC-H, loaded through the server's own write path and queried over its own port.
//!
//! Always holds:
//! - A table is loaded whole or not at all: its rows are one append, one commit, and the comment that calls it loaded
//!   comes after. A demo that was killed goes on with the table it was at.
//! - Only tables that carry the demo's comment are ever dropped. A table of the same name that is somebody's own makes
//!   the demo stop and say so.
//!
//! It does not start or stop the node: that is `cli::demo`.

mod progress;
mod queries;
mod tables;

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_stream::wrappers::ReceiverStream;
use wharf_catalog::State;
use wharf_engine::Session;
use wharf_values::{SqlError, SqlState};

use crate::failure::Failure;
use crate::node::DATABASE;
use progress::Progress;
use tables::{TABLES, Table};

pub(crate) use progress::say;

/// Batches made ahead of the writer: enough to keep both busy, few enough to stay small.
const BATCHES_AHEAD: usize = 8;
/// How long a node that has just started is given to find the others, and how often it is asked.
const FINDING: Duration = Duration::from_secs(5);
const FINDING_PAUSE: Duration = Duration::from_millis(100);

/// What a query came to.
struct Measured {
    name: &'static str,
    rows: usize,
    elapsed: Duration,
}

/// What the catalog says of one of the demo's tables.
#[derive(Debug, PartialEq)]
enum Standing {
    /// There is none of that name.
    Absent,
    /// Ours, and complete.
    Loaded,
    /// Ours, of a load that did not finish.
    Interrupted,
    /// Ours, of another scale.
    OtherScale(String),
    /// Not made by the demo.
    Foreign,
}

/// Loads what is missing of TPC-H at `scale`.
///
/// # Errors
/// Tables of another scale or of another origin in the way, or a failed load.
pub(crate) async fn load(catalog: &State, session: &mut Session, client: &Client, scale: f64) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for table in &TABLES {
        match standing(comment_of(catalog, table.name), scale) {
            Standing::Loaded => {}
            Standing::Absent => missing.push((table, false)),
            Standing::Interrupted => missing.push((table, true)),
            Standing::OtherScale(found) => {
                return Err(Failure::new(
                    format!("this data folder holds TPC-H at scale {found}, not {scale}"),
                    format!("run the demo with --scale {found}, or with another folder: --data ./wharf-data-{scale}"),
                ));
            }
            Standing::Foreign => {
                return Err(Failure::new(
                    format!("table public.{} is there and the demo did not make it", table.name),
                    "run the demo with another folder: --data ./wharf-demo",
                ));
            }
        }
    }
    if missing.is_empty() {
        say(format_args!("TPC-H at scale {scale} is there already"));
        return Ok(());
    }
    say(format_args!("loading TPC-H at scale {scale}"));
    let progress = Progress::new();
    for (table, drop_first) in missing {
        if drop_first {
            execute(client, &format!("DROP TABLE public.{}", table.name)).await?;
        }
        load_table(session, client, table, scale, &progress).await?;
    }
    Ok(())
}

async fn load_table(
    session: &mut Session,
    client: &Client,
    table: &'static Table,
    scale: f64,
    progress: &Progress,
) -> Result<(), Failure> {
    let Table { name, definition, .. } = table;
    execute(client, &format!("CREATE TABLE public.{name} ({definition})")).await?;
    execute(client, &format!("COMMENT ON TABLE public.{name} IS '{}'", loading(scale))).await?;

    let step = progress.step(name, table.expected_rows(scale), "rows");
    let counter = step.counter();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch, SqlError>>(BATCHES_AHEAD);
    let generator = tokio::task::spawn_blocking(move || {
        for batch in table.batches(scale) {
            let batch = batch.map_err(|error| {
                SqlError::new(SqlState::INTERNAL_ERROR, format!("could not generate {name}: {error}"))
            });
            counter.inc(batch.as_ref().map_or(0, RecordBatch::num_rows) as u64);
            // The writer is gone: it has its own error to tell.
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    let rows = session
        .append_batches("public", name, ReceiverStream::new(receiver).boxed())
        .await
        .map_err(|error| sql_failure(format_args!("cannot load {name}"), &error))?;
    generator.await.map_err(|error| Failure::from_error("cannot generate rows", &error, "report this"))?;
    execute(client, &format!("COMMENT ON TABLE public.{name} IS '{}'", loaded(scale))).await?;
    step.finish(rows);
    Ok(())
}

/// Runs the 22 queries over the wire and prints what each took.
///
/// # Errors
/// The first query that fails.
pub(crate) async fn run_queries(client: &Client) -> Result<(), Failure> {
    divide(client).await?;
    let progress = Progress::new();
    let step = progress.step("queries", queries::QUERIES.len() as u64, "queries");
    let mut measured = Vec::with_capacity(queries::QUERIES.len());
    for (name, sql) in queries::QUERIES {
        let started = Instant::now();
        let messages = client
            .simple_query(sql)
            .await
            .map_err(|error| client_failure(format_args!("query {name} failed"), &error))?;
        let rows = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count();
        measured.push(Measured { name, rows, elapsed: started.elapsed() });
        step.counter().inc(1);
    }
    step.finish(measured.len() as u64);
    say(report(&measured));
    Ok(())
}

/// Where there are other nodes, they are to take part, however small the tables of a demo are.
async fn divide(client: &Client) -> Result<(), Failure> {
    let nodes = nodes_that_run_queries(client).await?;
    if nodes.len() < 2 {
        return Ok(());
    }
    say(format_args!("every query runs on {} nodes: {}", nodes.len(), nodes.join(", ")));
    execute(client, "SET wharf.distribute = 'on'").await
}

/// The addresses of the cluster's nodes; without those that this one has not found within a while of its start.
async fn nodes_that_run_queries(client: &Client) -> Result<Vec<String>, Failure> {
    let begun = Instant::now();
    loop {
        let asked =
            client.query("SELECT address, coalesce(runs_queries, false) FROM wharf.nodes ORDER BY node_id", &[]).await;
        let rows = asked.map_err(|error| client_failure("cannot list the nodes", &error))?;
        let all = rows.iter().all(|row| row.get(1));
        if all || begun.elapsed() >= FINDING {
            return Ok(rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect());
        }
        tokio::time::sleep(FINDING_PAUSE).await;
    }
}

/// The table of queries, rows and milliseconds.
fn report(measured: &[Measured]) -> String {
    let mut text = format!("\n{:<7}{:>8}{:>15}\n", "query", "rows", "milliseconds");
    for Measured { name, rows, elapsed } in measured {
        text.push_str(&format!("{name:<7}{rows:>8}{:>15.1}\n", elapsed.as_secs_f64() * 1e3));
    }
    let total: Duration = measured.iter().map(|one| one.elapsed).sum();
    let rows: usize = measured.iter().map(|one| one.rows).sum();
    text.push_str(&format!("{:<7}{rows:>8}{:>15.1}\n", "total", total.as_secs_f64() * 1e3));
    text
}

async fn execute(client: &Client, sql: &str) -> Result<(), Failure> {
    let done = client.batch_execute(sql).await;
    done.map_err(|error| client_failure(format_args!("{sql}"), &error))
}

/// An error that came over the wire, with the server's own message rather than the client library's.
fn client_failure(what: impl std::fmt::Display, error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(answer) => Failure::new(
            format!("{what}: {} ({})", answer.message(), answer.code().code()),
            answer.hint().unwrap_or("the log on standard error may say more"),
        ),
        None => Failure::from_error(what, error, "the log on standard error may say more"),
    }
}

fn sql_failure(what: impl std::fmt::Display, error: &SqlError) -> Failure {
    let remedy = error.hint.clone().unwrap_or_else(|| "the log on standard error may say more".to_owned());
    Failure::from_error(what, error, &remedy)
}

const LOADED: &str = ", loaded by wharf demo";
const LOADING: &str = ", being loaded by wharf demo";
const ORIGIN: &str = "TPC-H at scale ";

fn loaded(scale: f64) -> String {
    format!("{ORIGIN}{scale}{LOADED}")
}

fn loading(scale: f64) -> String {
    format!("{ORIGIN}{scale}{LOADING}")
}

/// Nothing: no such table. Otherwise its comment, which may be empty.
fn comment_of(catalog: &State, name: &str) -> Option<String> {
    let database = catalog.database_by_name(DATABASE)?;
    let public = catalog.namespace_by_name(database.oid, "public")?;
    let relation = catalog.relation(public.oid, name)?;
    Some(relation.comment().unwrap_or_default().to_owned())
}

fn standing(comment: Option<String>, scale: f64) -> Standing {
    let Some(comment) = comment else { return Standing::Absent };
    if comment == loaded(scale) {
        return Standing::Loaded;
    }
    let Some(rest) = comment.strip_prefix(ORIGIN) else { return Standing::Foreign };
    if rest.ends_with(LOADING) {
        Standing::Interrupted
    } else if let Some(found) = rest.strip_suffix(LOADED) {
        Standing::OtherScale(found.to_owned())
    } else {
        Standing::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_tells_whose_table_it_is() {
        let standing = |comment: &str, scale| standing(Some(comment.to_owned()), scale);
        assert_eq!(super::standing(None, 0.1), Standing::Absent);
        assert_eq!(standing(&loaded(0.1), 0.1), Standing::Loaded);
        assert_eq!(standing(&loaded(0.1), 1.0), Standing::OtherScale("0.1".to_owned()));
        // Half a table is loaded again, whatever scale it was meant to have.
        assert_eq!(standing(&loading(0.1), 0.1), Standing::Interrupted);
        assert_eq!(standing(&loading(0.1), 1.0), Standing::Interrupted);
        assert_eq!(standing("", 0.1), Standing::Foreign);
        assert_eq!(standing("orders of our shop", 0.1), Standing::Foreign);
        assert_eq!(standing("TPC-H at scale 0.1, mine", 0.1), Standing::Foreign);
    }

    #[test]
    fn the_report_adds_up() {
        let measured = [
            Measured { name: "q01", rows: 4, elapsed: Duration::from_micros(12_340) },
            Measured { name: "q02", rows: 100, elapsed: Duration::from_millis(5) },
        ];
        let expected = "\nquery      rows   milliseconds\n\
                        q01           4           12.3\n\
                        q02         100            5.0\n\
                        total       104           17.3\n";
        assert_eq!(report(&measured), expected);
    }
}
