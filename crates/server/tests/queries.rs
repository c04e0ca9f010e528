//! What sessions are told of what runs: on their own node and on others, by whom, and that it goes when it has ended.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cluster::until;
use crate::divided::{Trio, column};
use crate::start_up::{Server, folder, wharf};

/// Work for hours.
const PRODUCT: &str =
    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";

/// Many rows, which nodes send each other and the client.
const MANY: &str = "SELECT one.a, two.a FROM t AS one JOIN t AS two ON one.b = two.b";

/// Longer than it takes until what has ended is gone from the list.
const MOMENT: Duration = Duration::from_secs(5);

/// Waits until a query has rows, and gives the first column.
async fn some(client: &Client, sql: &str) -> Vec<String> {
    until(sql, async || asked(client, sql).await.filter(|rows| !rows.is_empty())).await
}

/// The first column of all rows; none when a node that is very busy has given no answer.
async fn asked(client: &Client, sql: &str) -> Option<Vec<String>> {
    let messages = client.simple_query(sql).await;
    let busy = |error: &tokio_postgres::Error| error.code().is_some_and(|code| code.code() == "57P03");
    if let Some(error) = messages.as_ref().err().filter(|error| !busy(error)) {
        panic!("{sql}: {error:?}");
    }
    let rows = messages.ok()?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    Some(rows.collect())
}

