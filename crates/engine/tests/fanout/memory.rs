//! A query part of which lacks memory on its node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use url::Url;
use wharf_engine::EngineOptions;
use wharf_fanout::{Channel, Cluster};
use wharf_values::SqlState;

use super::{engine, engine_in, lines, number, run, session};

/// Far less than the table of the join below takes, even a third of it.
const LITTLE_BYTES: usize = 256 << 10;

const TABLE: &str = "CREATE TABLE t (a integer, b text); \
    INSERT INTO t SELECT g, 'a long text ' || g FROM generate_series(1, 50000) AS g(g); \
    INSERT INTO t SELECT g, 'a long text ' || g FROM generate_series(50001, 100000) AS g(g); \
    SET wharf.distribute = 'on'";

/// What no join can spill.
const JOIN: &str = "SELECT count(*) FROM t AS x JOIN t AS y ON x.b = y.b";

/// Workers of an engine that has memory, and one of another that has little.
#[derive(Debug)]
struct OneSmall {
    roomy: Arc<dyn Cluster>,
    small: Arc<dyn Cluster>,
    /// How often the small one was called.
    called: AtomicUsize,
    /// How often a node was said to be lost.
    lost: AtomicUsize,
}

fn small() -> Url {
    Url::parse("http://small.in-process/").unwrap()
}

#[async_trait]
impl Cluster for OneSmall {
    fn nodes(&self) -> Vec<Url> {
        self.roomy.nodes().into_iter().chain([small()]).collect()
    }

    async fn channel(&self, node: &Url) -> Result<Channel, String> {
        if *node != small() {
            return self.roomy.channel(node).await;
        }
        self.called.fetch_add(1, Ordering::Relaxed);
        self.small.channel(&self.small.nodes()[0]).await
    }

    fn lost(&self, _: &Url) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_runs_without_the_node_that_lacks_memory() {
    let (roomy, folder) = engine().await;
    let other = tempfile::tempdir().unwrap();
    let options = EngineOptions { memory_limit_bytes: LITTLE_BYTES, ..EngineOptions::default() };
    let tight = engine_in(other.path(), folder.path(), options).await;
    let cluster = Arc::new(OneSmall {
        roomy: roomy.fanout().in_process(2),
        small: tight.fanout().in_process(1),
        called: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
    });
    roomy.fanout().join(Arc::clone(&cluster) as _);
    tight.fanout().join(Arc::clone(&cluster) as _);
    let mut session = session(&roomy).await;
    run(&mut session, TABLE).await.unwrap();
    assert_eq!(number(&mut session, JOIN).await, 100_000);
    let called = cluster.called.swap(0, Ordering::Relaxed);
    assert!(called > 0, "the query was not divided");
    // The next one has parts there again, and ends on the other two.
    let lines = lines(&mut session, &format!("EXPLAIN ANALYZE {JOIN}")).await;
    let nodes: Vec<_> = lines.iter().filter(|line| line.starts_with("Nodes: ")).collect();
    assert_eq!(nodes, ["Nodes: http://worker-1.in-process, http://worker-2.in-process"], "{lines:#?}");
    assert!(cluster.called.load(Ordering::Relaxed) > 0, "the node was left out");
    assert_eq!(cluster.lost.load(Ordering::Relaxed), 0, "the node counts as lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_for_which_no_node_has_the_memory_fails() {
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions { memory_limit_bytes: 1 << 20, ..EngineOptions::default() };
    let engine = engine_in(folder.path(), folder.path(), options).await;
    engine.fanout().join(engine.fanout().in_process(3));
    let mut session = session(&engine).await;
    run(&mut session, TABLE).await.unwrap();
    let error = run(&mut session, JOIN).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (SqlState::OUT_OF_MEMORY, "out of memory"));
    assert!(error.hint.is_some_and(|hint| hint.contains("memory_limit_bytes")));
}
