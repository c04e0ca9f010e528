//! Limits, hostile and vanishing clients, cancelling, shutdown.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgwire::messages::PgWireFrontendMessage as M;
use pgwire::messages::extendedquery::{Bind, Execute, Parse, Sync};
use pgwire::messages::simplequery::Query;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wharf_pgwire_server::Options;

use crate::support::client::{Client, PARAMETERS};
use crate::support::{Server, trust};

fn query(sql: &str) -> M {
    M::Query(Query::new(sql.to_owned()))
}

/// Waits until something holds, and says how long that took.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn clients_beyond_the_limit_are_told_so_and_places_are_used_again() {
    let server = Server::start(Options { max_connections: 2, ..trust() }).await;
    let first = Client::connect(server.address).await;
    let _second = Client::connect(server.address).await;
    let mut third = Client::open(server.address).await;
    third.start(3, 0, PARAMETERS).await;
    assert_eq!(third.until(&["closed"]).await[0], "ErrorResponse FATAL 53300 sorry, too many clients already");
    drop(first);
    eventually("the place is free", || server.engine.sessions.load(Ordering::SeqCst) == 1).await;
    Client::connect(server.address).await;
}

#[tokio::test]
async fn statements_and_portals_are_limited() {
    let server = Server::start(Options { max_prepared_statements: 2, max_portals: 1, ..trust() }).await;
    let mut client = Client::connect(server.address).await;
    let parse = |name: &str| M::Parse(Parse::new(Some(name.to_owned()), "SELECT 1".to_owned(), vec![]));
    let bind = |name: &str| M::Bind(Bind::new(Some(name.to_owned()), Some("a".to_owned()), vec![], vec![], vec![]));
    client.send(vec![parse("a"), parse("b"), parse("c"), M::Sync(Sync::new())]).await;
    let lines = client.until(&["ReadyForQuery"]).await;
    assert!(lines[2].starts_with("ErrorResponse ERROR 54000 too many prepared statements"), "{lines:?}");
    client.send(vec![bind("p"), bind("q"), M::Sync(Sync::new())]).await;
    let lines = client.until(&["ReadyForQuery"]).await;
    assert!(lines[1].starts_with("ErrorResponse ERROR 54000 too many portals"), "{lines:?}");
}

#[tokio::test]
async fn garbage_gets_an_error_or_is_hung_up_on() {
    let server = Server::trusting().await;
    let long = vec![b'x'; 100_000];
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x09\0\x03\0\0\xff",
        b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\0",
        &long,
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may have hung up before all of it is sent.
        let _ = stream.write_all(garbage).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection ends");
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    // After startup, too.
    let mut client = Client::connect(server.address).await;
    client.send_raw(&long).await;
    assert_eq!(client.until(&["closed"]).await[0], "ErrorResponse FATAL 08P01 invalid frontend message type 120");
    Client::connect(server.address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little() {
    const CLIENTS: usize = 400;
    let server = Server::trusting().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(server.address).await);
    }
    let before = resident_kib();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(server.address).await);
    }
    for client in &mut clients {
        client.query("SELECT i FROM generate_series(1, 2000) AS g(i)").await;
    }
    let spent = resident_kib().saturating_sub(before) / CLIENTS;
    // The client's half, its receive buffer and pgwire's copies, is in the same process.
    assert!(spent < 128, "{spent} KiB a connection");
    assert_eq!(clients[CLIENTS].query("SELECT 1").await[1], "DataRow \"1\"");
}

