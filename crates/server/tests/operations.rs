//! What those who operate a node see of it: health, metrics, log lines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::cluster::{number, until};
use crate::start_up::{Server, folder, wharf};

/// Status and body of a GET.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_how_it_is_and_what_it_did() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let url = server.announced("Iceberg catalog on ");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/iceberg").unwrap();
    let client = server.connect("").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    client.simple_query("SELECT 1 / 0").await.unwrap_err();

    assert_eq!(get(address, "/health/live"), (200, "{\"status\":\"live\"}".to_owned()));
    let (status, ready) = get(address, "/health/ready");
    assert_eq!((status, serde_json::from_str::<Value>(&ready).unwrap()["status"].clone()), (200, "ready".into()));
    let (status, metrics) = get(address, "/metrics");
    assert_eq!(status, 200);
    let expected = [
        "wharf_statements_total{kind=\"SELECT\",sqlstate_class=\"00\"} 1",
        "wharf_statements_total{kind=\"SELECT\",sqlstate_class=\"22\"} 1",
        "wharf_sessions 1",
        "wharf_raft_leads 1",
    ];
    for line in expected {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_how_many_statements_wait() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), &[("WHARF_ENGINE__MAX_RUNNING_STATEMENTS", "1")]);
    let url = server.announced("Iceberg catalog on ");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/iceberg").unwrap();
    let sample = async |name: &str| {
        let (_, metrics) = get(address, "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
    };
    let (busy, waits) = (server.connect("").await.unwrap(), server.connect("").await.unwrap());
    waits.batch_execute("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)").await.unwrap();
    // What is prepared has its place before it is listed.
    let product = "SELECT count(*) FROM t, generate_series(1, 100000) a, generate_series(1, 100000) b, \
                   generate_series(1, 100000) c";
    let product = busy.prepare(product).await.unwrap();
    let token = busy.cancel_token();
    let busy = tokio::spawn(async move { busy.query(&product, &[]).await });
    let running = "SELECT count(*) FROM wharf.queries WHERE state = 'running' AND query NOT LIKE '%wharf.queries%'";
    until("it runs", async || number(&waits, running).await.filter(|found| *found == 1)).await;

    let waits =
        tokio::spawn(async move { waits.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0) });
    until("one waits", async || Some(sample("wharf_statements_queued").await).filter(|queued| *queued == 1.0)).await;
    assert_eq!(sample("wharf_statements_running").await, 1.0);
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(busy.await.unwrap().unwrap_err().code().unwrap().code(), "57014");
    assert_eq!(waits.await.unwrap(), 1);
    assert_eq!(sample("wharf_statements_queued").await, 0.0);
    assert_eq!(sample("wharf_statement_wait_seconds_count").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_of_a_statement_has_its_id() {
    let folder = folder();
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust"]).stderr(Stdio::piped());
    command.env("WHARF_LOG__FORMAT", "json").env("WHARF_LOG__FILTER", "warn,wharf=debug");
    let mut server = Server::start(&mut command);
    let log = server.stderr();
    let client = server.connect("").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    client.simple_query("SELECT 1 / 0").await.unwrap_err();
    drop(client);
    server.signal("-TERM");
    server.wait();
    let lines: Vec<Value> = log.join().unwrap().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str| {
        let found = lines.iter().find(|line| line["fields"]["message"] == message && line["span"]["kind"] == "SELECT");
        found.unwrap_or_else(|| panic!("no line \"{message}\" in {lines:#?}"))
    };
    let (ended, failed) = (of("the statement ended"), of("the statement failed"));
    assert_eq!(failed["fields"]["code"], "22012");
    let id = |line: &Value| line["span"]["query_id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    assert_ne!(id(ended), id(failed));
}

/// A join that makes very many rows of one batch would otherwise keep its thread, and with it timers and sockets, for hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_multiplies_rows_can_be_stopped() {
    const LIMIT: Duration = Duration::from_secs(60);
    const PRODUCT: &str =
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";
    let folder = folder();
    let server = Server::serve(folder.path());

    let client = server.connect("").await.unwrap();
    client.simple_query("SET statement_timeout = 300").await.unwrap();
    let timed_out = tokio::time::timeout(LIMIT, client.simple_query(PRODUCT)).await.expect("it times out").unwrap_err();
    assert_eq!(timed_out.code().unwrap().code(), "57014");
    client.simple_query("SET statement_timeout = 0").await.unwrap();

    let token = client.cancel_token();
    let (stopped, ()) = tokio::join!(tokio::time::timeout(LIMIT, client.simple_query(PRODUCT)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(stopped.expect("it is cancelled").unwrap_err().code().unwrap().code(), "57014");

    // Others get their turn meanwhile.
    let other = server.connect("").await.unwrap();
    tokio::select! {
        _ = client.simple_query(PRODUCT) => panic!("the product ends first"),
        answer = tokio::time::timeout(LIMIT, other.simple_query("SELECT 1")) => { answer.expect("an answer").unwrap(); }
    }
}
