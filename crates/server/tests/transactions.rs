//! Transactions and the files they write, from outside: what is seen, what is kept, and what is removed.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::SinkExt;
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
    let mut folders = vec![folder.join("wharf-data/warehouse/wharf")];
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

#[tokio::test(flavor = "multi_thread")]
async fn single_rows_of_many_connections_share_snapshots() {
    const CONNECTIONS: i64 = 16;
    const ROUNDS: i64 = 12;
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint, b integer)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..CONNECTIONS {
        let client = server.connect("").await.unwrap();
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let sql = format!("INSERT INTO t (a) VALUES ({})", writer * ROUNDS + round);
                client.batch_execute(&sql).await.unwrap();
                // What was answered is there.
                let sql = format!(
                    "SELECT count(*) FROM t WHERE a BETWEEN {} AND {}",
                    writer * ROUNDS,
                    writer * ROUNDS + round
                );
                assert_eq!(client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), round + 1);
            }
        }));
    }
    // A definition that changes meanwhile loses no row and fails nobody whose rows fit all the same.
    client.batch_execute("ALTER TABLE t RENAME COLUMN b TO c").await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = CONNECTIONS * ROUNDS;
    let row = client.query_one("SELECT count(*), count(DISTINCT a) FROM t", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (rows, rows));
    let snapshots: i64 = client.query_one("SELECT count(*) FROM \"t$snapshots\"", &[]).await.unwrap().get(0);
    let heads = files(folder.path()).iter().filter(|file| file.ends_with(".metadata.json")).count();
    assert!(snapshots > 0 && (heads as i64) < rows, "{heads} heads for {rows} rows");
}