/// Expects that a query has no rows within a moment.
async fn none(client: &Client, what: &str, sql: &str) {
    let ended = Instant::now();
    loop {
        let rows = asked(client, sql).await;
        if rows.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(ended.elapsed() < MOMENT, "after {what} there is still {rows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_listed_while_it_runs() {
    let folder = folder();
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust"]).stderr(Stdio::piped());
    command.env("WHARF_LOG__FORMAT", "json").env("WHARF_LOG__FILTER", "warn,wharf=debug");
    let mut server = Server::start(&mut command);
    let log = server.stderr();
    let observer = server.connect("").await.unwrap();
    let worker = server.connect("").await.unwrap();
    let pid = column(&worker, "SELECT pg_backend_pid()").await.remove(0);
    let listed = format!("SELECT query_id FROM wharf.queries WHERE process = {pid}");

    let token = worker.cancel_token();
    let (ended, id) = tokio::join!(worker.simple_query(PRODUCT), async {
        let id = some(&observer, &listed).await.remove(0);
        let facts = format!(
            "SELECT concat_ws(' ', node_id, role, database, kind, state, stage IS NULL, tasks IS NULL, rows, query = '{PRODUCT}', \
             started_at <= now() AND started_at > now() - interval '1 minute' AND elapsed_ms BETWEEN 0 AND 60000) \
             FROM wharf.queries WHERE query_id = '{id}'"
        );
        assert_eq!(column(&observer, &facts).await, ["1 wharf wharf SELECT running t t 0 t t"]);
        let activity = format!("SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = {pid}");
        assert_eq!(column(&observer, &activity).await, [format!("active {PRODUCT}")]);
        token.cancel_query(NoTls).await.unwrap();
        none(&observer, "a cancel request", &listed).await;
        assert_eq!(column(&observer, &activity).await, ["idle "]);
        id
    });
    ended.unwrap_err();

    // The query that reads the list is on it.
    let own = "SELECT query FROM wharf.queries WHERE process = pg_backend_pid()";
    assert_eq!(column(&observer, own).await, [own]);

    // The end of a client is the end of what it runs.
    let (doomed, connection) = server.config("wharf", "").connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let (ended, ()) = tokio::join!(doomed.simple_query(PRODUCT), async {
        let others = "SELECT query_id FROM wharf.queries WHERE process <> pg_backend_pid()";
        some(&observer, others).await;
        connection.abort();
        none(&observer, "the client has gone", others).await;
    });
    ended.unwrap_err();
    let sessions = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND pid <> ";
    none(&observer, "the client has gone", &format!("{sessions}{pid}")).await;

    // A transaction that is open, and data that come.
    worker.batch_execute("CREATE TABLE t (a integer); SET application_name = 'loader'; BEGIN").await.unwrap();
    let activity =
        format!("SELECT concat_ws('/', application_name, state, wait_event) FROM pg_stat_activity WHERE pid = {pid}");
    assert_eq!(column(&observer, &activity).await, ["loader/idle in transaction/ClientRead"]);
    let mut copy = Box::pin(worker.copy_in("COPY t FROM STDIN").await.unwrap());
    let state = format!("SELECT kind || ' ' || state FROM wharf.queries WHERE process = {pid}");
    assert_eq!(column(&observer, &state).await, ["COPY receiving"]);
    copy.send(bytes::Bytes::from_static(b"1\n")).await.unwrap();
    copy.as_mut().finish().await.unwrap();
    worker.batch_execute("COMMIT").await.unwrap();
    assert!(column(&observer, &state).await.is_empty());
    assert_eq!(column(&observer, &activity).await, ["loader/idle/ClientRead"]);

    // Its id is that of the log.
    drop((observer, worker));
    server.signal("-TERM");
    server.wait();
    let log = log.join().unwrap();
    let failed: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["fields"]["code"] == "57014")
        .collect();
    assert_eq!(failed[0]["span"]["query_id"].as_str(), Some(id.as_str()));
}

async fn superuser_and_two_of_a_role(server: &Server) -> (Client, Client, Client) {
    let superuser = server.connect("").await.unwrap();
    superuser.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'geheim'").await.unwrap();
    let plain = server.connect_as("plain", "geheim").await.unwrap();
    let other = server.connect_as("plain", "geheim").await.unwrap();
    (superuser, plain, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_stops_another() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (superuser, plain, other) = superuser_and_two_of_a_role(&server).await;
    let pid = column(&plain, "SELECT pg_backend_pid()").await.remove(0);
    let running = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");

    let (ended, ()) = tokio::join!(plain.simple_query(PRODUCT), async {
        some(&superuser, &running).await;
        assert_eq!(column(&other, &format!("SELECT pg_cancel_backend({pid})")).await, ["t"]);
    });
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57014");
    assert_eq!(column(&plain, "SELECT 1").await, ["1"]);

    let own = column(&superuser, "SELECT pg_backend_pid()").await.remove(0);
    for (function, message) in [
        ("pg_cancel_backend", "must be a superuser to cancel superuser query"),
        ("pg_terminate_backend", "must be a superuser to terminate superuser process"),
    ] {
        let refused = plain.simple_query(&format!("SELECT {function}({own})")).await.unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert_eq!((refused.code().code(), refused.message()), ("42501", message));
    }
    assert_eq!(column(&superuser, "SELECT pg_cancel_backend(2147483647), pg_terminate_backend(NULL)").await, ["f"]);

    // An idle one ends, and one at work.
    assert_eq!(
        column(
            &plain,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'plain'"
        )
        .await,
        ["t"]
    );
    until("the end of an idle session", async || other.is_closed().then_some(())).await;
    let (ended, ()) = tokio::join!(plain.simple_query(PRODUCT), async {
        some(&superuser, &running).await;
        assert_eq!(column(&superuser, &format!("SELECT pg_terminate_backend({pid})")).await, ["t"]);
    });
    ended.unwrap_err();
    until("the end of a session at work", async || plain.is_closed().then_some(())).await;
    none(&superuser, "its end", &format!("SELECT pid FROM pg_stat_activity WHERE pid = {pid}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_sees_its_own_statements_and_nobody_sees_passwords() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (superuser, plain, other) = superuser_and_two_of_a_role(&server).await;
    let theirs = "SELECT coalesce(query, 'hidden') FROM wharf.queries WHERE process <> pg_backend_pid()";
    let sessions =
        "SELECT concat_ws('/', usename, state, query) FROM pg_stat_activity WHERE pid <> pg_backend_pid() ORDER BY 1";

    let token = superuser.cancel_token();
    let secret = format!("ALTER ROLE plain PASSWORD 'geheim'; {PRODUCT}");
    let observer = server.connect("").await.unwrap();
    let (ended, ()) = tokio::join!(superuser.simple_query(&secret), async {
        some(&observer, &format!("{theirs} AND kind = 'SELECT'")).await;
        assert_eq!(column(&observer, theirs).await, ["hidden"]);
        assert!(column(&plain, theirs).await.is_empty());
        // PostgreSQL's words for the sessions of others.
        let (idle, refused) = ("plain/idle/", "wharf/<insufficient privilege>");
        assert_eq!(column(&plain, sessions).await, [idle, refused, refused]);
        token.cancel_query(NoTls).await.unwrap();
    });
    ended.unwrap_err();

    let token = other.cancel_token();
    let (ended, ()) = tokio::join!(other.simple_query(PRODUCT), async {
        assert_eq!(some(&plain, theirs).await, [PRODUCT]);
        assert_eq!(some(&observer, theirs).await, [PRODUCT]);
        token.cancel_query(NoTls).await.unwrap();
    });
    ended.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_divided_query_is_listed_on_all_nodes_by_stage() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    let observer = trio.servers[1].connect("").await.unwrap();
    let pid = column(&client, "SELECT pg_backend_pid()").await.remove(0);
    let address = &trio.members[0].peers;
    let whole =
        format!("SELECT query_id FROM wharf.queries WHERE stage IS NULL AND process = {pid} AND address = '{address}'");
    let all = "SELECT query_id FROM wharf.queries WHERE query_id IS NOT NULL AND process <> pg_backend_pid()";

    // A client that does not read its rows keeps the query from ending, and the machine from being busy.
    let token = client.cancel_token();
    let mut rows = Box::pin(client.query_raw::<_, i64, _>(MANY, []).await.unwrap());
    rows.next().await.unwrap().unwrap();
    let id = some(&observer, &whole).await.remove(0);
    // Every node works for it, and says for whom.
    let nodes = format!(
        "SELECT DISTINCT address FROM wharf.queries WHERE query_id = '{id}' AND stage > 0 AND tasks = 1 AND kind = 'SELECT' \
         AND role = 'wharf' AND database = 'wharf' AND process = {pid} AND query = '{MANY}' AND rows > 0"
    );
    until("all nodes work", async || asked(&observer, &nodes).await.filter(|nodes| nodes.len() == 3)).await;
    token.cancel_query(NoTls).await.unwrap();
    while rows.next().await.is_some_and(|row| row.is_ok()) {}
    none(&observer, "a cancel request", all).await;

    // A node that hangs is told of, and the others answer all the same.
    trio.servers[2].signal("-STOP");
    let stopped = Instant::now();
    let silent = "SELECT address FROM wharf.queries WHERE state = 'no answer'";
    assert_eq!(some(&observer, silent).await, [trio.members[2].peers.as_str()]);
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    trio.servers[2].signal("-CONT");
    none(&observer, "the node goes on", silent).await;
}
