//! Queries that three processes run together, and what happens when one of them dies, hangs, or the client has had enough.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cluster::{Member, certificates, number, until};
use crate::operations::get;
use crate::start_up::{Server, folder};

/// How many parts of queries run on a node.
const PARTS_RUNNING: &str = "wharf_fanout_parts_running";

/// Three nodes of one cluster; the first one leads.
pub(crate) struct Trio {
    pub(crate) members: Vec<Member>,
    pub(crate) servers: Vec<Server>,
    pub(crate) warehouse: PathBuf,
    contacts: String,
    _shared: TempDir,
}

impl Trio {
    pub(crate) async fn start() -> Trio {
        Trio::start_with(&[]).await
    }

    /// With some keys of the configuration, as variables of the environment.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Trio {
        let shared = folder();
        certificates(&shared, "ours");
        let warehouse = shared.path().join("warehouse");
        let members: Vec<Member> = (0..3).map(|_| Member::new(&shared, "ours")).collect();
        let contacts = members.iter().map(|member| member.peers.clone()).collect::<Vec<_>>().join(",");
        let servers = members.iter().map(|member| member.start_with(&warehouse, &contacts, variables)).collect();
        let trio = Trio { members, servers, warehouse, contacts, _shared: shared };
        let client = trio.client().await;
        until("three nodes that run queries", async || {
            (number(&client, "SELECT count(*) FROM wharf.nodes WHERE runs_queries").await == Some(3)).then_some(())
        })
        .await;
        // What dies in these tests shall not be the leader: what an election costs is tested elsewhere.
        let first = format!("(SELECT node_id FROM wharf.nodes WHERE address = '{}')", trio.members[0].peers);
        until("the first node leads", async || {
            if number(&client, &format!("SELECT count(*) FROM wharf.raft WHERE leader_id = {first}")).await == Some(1) {
                return Some(());
            }
            let node = number(&client, &format!("SELECT {first}")).await?;
            client.batch_execute(&format!("CALL wharf.transfer_leader({node})")).await.ok()
        })
        .await;
        until("three voters", async || {
            (number(&client, "SELECT count(*) FROM wharf.nodes WHERE role <> 'learner'").await == Some(3)).then_some(())
        })
        .await;
        client
            .batch_execute(
                "CREATE TABLE t (a bigint, b text); \
                 INSERT INTO t SELECT g, 'x' || g % 100 FROM generate_series(1, 20000) AS g(g); \
                 INSERT INTO t SELECT g, 'x' || g % 100 FROM generate_series(20001, 40000) AS g(g); \
                 INSERT INTO t SELECT g, 'x' || g % 100 FROM generate_series(40001, 60000) AS g(g)",
            )
            .await
            .unwrap();
        trio
    }

    /// A client of the first node that wants all queries divided.
    pub(crate) async fn client(&self) -> Client {
        let client = self.servers[0].connect("").await.unwrap();
        client.batch_execute("SET wharf.distribute = 'on'").await.unwrap();
        client
    }

    fn kill_and_restart(&mut self, node: usize) {
        self.servers[node].signal("-KILL");
        self.servers[node].wait();
        self.servers[node] = self.members[node].start(&self.warehouse, &self.contacts);
    }

    /// How many parts of queries run on each node.
    pub(crate) fn parts(&self) -> Vec<u64> {
        self.servers.iter().map(|server| metric(server, PARTS_RUNNING)).collect()
    }

    /// Kills the third node while a part of a statement runs there, and gives what the statement says in the end.
    pub(crate) async fn lose_third_during<T: Debug>(
        &mut self,
        statement: impl Future<Output = T>,
        into_it: Duration,
    ) -> T {
        let mut statement = std::pin::pin!(statement);
        let seen = async {
            while metric(&self.servers[2], PARTS_RUNNING) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(into_it).await;
        };
        tokio::select! {
            ended = &mut statement => panic!("it ended before the third node could be lost: {ended:?}"),
            () = seen => {}
        }
        self.servers[2].signal("-KILL");
        let ended = statement.await;
        self.servers[2].wait();
        ended
    }

    /// Waits until parts of a query run on every node, then does something, and expects that nothing runs a second later.
    async fn ends_within_a_second(&self, what: &str, end: impl AsyncFnOnce()) {
        until("parts on every node", async || self.parts().into_iter().all(|parts| parts > 0).then_some(())).await;
        end().await;
        let ended = Instant::now();
        loop {
            let parts = self.parts();
            if parts == [0, 0, 0] {
                return;
            }
            assert!(ended.elapsed() < Duration::from_secs(1), "after {what} still {parts:?} parts run");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn metric(server: &Server, name: &str) -> u64 {
    let url = server.announced("Iceberg catalog on ");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/iceberg").unwrap();
    let (_, metrics) = get(address, "/metrics");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// The first column of all rows, as text.
pub(crate) async fn column(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

/// Groups over all files, a join of the table with itself, and an order: rows go from node to node twice. The answer is that of
/// PostgreSQL 15.
const QUERY: &str = "SELECT b || ':' || count(*) || ':' || sum(t.a) FROM t JOIN (SELECT max(a) AS a FROM t GROUP BY a % 1000) \
                     AS m ON t.a % 1000 = m.a % 1000 GROUP BY b ORDER BY sum(t.a), b LIMIT 2";
const ANSWER: [&str; 2] = ["x1:600:17970600", "x2:600:17971200"];

/// Work for minutes.
const LONG: &str = "SELECT count(*) FROM t AS one JOIN t AS two ON one.b = two.b JOIN t AS three ON two.b = three.b \
                    WHERE one.a + two.a + three.a < 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_divided_among_three_nodes() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    assert_eq!(column(&client, QUERY).await, ANSWER);
    let lines = column(&client, &format!("EXPLAIN {QUERY}")).await;
    let nodes = lines.last().unwrap();
    for member in &trio.members {
        assert!(nodes.starts_with("Nodes: ") && nodes.contains(&member.peers), "{lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains("Stage 1 ── tasks=3")), "{lines:#?}");
    // An error on another node is the statement's.
    let error = client.simple_query("SELECT b, sum(1 / (a - 50000)) FROM t GROUP BY b").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_analyze_says_what_was_done_on_all_nodes() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    let lines = column(&client, "EXPLAIN ANALYZE SELECT b, count(*) FROM t GROUP BY b").await;
    // The scans of three nodes have read all rows, which this node has not.
    let reads = lines.iter().find(|line| line.contains("DistributedLeafExec")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(reads.contains("output_rows=60.00 K") || reads.contains("output_rows=60000"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("Metrics:") || line.contains("TaskExec")), "{lines:#?}");
    assert!(lines.contains(&"Rows: 100".to_owned()), "{lines:#?}");
    // Each by itself: the three tasks of the stage that reads.
    let lines = column(&client, "EXPLAIN (ANALYZE, VERBOSE) SELECT b, count(*) FROM t GROUP BY b").await;
    for task in ["t0: ", "t1: ", "t2: "] {
        let reads = lines.iter().find(|line| line.contains(task)).unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(reads.contains("output_rows="), "{lines:#?}");
    }
    // A subquery is divided by itself, and a query that needs no more rows is measured too.
    let subquery = "EXPLAIN ANALYZE SELECT b FROM t WHERE a > (SELECT avg(a) FROM t) ORDER BY a LIMIT 3";
    let lines = column(&client, subquery).await;
    assert!(!lines.iter().any(|line| line.starts_with("Metrics:")), "{lines:#?}");
    assert!(lines.contains(&"Rows: 3".to_owned()), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_nodes_that_die_and_hang() {
    let mut trio = Trio::start().await;
    let client = trio.client().await;
    let stop = AtomicBool::new(false);
    let asking = async {
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(column(&client, QUERY).await, ANSWER, "after {asked} right answers");
            asked += 1;
        }
        asked
    };
    let disturbing = async {
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(700 + 400 * round)).await;
            tokio::task::block_in_place(|| trio.kill_and_restart(2));
            let part = "SELECT count(*) FROM wharf.nodes WHERE runs_queries";
            let observer = trio.client().await;
            until("the third node is back", async || (number(&observer, part).await == Some(3)).then_some(())).await;
            trio.servers[1].signal("-STOP");
            tokio::time::sleep(Duration::from_secs(8)).await;
            trio.servers[1].signal("-CONT");
            until("the second node is back", async || (number(&observer, part).await == Some(3)).then_some(())).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (asked, ()) = tokio::join!(asking, disturbing);
    assert!(asked > 10, "only {asked} queries");
    let lines = column(&client, &format!("EXPLAIN {QUERY}")).await;
    assert!(lines.last().unwrap().starts_with("Nodes: "), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_on_all_nodes_when_its_query_does() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    let code = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned());

    let token = client.cancel_token();
    let (error, ()) = tokio::join!(client.simple_query(LONG), async {
        trio.ends_within_a_second("a cancel request", async || token.cancel_query(NoTls).await.unwrap()).await;
    });
    assert_eq!(code(error.unwrap_err()).as_deref(), Some("57014"));

    client.batch_execute("SET statement_timeout = '4s'").await.unwrap();
    let begun = Instant::now();
    let (error, ()) = tokio::join!(client.simple_query(LONG), async {
        let timeout = Duration::from_secs(4);
        let timed_out = async || tokio::time::sleep(timeout.saturating_sub(begun.elapsed())).await;
        trio.ends_within_a_second("statement_timeout", timed_out).await;
    });
    assert_eq!(code(error.unwrap_err()).as_deref(), Some("57014"));

    let (doomed, connection) = trio.servers[0].config("wharf", "").connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    doomed.batch_execute("SET wharf.distribute = 'on'").await.unwrap();
    let (error, ()) = tokio::join!(doomed.simple_query(LONG), async {
        trio.ends_within_a_second("the client is gone", async || connection.abort()).await;
    });
    error.unwrap_err();
    assert_eq!(column(&client, QUERY).await, ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_are_computed_on_all_nodes() {
    let mut trio = Trio::start().await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE counts (n bigint)").await.unwrap();
    for write in [format!("INSERT INTO counts {LONG}"), format!("CREATE TABLE made AS {LONG}")] {
        let token = client.cancel_token();
        let (error, ()) = tokio::join!(client.simple_query(&write), async {
            trio.ends_within_a_second("a cancel request", async || token.cancel_query(NoTls).await.unwrap()).await;
        });
        assert_eq!(error.unwrap_err().code().map(|code| code.code()), Some("57014"), "{write}");
    }
    assert_eq!(column(&client, "SELECT count(*) FROM counts").await, ["0"]);

    // A node that is lost before the first row costs time, and no row is there twice.
    let write = "INSERT INTO counts SELECT max(one.a) FROM t AS one JOIN t AS two ON one.b = two.b GROUP BY one.b";
    trio.lose_third_during(client.simple_query(write), Duration::ZERO).await.unwrap();
    assert_eq!(column(&client, "SELECT count(*) || ':' || count(DISTINCT n) FROM counts").await, ["100:100"]);

    client.batch_execute(&format!("CREATE TABLE made AS {QUERY}")).await.unwrap();
    let mut made = column(&client, "SELECT * FROM made").await;
    made.sort();
    assert_eq!(made, ANSWER);
    let rows = client.copy_out(&format!("COPY ({QUERY}) TO STDOUT")).await.unwrap();
    let rows: Vec<_> = rows.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect().await;
    assert_eq!(rows.concat(), format!("{}\n{}\n", ANSWER[0], ANSWER[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_has_given_rows_says_that_its_node_was_lost() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    let many = "SELECT one.a, two.a FROM t AS one JOIN t AS two ON one.b = two.b";
    let rows = client.query_raw::<_, i64, _>(many, []).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    rows.next().await.unwrap().unwrap();
    trio.servers[2].signal("-KILL");
    let error = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the rows of a node that is dead are all there"),
        }
    };
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "57P01", "{error:?}");
    assert!(error.message().contains(&trio.members[2].peers), "{error:?}");
    assert_eq!(error.hint(), Some("Run the statement again."));
    assert_eq!(column(&client, QUERY).await, ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_gets_no_more_work() {
    let mut trio = Trio::start().await;
    let client = trio.client().await;
    trio.servers[2].signal("-TERM");
    for _ in 0..20 {
        assert_eq!(column(&client, QUERY).await, ANSWER);
    }
    trio.servers[2].wait();
    assert_eq!(column(&client, QUERY).await, ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_on_the_others_when_the_node_of_its_session_is_lost() {
    let mut trio = Trio::start().await;
    for signal in ["-STOP", "-KILL"] {
        let client = trio.client().await;
        let asked = tokio::spawn(async move { client.simple_query(LONG).await.map(|_| ()) });
        until("parts on every node", async || trio.parts().into_iter().all(|parts| parts > 0).then_some(())).await;
        trio.servers[0].signal(signal);
        for (server, member) in trio.servers.iter().zip(&trio.members).skip(1) {
            let ended = async || (metric(server, PARTS_RUNNING) == 0).then_some(());
            until("no parts on the nodes that are left", ended).await;
            let spilled = std::fs::read_dir(member.folder().join("wharf-data/spill")).unwrap();
            let files = spilled.filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
            assert_eq!(files, 0, "after {signal}");
        }
        asked.abort();
        trio.servers[0].signal("-CONT");
        tokio::task::block_in_place(|| trio.kill_and_restart(0));
        let client = trio.client().await;
        let part = "SELECT count(*) FROM wharf.nodes WHERE runs_queries";
        until("three nodes that run queries", async || (number(&client, part).await == Some(3)).then_some(())).await;
    }
    assert_eq!(column(&trio.client().await, QUERY).await, ANSWER);
}