async fn code(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_meet_are_told_apart() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (one, other) = (server.connect("").await.unwrap(), server.connect("").await.unwrap());
    let numbers = |sql: &'static str| {
        let rows = other.query(sql, &[]);
        async move { rows.await.unwrap().iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>() }
    };

    // A name that was taken meanwhile; what was written for the loser goes.
    one.batch_execute("BEGIN; CREATE TABLE x (a integer); INSERT INTO x VALUES (1)").await.unwrap();
    other.batch_execute("CREATE TABLE x (b text)").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "42P07");
    assert_eq!(code(&one, "SELECT b FROM x").await, "ok");
    becomes(folder.path(), 1, "a name that was taken");

    // Other definitions are no reason to fail, though the new objects get other oids than they had.
    one.batch_execute("BEGIN; CREATE TABLE p (a integer); INSERT INTO p VALUES (1); CREATE VIEW v AS SELECT a FROM p")
        .await
        .unwrap();
    other.batch_execute("CREATE TABLE q (a integer); INSERT INTO q VALUES (5)").await.unwrap();
    one.batch_execute("CREATE VIEW w AS SELECT a + 1 AS a FROM v; COMMIT").await.unwrap();
    assert_eq!(numbers("SELECT a FROM w").await, [2]);
    assert_eq!(code(&other, "DROP TABLE p").await, "2BP01");
    assert_eq!(code(&other, "DROP TABLE q").await, "ok");
    assert_eq!(code(&other, "DROP TABLE p CASCADE").await, "ok");
    assert_eq!(code(&other, "SELECT * FROM w").await, "42P01");

    // Another object of the same name.
    other.batch_execute("CREATE TABLE q (a integer); INSERT INTO q VALUES (6)").await.unwrap();
    one.batch_execute("BEGIN; DROP TABLE q").await.unwrap();
    other.batch_execute("DROP TABLE q; CREATE TABLE q (a integer); INSERT INTO q VALUES (7)").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(numbers("SELECT a FROM q").await, [7]);

    // Rows that others add are kept under the new name of their column.
    one.batch_execute(
        "BEGIN; INSERT INTO q VALUES (8); ALTER TABLE q RENAME COLUMN a TO b; INSERT INTO q (b) VALUES (9)",
    )
    .await
    .unwrap();
    other.batch_execute("INSERT INTO q VALUES (10); DELETE FROM q WHERE a = 7").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "ok");
    assert_eq!(numbers("SELECT b FROM q ORDER BY b").await, [8, 9, 10]);

    // Both rename it.
    one.batch_execute("BEGIN; ALTER TABLE q RENAME COLUMN b TO c").await.unwrap();
    other.batch_execute("ALTER TABLE q RENAME COLUMN b TO d").await.unwrap();
    assert_ne!(code(&one, "COMMIT").await, "ok");
    assert_eq!(numbers("SELECT d FROM q ORDER BY d").await, [8, 9, 10]);

    // A table that is gone.
    one.batch_execute("BEGIN; INSERT INTO q VALUES (11)").await.unwrap();
    other.batch_execute("DROP TABLE q").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_what_changes_meanwhile_fit() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (one, other) = (server.connect("").await.unwrap(), server.connect("").await.unwrap());
    let bad = "ALTER TABLE t CREATE BRANCH b AS OF VERSION 'bad'";
    let check = "ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0)";
    one.batch_execute("CREATE TABLE t (v integer); INSERT INTO t VALUES (-1); ALTER TABLE t CREATE TAG bad")
        .await
        .unwrap();
    one.batch_execute("DELETE FROM t; INSERT INTO t VALUES (1)").await.unwrap();

    // A check that was not there when the branch was made.
    one.batch_execute(&format!("BEGIN; {bad}")).await.unwrap();
    other.batch_execute(check).await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(code(&one, bad).await, "23514");
    other.batch_execute("ALTER TABLE t DROP CONSTRAINT positive").await.unwrap();

    // A branch that was not there when the check was made.
    one.batch_execute(&format!("BEGIN; {check}")).await.unwrap();
    other.batch_execute(bad).await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(code(&one, check).await, "23514");

    // Rows on their way to a branch that have no values for a column that came.
    let write = "BEGIN; SET LOCAL wharf.write_branch = 'b'; INSERT INTO t VALUES (6)";
    for column in ["k uuid DEFAULT gen_random_uuid()", "n integer DEFAULT 7"] {
        one.batch_execute(write).await.unwrap();
        other.batch_execute(&format!("ALTER TABLE t ADD COLUMN {column}")).await.unwrap();
        assert_eq!(code(&one, "COMMIT").await, "40001", "{column}");
    }
    // One that is NULL in all rows is NULL in these.
    one.batch_execute(write).await.unwrap();
    other.batch_execute("ALTER TABLE t ADD COLUMN o integer").await.unwrap();
    assert_eq!(code(&one, "COMMIT").await, "ok");
    let rows = one.query("SELECT v, n FROM t FOR VERSION AS OF 'b' ORDER BY v", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i32, i32)>>(), [(-1, 7), (6, 7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_comes_during_a_copy_is_held_to() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let (one, other) = (server.connect("").await.unwrap(), server.connect("").await.unwrap());
    let check = "ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0)";
    other.batch_execute("CREATE TABLE t (v integer)").await.unwrap();
    let mut copy = Box::pin(one.copy_in("COPY t FROM STDIN").await.unwrap());
    copy.send(bytes::Bytes::from_static(b"-5\n")).await.unwrap();
    other.batch_execute(check).await.unwrap();
    let refused = copy.as_mut().finish().await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));

    // Files, which are long enough to be met on the way. Whoever is too late is refused.
    other.batch_execute("COPY (SELECT -v FROM generate_series(1, 2000000) v) TO 'raw/v.csv'").await.unwrap();
    let mut met = false;
    for _ in 0..10 {
        other.batch_execute("DROP TABLE t; CREATE TABLE t (v integer)").await.unwrap();
        let load = one.batch_execute("COPY t FROM 'raw/v.csv' (FORMAT csv, FORCE true)");
        let change = async {
            while count(&other, "wharf.progress").await == 0 && count(&other, "t").await == 0 {}
            other.batch_execute(check).await
        };
        let (loaded, changed) = tokio::join!(load, change);
        let refused = loaded.as_ref().err().or(changed.as_ref().err()).expect("one of them is too late");
        met = refused.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE);
        if met {
            assert_eq!(count(&other, "t").await, 0);
            break;
        }
        assert_eq!(refused.code(), Some(&SqlState::CHECK_VIOLATION));
    }
    assert!(met, "no load was on its way when the check came");
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_to_a_savepoint_removes_files() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a integer); BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s").await.unwrap();
    let before = files(folder.path()).len();
    client
        .batch_execute("INSERT INTO t VALUES (2); UPDATE t SET a = 3; CREATE TABLE u AS SELECT a FROM t; DELETE FROM t")
        .await
        .unwrap();
    assert!(files(folder.path()).len() > before + 4);
    client.batch_execute("ROLLBACK TO s").await.unwrap();
    becomes(folder.path(), before, "ROLLBACK TO");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(count(&client, "t").await, 1);
    becomes(folder.path(), before, "COMMIT");
}
