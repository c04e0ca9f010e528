//! Rows of INSERT .. SELECT and CREATE TABLE AS that the nodes write which compute them: all of them once, checked, and none of a
//! statement that fails or of an attempt that lost a node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;

use crate::cluster::{number, until};
use crate::divided::{Trio, column, metric};

const WRITTEN: &str = "wharf_fanout_files_written_total";
/// Files are to stay as statements have left them.
const WITHOUT_MAINTENANCE: &[(&str, &str)] = &[("WHARF_MAINTENANCE__ENABLED", "false")];

/// 300,000 rows, each another number.
const ROWS: &str =
    "SELECT one.a * 10 + two.a AS n, one.b FROM t AS one CROSS JOIN (SELECT a FROM t WHERE a <= 5) AS two";
const SUMS: &str = "300000:300000:90002400000";

async fn sums(client: &Client, table: &str) -> String {
    column(client, &format!("SELECT count(*) || ':' || count(DISTINCT n) || ':' || sum(n) FROM {table}")).await.concat()
}

fn written(trio: &Trio) -> Vec<u64> {
    trio.servers.iter().map(|server| metric(server, WRITTEN)).collect()
}

/// The folder of a table's data files.
async fn data_folder(client: &Client, table: &str) -> PathBuf {
    let files = column(client, &format!("SELECT file_path FROM {table}$files LIMIT 1")).await;
    Path::new(files[0].strip_prefix("file://").unwrap()).parent().unwrap().to_owned()
}

fn data_files(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_that_compute_rows_write_them() {
    let trio = Trio::start_with(WITHOUT_MAINTENANCE).await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE copied (n bigint NOT NULL, b text CHECK (length(b) < 10))").await.unwrap();
    assert_eq!(client.execute(&format!("INSERT INTO copied {ROWS}"), &[]).await.unwrap(), 300_000);
    assert_eq!(sums(&client, "copied").await, SUMS);
    // Each its own, into as few files as it can.
    assert_eq!(written(&trio), [1, 1, 1]);
    assert_eq!(number(&client, "SELECT count(*) FROM copied$files").await, Some(3));

    client.batch_execute(&format!("CREATE TABLE made AS {ROWS}")).await.unwrap();
    assert_eq!(sums(&client, "made").await, SUMS);
    assert_eq!(written(&trio), [2, 2, 2]);

    // A table that nobody else knows yet, and rows of a statement before.
    let block = format!(
        "BEGIN; CREATE TABLE mine (n bigint, b text); INSERT INTO mine {ROWS}; INSERT INTO mine SELECT * FROM mine"
    );
    client.batch_execute(&block).await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM mine").await, Some(600_000));
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sums(&client, "mine").await, "600000:300000:180004800000");

    // Partitions and an order of their own.
    let sorted = format!("CREATE TABLE sorted PARTITION BY (bucket(4, n)) SORT BY (b) AS {ROWS}");
    client.batch_execute(&sorted).await.unwrap();
    assert_eq!(sums(&client, "sorted").await, SUMS);

    // What is returned is needed where the session is.
    let before = written(&trio);
    let returned = column(&client, &format!("INSERT INTO copied {ROWS} RETURNING n")).await;
    assert_eq!((returned.len(), written(&trio)), (300_000, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_on_any_node_is_the_statements_error() {
    let trio = Trio::start_with(WITHOUT_MAINTENANCE).await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE copied (n bigint NOT NULL, b text CHECK (length(b) < 10))").await.unwrap();
    client.batch_execute("INSERT INTO copied VALUES (1, 'x')").await.unwrap();
    let folder = data_folder(&client, "copied").await;

    // A row in a hundred, so that no node gets to its end.
    let insert = format!("INSERT INTO copied SELECT nullif(n % 1000, 5), b FROM ({ROWS}) AS r");
    let error = client.simple_query(&insert).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "23502", "{error:?}");
    assert_eq!(error.message(), "null value in column \"n\" of relation \"copied\" violates not-null constraint");
    assert_eq!(error.detail(), Some("Failing row contains (null, x0)."));
    assert_eq!((error.table(), error.column()), (Some("copied"), Some("n")));

    let insert =
        format!("INSERT INTO copied SELECT n, CASE n % 1000 WHEN 5 THEN 'far too long' END FROM ({ROWS}) AS r");
    let error = client.simple_query(&insert).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "23514", "{error:?}");
    assert_eq!(error.message(), "new row for relation \"copied\" violates check constraint \"copied_b_check\"");
    let detail = error.detail().unwrap();
    assert!(detail.starts_with("Failing row contains (") && detail.ends_with(", far too long)."), "{detail}");
    assert_eq!(error.constraint(), Some("copied_b_check"));

    assert_eq!(column(&client, "SELECT count(*) FROM copied").await, ["1"]);
    until("what was written is removed", async || (data_files(&folder) == 1).then_some(())).await;
    assert_eq!(written(&trio), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_while_it_writes_neither_loses_rows_nor_doubles_them() {
    let mut trio = Trio::start_with(WITHOUT_MAINTENANCE).await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE copied (n bigint, b text)").await.unwrap();
    // 5,400,000 rows, so that there is a middle to be killed in.
    let insert =
        "INSERT INTO copied SELECT one.a, two.b FROM t AS one JOIN t AS two ON one.b = two.b WHERE two.a <= 9000";
    let inserted = trio.lose_third_during(client.execute(insert, &[]), Duration::from_millis(200)).await;
    assert_eq!(inserted.unwrap(), 5_400_000);
    assert_eq!(sums(&client, "copied").await, "5400000:60000:162002700000");
    client.batch_execute("SET wharf.distribute = 'off'").await.unwrap();
    assert_eq!(sums(&client, "copied").await, "5400000:60000:162002700000");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_end_with_their_statement() {
    let trio = Trio::start_with(WITHOUT_MAINTENANCE).await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE copied (n bigint, b text); INSERT INTO copied VALUES (1, 'x')").await.unwrap();
    let folder = data_folder(&client, "copied").await;
    // 21,600,000,000 rows.
    client.batch_execute("SET statement_timeout = '2s'").await.unwrap();
    let insert = "INSERT INTO copied SELECT one.a, two.b FROM t AS one JOIN t AS two ON one.b = two.b \
                  JOIN t AS three ON two.b = three.b";
    let error = client.simple_query(insert).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    client.batch_execute("RESET statement_timeout").await.unwrap();
    until("nothing runs", async || (trio.parts() == [0, 0, 0]).then_some(())).await;
    until("what was written is removed", async || (data_files(&folder) == 1).then_some(())).await;
    assert_eq!(column(&client, "SELECT count(*) FROM copied").await, ["1"]);
}
