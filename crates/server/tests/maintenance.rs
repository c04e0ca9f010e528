//! What the server does to tables by itself.

use std::time::{Duration, Instant};

use crate::start_up::{Server, folder};

/// Longer than any round takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const EAGER: &[(&str, &str)] = &[
    ("WHARF_MAINTENANCE__INTERVAL_MS", "100"),
    ("WHARF_MAINTENANCE__QUIET_MS", "200"),
    ("WHARF_MAINTENANCE__MIN_INPUT_FILES", "3"),
    ("WHARF_MAINTENANCE__ORPHAN_INTERVAL_MS", "0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn small_files_become_one_and_no_row_is_lost() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), EAGER);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (id integer NOT NULL); CREATE TABLE idle (id integer)").await.unwrap();
    for id in 0..5 {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).await.unwrap();
    }
    client.batch_execute("DELETE FROM t WHERE id = 2").await.unwrap();
    let begun = Instant::now();
    loop {
        let files: i64 = client.query_one("SELECT count(*) FROM t$files", &[]).await.unwrap().get(0);
        if files == 1 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "there are {files} files");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [0, 1, 3, 4]);
    // Former states can still be looked at: nothing has expired, and nothing was an orphan.
    let row = client
        .query_one("SELECT snapshot_id FROM t$snapshots ORDER BY committed_at OFFSET 4 LIMIT 1", &[])
        .await
        .unwrap();
    let id: i64 = row.get(0);
    let query = format!("SELECT count(*) FROM t FOR VERSION AS OF {id}");
    assert_eq!(client.query_one(&query, &[]).await.unwrap().get::<_, i64>(0), 5);
}
