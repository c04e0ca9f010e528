//! Compaction by all nodes of a cluster, and by one of them when nobody asks.

use std::time::Duration;

use tokio_postgres::Client;

use crate::cluster::{number, until};
use crate::divided::{Trio, column, metric};

const HELPED: &str = "wharf_file_groups_rewritten_for_others_total";

/// A table of 48 partitions with three files each, which are there at once.
async fn many_groups(client: &Client) {
    client.batch_execute("CREATE TABLE c (part integer, a bigint) PARTITION BY (part); BEGIN").await.unwrap();
    for round in 0..3 {
        let insert = format!("INSERT INTO c SELECT g % 48, g + {round}000000 FROM generate_series(1, 9600) AS g(g)");
        client.batch_execute(&insert).await.unwrap();
    }
    client.batch_execute("COMMIT").await.unwrap();
}

const SUMS: &str = "SELECT part || ':' || count(*) || ':' || sum(a) FROM c GROUP BY part ORDER BY part";

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_rewrite_files() {
    let trio = Trio::start_with(&[("WHARF_MAINTENANCE__ENABLED", "false")]).await;
    let client = trio.client().await;
    many_groups(&client).await;
    let before = column(&client, SUMS).await;
    let call = "CALL wharf.rewrite_data_files(table => 'c', min_input_files => 2, sort_order => 'a DESC')";
    let row = client.query_one(call, &[]).await.unwrap();
    let counts: Vec<i64> = (0..4).map(|column| row.get(column)).collect();
    assert_eq!((counts[0], counts[1], counts[3]), (144, 48, 0));
    assert_eq!(number(&client, "SELECT count(*) FROM c$files").await, Some(48));
    assert_eq!(column(&client, SUMS).await, before);
    let helped: Vec<u64> = trio.servers.iter().map(|server| metric(server, HELPED)).collect();
    assert!(helped[0] == 0 && helped[1] > 0 && helped[2] > 0, "{helped:?}");
    // The order that was asked for has gone to the other nodes.
    let sorted = "SELECT count(*) FROM (SELECT a < lag(a) OVER (PARTITION BY part ORDER BY a DESC) FROM c) AS s(down) WHERE NOT down";
    assert_eq!(number(&client, sorted).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_leaves_is_rewritten_by_the_others() {
    let mut trio = Trio::start_with(&[("WHARF_MAINTENANCE__ENABLED", "false")]).await;
    let client = trio.client().await;
    many_groups(&client).await;
    let before = column(&client, SUMS).await;
    let call =
        async { client.query_one("CALL wharf.rewrite_data_files(table => 'c', min_input_files => 2)", &[]).await };
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        trio.servers[2].signal("-KILL");
        tokio::task::block_in_place(|| trio.servers[2].wait());
    };
    let (row, ()) = tokio::join!(call, kill);
    let row = row.unwrap();
    let (rewritten, failed): (i64, i64) = (row.get(0), row.get(3));
    // The group of the node that was lost may have been committed before.
    assert!(
        (rewritten, failed) == (144, 0) || (rewritten, failed) == (141, 1),
        "{rewritten} files, {failed} groups failed"
    );
    assert_eq!(number(&client, "SELECT count(*) FROM c$files").await, Some(48));
    client.batch_execute("SET wharf.distribute = 'off'").await.unwrap();
    assert_eq!(column(&client, SUMS).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_nodes_one_looks_after_tables() {
    let eager = [
        ("WHARF_MAINTENANCE__INTERVAL_MS", "100"),
        ("WHARF_MAINTENANCE__QUIET_MS", "200"),
        ("WHARF_MAINTENANCE__MIN_INPUT_FILES", "2"),
    ];
    let trio = Trio::start_with(&eager).await;
    let client = trio.client().await;
    many_groups(&client).await;
    until("the files of all groups are written together", async || {
        (number(&client, "SELECT count(*) FROM c$files").await == Some(48)).then_some(())
    })
    .await;
    // Of two that did it, one would have rewritten a group once more, or lost the race for it: each group has one commit.
    let rewrites = "SELECT count(*) FROM c$snapshots WHERE operation = 'replace'";
    assert_eq!(number(&client, rewrites).await, Some(48));
}
