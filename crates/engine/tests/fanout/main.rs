//! Queries on several nodes, over workers in this process: what happens when one of them cannot be reached or lacks memory, when time is
//! up, and when most rows are of one key. And many statements on one node: which of them wait for their turn.

#![allow(clippy::unwrap_used)]

mod filters;
mod memory;
mod places;
mod readers;
mod skew;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;
use wharf_catalog::{Command, Envelope};
use wharf_consensus::{Group, GroupOptions};
use wharf_engine::{Engine, EngineOptions, Outcome, Session, Startup};
use wharf_fanout::{Channel, Cluster, FanoutOptions};
use wharf_lake::{Warehouse, WarehouseOptions};
use wharf_values::{SqlError, SqlState};

/// A cluster one of whose nodes nobody answers for.
#[derive(Debug)]
struct OneDead {
    inner: Arc<dyn Cluster>,
    dead: Url,
    /// How often it was called.
    called: AtomicUsize,
}

#[async_trait]
impl Cluster for OneDead {
    fn nodes(&self) -> Vec<Url> {
        self.inner.nodes()
    }

    async fn channel(&self, node: &Url) -> Result<Channel, String> {
        if *node == self.dead {
            self.called.fetch_add(1, Ordering::Relaxed);
            return Err("connection refused".to_owned());
        }
        self.inner.channel(node).await
    }
}

async fn engine() -> (Arc<Engine>, TempDir) {
    engine_with(|_| ()).await
}

async fn engine_with(change: impl FnOnce(&mut EngineOptions)) -> (Arc<Engine>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EngineOptions::default();
    change(&mut options);
    (engine_in(folder.path(), folder.path(), options).await, folder)
}

/// An engine whose catalog is in one folder and whose warehouse is in another, so that it can be that of another engine.
async fn engine_in(folder: &Path, with_warehouse: &Path, options: EngineOptions) -> Arc<Engine> {
    let group = Group::open(GroupOptions::new(folder.join("catalog"))).await.unwrap();
    let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
    let command = Command::Bootstrap { database, superuser, verifier: None };
    group.propose(Envelope { request_id: Uuid::new_v4(), now_ms: 0, command }).await.unwrap().unwrap();
    let url = format!("file://{}", with_warehouse.join("warehouse").display());
    let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
    let spill_directory = folder.join("spill");
    std::fs::create_dir(&spill_directory).unwrap();
    // However busy the machine is.
    let fanout = FanoutOptions { sample_timeout: Duration::from_secs(60), ..FanoutOptions::default() };
    let options = EngineOptions { spill_directory, target_partitions: 2, fanout, ..options };
    Engine::open(group, warehouse, options).await.unwrap()
}

async fn session(engine: &Arc<Engine>) -> Session {
    let (user, database) = ("wharf".to_owned(), "wharf".to_owned());
    engine.open_session(Startup { user, database, ..Startup::default() }).await.unwrap()
}

async fn run(session: &mut Session, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let mut batches = Vec::new();
    for statement in session.split(sql)? {
        let outcome = session.run(&statement).await?;
        session.end_implicit(true).await?;
        if let Outcome::Rows(rows) = outcome {
            batches = rows.batches.try_collect().await?;
        }
    }
    Ok(batches)
}

async fn number(session: &mut Session, sql: &str) -> i64 {
    let batches = run(session, sql).await.unwrap();
    batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Int64Type>().value(0)
}

const ROWS: &str = "CREATE TABLE t (a integer, b text); \
    INSERT INTO t SELECT g, 'x' || g % 10 FROM generate_series(1, 1000) AS g(g); \
    INSERT INTO t SELECT g, 'x' || g % 10 FROM generate_series(1001, 2000) AS g(g)";

/// The texts in the first column of what a query gives.
async fn lines(session: &mut Session, sql: &str) -> Vec<String> {
    let batches = run(session, sql).await.unwrap();
    let texts = batches.iter().flat_map(|batch| batch.column(0).as_string_view().iter().flatten());
    texts.map(str::to_owned).collect()
}

/// A number as EXPLAIN shows it: `75.00 K`.
fn count(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" => 1.0,
        "K" => 1e3,
        "M" => 1e6,
        other => panic!("{other}"),
    };
    number.parse::<f64>().unwrap() * factor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_node_is_dead_runs_on_the_others() {
    let (engine, _folder) = engine().await;
    let inner = engine.fanout().in_process(3);
    let dead = inner.nodes()[1].clone();
    let cluster = Arc::new(OneDead { inner, dead, called: AtomicUsize::new(0) });
    engine.fanout().join(Arc::clone(&cluster) as _);
    let mut session = session(&engine).await;
    run(&mut session, ROWS).await.unwrap();
    run(&mut session, "SET wharf.distribute = 'on'").await.unwrap();
    let sum = number(&mut session, "SELECT sum(n)::bigint FROM (SELECT b, count(*) AS n FROM t GROUP BY b) AS s").await;
    assert_eq!(sum, 2000);
    assert!(cluster.called.load(Ordering::Relaxed) > 0, "the query was not divided");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_on_another_node_is_the_statements() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(2));
    let mut session = session(&engine).await;
    run(&mut session, ROWS).await.unwrap();
    run(&mut session, "SET wharf.distribute = 'on'").await.unwrap();
    let error = run(&mut session, "SELECT b, sum(1 / (a - 1500)) FROM t GROUP BY b").await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (SqlState::DIVISION_BY_ZERO, "division by zero"));
    let error = run(&mut session, "SELECT count(*) FROM t WHERE a > (SELECT a FROM t WHERE a < 3)").await.unwrap_err();
    assert_eq!(error.code, SqlState::CARDINALITY_VIOLATION);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_write_what_they_compute() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(2));
    let mut session = session(&engine).await;
    run(&mut session, ROWS).await.unwrap();
    run(&mut session, "SET wharf.distribute = 'on'").await.unwrap();
    run(&mut session, "CREATE TABLE c (a numeric(6,2) NOT NULL, b varchar(2))").await.unwrap();
    run(&mut session, "INSERT INTO c SELECT a, b FROM t WHERE a > (SELECT min(a) FROM t)").await.unwrap();
    assert_eq!(number(&mut session, "SELECT count(DISTINCT a) FROM c").await, 1999);
    assert_eq!(number(&mut session, "SELECT count(*) FROM c$files").await, 2);
    for (rows, code) in [
        ("SELECT nullif(a, 1500), b FROM t", SqlState::NOT_NULL_VIOLATION),
        ("SELECT a * 10, b FROM t", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        ("SELECT a, b || 'longer' FROM t", SqlState::STRING_DATA_RIGHT_TRUNCATION),
    ] {
        let error = run(&mut session, &format!("INSERT INTO c {rows}")).await.unwrap_err();
        assert_eq!(error.code, code, "{rows}: {error:?}");
    }
    assert_eq!(number(&mut session, "SELECT count(*) FROM c").await, 1999);
    run(&mut session, "CREATE TABLE d AS SELECT * FROM c").await.unwrap();
    assert_eq!(number(&mut session, "SELECT (sum(a) * 100)::bigint FROM d").await, 200_099_900);
}