/// This process' memory.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_statement_stops_when_its_client_goes() {
    let server = Server::trusting().await;
    let running = || server.engine.running.load(Ordering::SeqCst);
    // While it computes.
    let mut client = Client::connect(server.address).await;
    client.send(vec![query("SELECT pg_sleep(60)")]).await;
    eventually("it runs", || running() == 1).await;
    drop(client);
    let took = eventually("it stops", || running() == 0).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // While its rows are sent and nobody reads them.
    let mut client = Client::connect(server.address).await;
    client.send(vec![query("SELECT i FROM generate_series(1, 100000000) AS g(i)")]).await;
    client.until(&["RowDescription"]).await;
    assert_eq!(running(), 1);
    drop(client);
    let took = eventually("it stops", || running() == 0).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually("the sessions are gone", || server.engine.sessions.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_wait_for_a_client_that_does_not_read() {
    let server = Server::trusting().await;
    let mut client = Client::connect(server.address).await;
    let before = resident_kib();
    client.send(vec![query("SELECT i FROM generate_series(1, 20000000) AS g(i)")]).await;
    client.until(&["RowDescription"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // All rows would be 400 MB.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    // The rows that wait can be cancelled; those on their way still arrive.
    client.cancel().await;
    let lines = client.until(&["ErrorResponse", "ReadyForQuery"]).await;
    assert_eq!(lines[lines.len() - 2], "ErrorResponse ERROR 57014 canceling statement due to user request");
}

#[tokio::test]
async fn only_so_much_is_read_ahead_while_a_statement_runs() {
    let server = Server::trusting().await;
    let mut client = Client::connect(server.address).await;
    client.send(vec![query("SELECT pg_sleep(60)")]).await;
    let before = resident_kib();
    let more = vec![b' '; 1 << 20];
    let mut message = b"Q".to_vec();
    message.extend_from_slice(&(more.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(&more);
    let flood = async {
        for _ in 0..64 {
            client.stream.write_all(&message).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(700), flood).await.is_err(), "the client has to wait");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn a_message_that_claims_much_and_sends_little_costs_little() {
    let server = Server::trusting().await;
    let mut clients = Vec::new();
    let before = resident_kib();
    for _ in 0..50 {
        let mut client = Client::connect(server.address).await;
        client.send_raw(b"Q\x03\xff\xff\xffSELECT").await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for messages of 64 MiB that have not come");
    // And one that is really that long.
    let mut client = Client::connect(server.address).await;
    let mut text = "SELECT 1".to_owned();
    text.extend(std::iter::repeat_n(' ', 32 << 20));
    let lines = client.query(&text).await;
    assert_eq!(lines[1], "DataRow \"1\"");
}

#[tokio::test]
async fn cancelling_stops_a_portal_that_was_suspended_before() {
    let server = Server::trusting().await;
    let mut client = Client::connect(server.address).await;
    client.query("BEGIN").await;
    let sql = "SELECT i FROM generate_series(1, 100000000) AS g(i)";
    let portal = || Some("c".to_owned());
    client
        .send(vec![
            M::Parse(Parse::new(None, sql.to_owned(), vec![])),
            M::Bind(Bind::new(portal(), None, vec![], vec![], vec![])),
            M::Execute(Execute::new(portal(), 1)),
            M::Sync(Sync::new()),
        ])
        .await;
    client.until(&["PortalSuspended", "ReadyForQuery"]).await;
    // A cancel request between the two runs is for nothing.
    client.query("SELECT 1").await;
    client.send(vec![M::Execute(Execute::new(portal(), 0)), M::Sync(Sync::new())]).await;
    client.message().await;
    client.cancel().await;
    let lines = client.until(&["ErrorResponse", "ReadyForQuery"]).await;
    assert_eq!(lines[lines.len() - 2], "ErrorResponse ERROR 57014 canceling statement due to user request");
    assert_eq!(lines[lines.len() - 1], "ReadyForQuery Error");
}

#[tokio::test]
async fn stopping_ends_idle_sessions_at_once_and_running_ones_when_they_are_done() {
    let server = Server::trusting().await;
    let mut idle = Client::connect(server.address).await;
    let mut busy = Client::connect(server.address).await;
    let mut copying = Client::connect(server.address).await;
    copying.query("CREATE TEMP TABLE copied (a int, b text)").await;
    copying.send(vec![query("COPY copied FROM STDIN")]).await;
    copying.until(&["CopyInResponse"]).await;
    busy.send(vec![query("SELECT pg_sleep(0.5)")]).await;
    eventually("they run", || server.engine.running.load(Ordering::SeqCst) == 2).await;
    let address = server.address;
    server.shutdown.cancel();
    let goodbye = "ErrorResponse FATAL 57P01 terminating connection due to administrator command";
    assert_eq!(idle.until(&["closed"]).await, [goodbye, "closed"]);
    let lines = busy.until(&["closed"]).await;
    assert_eq!(lines[2..], ["CommandComplete SELECT 1", "ReadyForQuery Idle", goodbye, "closed"]);
    copying.send_raw(b"d\0\0\0\x081\t2\nc\0\0\0\x04").await;
    assert_eq!(copying.until(&["closed"]).await, ["CommandComplete COPY 1", "ReadyForQuery Idle", goodbye, "closed"]);
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn statements_that_do_not_end_in_time_are_cancelled() {
    let server = Server::start(Options { drain_timeout: Duration::from_millis(200), ..trust() }).await;
    let mut busy = Client::connect(server.address).await;
    busy.send(vec![query("SELECT pg_sleep(60)")]).await;
    eventually("it runs", || server.engine.running.load(Ordering::SeqCst) == 1).await;
    let began = Instant::now();
    server.shutdown.cancel();
    let lines = busy.until(&["closed"]).await;
    let error = "ErrorResponse ERROR 57014 canceling statement due to user request";
    assert!(lines.iter().any(|line| line == error), "{lines:?}");
    server.stopped().await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_answer_to_a_pipeline_is_sent_in_one_piece() {
    let server = Server::trusting().await;
    let mut client = Client::connect(server.address).await;
    let mut pipeline = Vec::new();
    for _ in 0..20 {
        pipeline.push(M::Parse(Parse::new(None, "SELECT 1".to_owned(), vec![])));
        pipeline.push(M::Bind(Bind::new(None, None, vec![], vec![], vec![])));
        pipeline.push(M::Execute(Execute::new(None, 0)));
    }
    pipeline.push(M::Sync(Sync::new()));
    client.send(pipeline).await;
    let mut answer = vec![0; 65536];
    let length = client.stream.read(&mut answer).await.unwrap();
    assert_eq!(answer[length - 6..length], *b"Z\0\0\0\x05I");
}
