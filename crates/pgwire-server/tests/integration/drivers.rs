//! A real driver over the front end: what tokio-postgres makes of it.

use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use wharf_pgwire_server::Options;

use crate::authentication::guarded;
use crate::support::Server;

/// Connects as `ann`, with her password.
async fn connect(server: &Server) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.address.port()).user("ann").password("pencil").dbname("d");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_driver_logs_in_and_queries() {
    let server = guarded(Options::default()).await;
    let client = connect(&server).await;
    let rows = client.query("SELECT $1::int AS v", &[&42_i32]).await.unwrap();
    assert_eq!(rows[0].get::<_, i32>("v"), 42);
    let rows = client.query("SELECT $1::text AS v", &[&"π"]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "π");
    let rows = client.query("SELECT $1::bytea AS v", &[&&b"\0\xff"[..]]).await.unwrap();
    assert_eq!(rows[0].get::<_, Vec<u8>>(0), b"\0\xff");
    let rows = client.query("SELECT $1::double precision AS v", &[&None::<f64>]).await.unwrap();
    assert_eq!(rows[0].get::<_, Option<f64>>(0), None);
    let messages = client.simple_query("SELECT 1; SELECT 1").await.unwrap();
    assert_eq!(messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count(), 2);
    let error = client.query("SELEC 1", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.severity()), ("42601", "ERROR"));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(1)));
}

#[tokio::test]
async fn a_driver_reads_through_portals_and_pipelines() {
    let server = guarded(Options::default()).await;
    let mut client = connect(&server).await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT i FROM generate_series(1, 10) AS g(i)", &[]).await.unwrap();
    let mut all = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 4).await.unwrap();
        if rows.is_empty() {
            break;
        }
        all.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    assert_eq!(all, (1..=10).collect::<Vec<_>>());
    transaction.commit().await.unwrap();
    // Many statements at once, one of them wrong.
    let (one, wrong, three) = futures::join!(
        client.query("SELECT $1::int AS v", &[&1_i32]),
        client.query("SELEC 2", &[]),
        client.query("SELECT $1::int AS v", &[&3_i32]),
    );
    assert_eq!(one.unwrap()[0].get::<_, i32>(0), 1);
    assert!(wrong.is_err());
    assert_eq!(three.unwrap()[0].get::<_, i32>(0), 3);
    let rows = client.query("SELECT i FROM generate_series(1, 50000) AS g(i)", &[]).await.unwrap();
    assert_eq!(rows.len(), 50_000);
    assert_eq!(rows.last().unwrap().get::<_, i32>(0), 50_000);
}

#[tokio::test]
async fn a_driver_copies_both_ways() {
    let server = guarded(Options::default()).await;
    let client = connect(&server).await;
    client.batch_execute("CREATE TEMP TABLE copied (a int, b text)").await.unwrap();
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for i in 0..10_000 {
        sink.send(bytes::Bytes::from(format!("{i}\tsome text\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 10_000);
    let rows = client.query("SELECT count(*) FROM copied", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 10_000);
    // A COPY that fails leaves a usable connection.
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"x\ty\n")).await.unwrap();
    let error = sink.finish().await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "22P02");
    let stream = client.copy_out("COPY (SELECT i FROM generate_series(1, 1000) AS g(i)) TO STDOUT").await.unwrap();
    let rows: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(rows.len(), 1000);
    assert_eq!(rows[999], "1000\n");
}

#[tokio::test]
async fn a_driver_cancels_a_statement() {
    let server = guarded(Options::default()).await;
    let client = connect(&server).await;
    let token = client.cancel_token();
    let (result, ()) = futures::join!(client.query("SELECT pg_sleep(60)", &[]), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(result.unwrap_err().as_db_error().unwrap().code().code(), "57014");
    assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
    let stream = client.query_raw("SELECT i FROM generate_series(1, 5) AS g(i)", Vec::<i32>::new()).await.unwrap();
    assert_eq!(stream.map(|row| row.unwrap().get::<_, i32>(0)).collect::<Vec<_>>().await, [1, 2, 3, 4, 5]);
}
