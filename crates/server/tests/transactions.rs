//! Transactions and the files they write, from outside: what is seen, what is kept, and what is removed.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::start_up::{Server, folder};

/// Longer than any removal takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("wharf-data/warehouse")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Files are removed in the background.
#[track_caller]
fn becomes(folder: &Path, expected: usize, after: &str) {
    let begun = Instant::now();
    loop {
        let found = files(folder);
        if found.len() == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{expected} files expected after {after}: {found:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_sees_its_own_rows_and_a_rollback_leaves_nothing() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (one, other) = (server.connect("").await.unwrap(), server.connect("").await.unwrap());
    one.batch_execute("CREATE TABLE t (a integer); CREATE TABLE u (a integer); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let before = files(folder.path()).len();
    for end in ["ROLLBACK", "SELECT 1 / 0", "COMMIT"] {
        one.batch_execute("BEGIN; INSERT INTO t VALUES (2); INSERT INTO t SELECT g FROM generate_series(3, 5) AS g(g)")
            .await
            .unwrap();
        one.batch_execute("INSERT INTO u VALUES (1)").await.unwrap();
        assert_eq!((count(&one, "t").await, count(&one, "u").await), (5, 1), "its own rows");
        assert_eq!((count(&other, "t").await, count(&other, "u").await), (1, 0), "not those of another");
        match end {
            "SELECT 1 / 0" => {
                one.batch_execute(end).await.unwrap_err();
                one.batch_execute("COMMIT").await.unwrap();
            }
            end => one.batch_execute(end).await.unwrap(),
        }
        let rows = (count(&other, "t").await, count(&other, "u").await);
        assert_eq!(rows, if end == "COMMIT" { (5, 1) } else { (1, 0) }, "{end}");
        // Of three INSERTs: data, manifest, manifest list, metadata.
        becomes(folder.path(), if end == "COMMIT" { before + 12 } else { before }, end);
    }
    // A connection that breaks within a transaction.
    one.batch_execute("BEGIN; INSERT INTO t VALUES (6)").await.unwrap();
    drop(one);
    becomes(folder.path(), before + 12, "a broken connection");
    assert_eq!(count(&other, "t").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_or_is_cancelled_leaves_no_files() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a integer NOT NULL)").await.unwrap();
    let failing = [
        "INSERT INTO t SELECT 10 / (200000 - g) FROM generate_series(1, 200000) AS g(g)",
        "INSERT INTO t SELECT nullif(g, 200000) FROM generate_series(1, 200000) AS g(g)",
        "CREATE TABLE c AS SELECT 10 / (200000 - g) AS a FROM generate_series(1, 200000) AS g(g)",
        "CREATE TABLE c AS SELECT 1 AS a, 2 AS a",
    ];
    for sql in failing {
        client.batch_execute(sql).await.unwrap_err();
        becomes(folder.path(), 1, sql);
    }
    let endless =
        "INSERT INTO t SELECT a.g + b.g FROM generate_series(1, 100000) AS a(g), generate_series(1, 100000) AS b(g)";
    let cancel = client.cancel_token();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    let error = client.batch_execute(endless).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error}");
    canceller.await.unwrap();
    becomes(folder.path(), 1, "a cancelled statement");
    assert_eq!(count(&client, "t").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_all_kept() {
    const CONNECTIONS: i64 = 8;
    const ROUNDS: i64 = 8;
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..CONNECTIONS {
        let client = server.connect("").await.unwrap();
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let first = 4 * (writer * ROUNDS + round);
                let statements = [
                    format!("INSERT INTO t VALUES ({first}), ({})", first + 1),
                    format!(
                        "BEGIN; INSERT INTO t VALUES ({}); INSERT INTO t VALUES ({}); COMMIT",
                        first + 2,
                        first + 3
                    ),
                ];
                for sql in statements {
                    while let Err(error) = client.batch_execute(&sql).await {
                        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error}");
                        client.batch_execute("ROLLBACK").await.unwrap();
                    }
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = 4 * CONNECTIONS * ROUNDS;
    let row = client.query_one("SELECT count(*), count(DISTINCT a), min(a), max(a) FROM t", &[]).await.unwrap();
    let [all, distinct, least, greatest] = [0, 1, 2, 3].map(|column| row.get::<_, i64>(column));
    assert_eq!((all, distinct, least, greatest), (rows, rows, 0, rows - 1));
    // Every INSERT has one data file; the lost races have left none.
    let data = |file: &String| file.ends_with(".parquet");
    let expected = (3 * CONNECTIONS * ROUNDS) as usize;
    let begun = Instant::now();
    while files(folder.path()).iter().filter(|file| data(file)).count() != expected && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files(folder.path()).iter().filter(|file| data(file)).count(), expected);
    // Each head is one metadata file; the first is the empty table's.
    let heads = files(folder.path()).iter().filter(|file| file.ends_with(".metadata.json")).count();
    let most = 1 + expected;
    assert!(heads <= most, "{heads} metadata files of at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_are_all_counted() {
    const CONNECTIONS: i32 = 6;
    const ROUNDS: i32 = 10;
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (k integer, n integer); INSERT INTO t VALUES (1, 0), (2, 0)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..CONNECTIONS {
        let client = server.connect("").await.unwrap();
        writers.push(tokio::spawn(async move {
            let mut counted = 0;
            for round in 0..ROUNDS {
                let sql = match (writer + round) % 3 {
                    0 => "UPDATE t SET n = n + 1 WHERE k = 1".to_owned(),
                    1 => "BEGIN; UPDATE t SET n = n + 1 WHERE k = 1; COMMIT".to_owned(),
                    _ => format!("INSERT INTO t VALUES ({}, 0)", 100 + writer * ROUNDS + round),
                };
                while let Err(error) = client.batch_execute(&sql).await {
                    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error}");
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
                counted += i32::from((writer + round) % 3 < 2);
            }
            counted
        }));
    }
    let mut counted = 0;
    for writer in writers {
        counted += writer.await.unwrap();
    }
    let row = client.query_one("SELECT sum(n), count(*) FROM t", &[]).await.unwrap();
    let inserted = CONNECTIONS * ROUNDS - counted;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (counted.into(), (inserted + 2).into()));
}
