//! Queries on several nodes, over workers in this process: what happens when one of them cannot be reached, and when time is up.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
use wharf_fanout::{Channel, Cluster};
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
    let folder = tempfile::tempdir().unwrap();
    let group = Group::open(GroupOptions::new(folder.path().join("catalog"))).await.unwrap();
    let (database, superuser) = ("wharf".to_owned(), "wharf".to_owned());
    let command = Command::Bootstrap { database, superuser, verifier: None };
    group.propose(Envelope { request_id: Uuid::new_v4(), now_ms: 0, command }).await.unwrap().unwrap();
    let url = format!("file://{}", folder.path().join("warehouse").display());
    let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
    let spill_directory = folder.path().join("spill");
    std::fs::create_dir(&spill_directory).unwrap();
    let options = EngineOptions { spill_directory, target_partitions: 2, ..EngineOptions::default() };
    (Engine::open(group, warehouse, options).await.unwrap(), folder)
}

fn session(engine: &Arc<Engine>) -> Session {
    let (user, database) = ("wharf".to_owned(), "wharf".to_owned());
    engine.open_session(Startup { user, database, ..Startup::default() }).unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_node_is_dead_runs_on_the_others() {
    let (engine, _folder) = engine().await;
    let inner = engine.fanout().in_process(3);
    let dead = inner.nodes()[1].clone();
    let cluster = Arc::new(OneDead { inner, dead, called: AtomicUsize::new(0) });
    engine.fanout().join(Arc::clone(&cluster) as _);
    let mut session = session(&engine);
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
    let mut session = session(&engine);
    run(&mut session, ROWS).await.unwrap();
    run(&mut session, "SET wharf.distribute = 'on'").await.unwrap();
    let error = run(&mut session, "SELECT b, sum(1 / (a - 1500)) FROM t GROUP BY b").await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (SqlState::DIVISION_BY_ZERO, "division by zero"));
    let error = run(&mut session, "SELECT count(*) FROM t WHERE a > (SELECT a FROM t WHERE a < 3)").await.unwrap_err();
    assert_eq!(error.code, SqlState::CARDINALITY_VIOLATION);
}
