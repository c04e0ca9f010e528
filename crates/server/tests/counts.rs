//! Rows are counted without being read where metadata knows how many there are, and read where it does not.

use tokio_postgres::Client;

use crate::start_up::{Server, folder};

/// The count, and whether its plan reads the table.
async fn count(client: &Client, query: &str) -> (i64, bool) {
    let plan = client.query(&format!("EXPLAIN {query}"), &[]).await.unwrap();
    let reads = plan.iter().any(|row| row.get::<_, &str>(0).contains("DataSourceExec"));
    (client.query_one(query, &[]).await.unwrap().get(0), reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_are_counted_by_metadata() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), &[("WHARF_MAINTENANCE__ENABLED", "false")]);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a integer, b text) PARTITION BY (truncate(2, a))").await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM t").await, (0, false));
    client.batch_execute("INSERT INTO t SELECT n, NULL FROM generate_series(1, 5) AS g(n)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (NULL, 'b')").await.unwrap();
    for all in ["count(*)", "count(1)", "count('x')", "count(true)"] {
        assert_eq!(count(&client, &format!("SELECT {all} FROM t")).await, (6, false), "{all}");
    }
    assert_eq!(count(&client, "SELECT count(*) + count(1) + count('x') + count(a) FROM t").await, (23, false));
    assert_eq!(count(&client, "SELECT count(*) FROM t AS one, t AS two").await.0, 36);
    assert_eq!(count(&client, "SELECT count(*) OVER () FROM t LIMIT 1").await.0, 6);
    // What is no number of all rows.
    assert_eq!(count(&client, "SELECT count(NULL) FROM t").await.0, 0);
    assert_eq!(count(&client, "SELECT count(DISTINCT 1) FROM t").await.0, 1);
    assert_eq!(count(&client, "SELECT count(*) FROM t WHERE a > 3").await, (2, true));
    assert_eq!(count(&client, "SELECT count(*) FILTER (WHERE b = 'b') FROM t").await, (1, true));
    assert_eq!(count(&client, "SELECT count(*) FROM (SELECT a FROM t LIMIT 4) AS s").await.0, 4);
    assert_eq!(count(&client, "SELECT count(*) FROM (SELECT a FROM t OFFSET 5) AS s").await.0, 1);
    // A transaction counts its own rows, too.
    client.batch_execute("BEGIN; INSERT INTO t VALUES (7, 'c')").await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM t").await.0, 7);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM t").await, (6, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_are_deleted_in_place_are_not_counted() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), &[("WHARF_MAINTENANCE__ENABLED", "false")]);
    let client = server.connect("").await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (a integer) WITH ('write.delete.mode' = 'merge-on-read'); \
             INSERT INTO t SELECT n FROM generate_series(1, 100) AS g(n)",
        )
        .await
        .unwrap();
    client.batch_execute("DELETE FROM t WHERE a % 10 = 0").await.unwrap();
    let deletes: i64 = client.query_one("SELECT count(*) FROM t$files WHERE content <> 0", &[]).await.unwrap().get(0);
    assert!(deletes > 0, "the rows were not deleted in place");
    assert_eq!(count(&client, "SELECT count(*) FROM t").await, (90, true));
    client.batch_execute("CALL wharf.rewrite_data_files(table => 't', rewrite_all => true)").await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM t").await, (90, false));
}
