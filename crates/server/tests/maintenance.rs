//! What the server does to tables by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_written_during_a_compaction_is_compacted_after_it() {
    let folder = folder();
    // At once, and so while more is written.
    let hasty = [EAGER, &[("WHARF_MAINTENANCE__QUIET_MS", "0")]].concat();
    let server = Server::serve_with(folder.path(), &hasty);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (part integer) PARTITION BY (part)").await.unwrap();
    for _ in 0..8 {
        client.batch_execute("INSERT INTO t SELECT g % 60 FROM generate_series(1, 600) AS g(g)").await.unwrap();
    }
    let begun = Instant::now();
    loop {
        let sql = "SELECT max(files) FROM (SELECT count(*) AS files FROM t$files GROUP BY partition::text) AS f";
        let most: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        // Three are written together.
        if most < 3 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "a partition has {most} files");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 4800);
}

fn files(folder: &std::path::Path) -> usize {
    let mut folders = vec![folder.join("wharf-data/warehouse/wharf")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { count += 1 }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_files_of_a_purged_table_go_and_those_of_its_clone_stay() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), EAGER);
    let client = server.connect("").await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE kept AS SELECT 1 AS a; CREATE TABLE gone AS SELECT 2 AS a; CREATE TABLE source AS SELECT 3 AS a; \
             CREATE TABLE clone CLONE source",
        )
        .await
        .unwrap();
    let before = files(folder.path());
    client.batch_execute("DROP TABLE gone PURGE").await.unwrap();
    client.batch_execute("DROP TABLE source PURGE").await.unwrap();
    client.batch_execute("UNDROP TABLE gone").await.unwrap_err();
    let begun = Instant::now();
    // The files of `gone`: a data file, a manifest, a manifest list and at least one metadata file.
    while files(folder.path()) > before - 4 {
        assert!(begun.elapsed() < PATIENCE, "{} files of {before}", files(folder.path()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (table, value) in [("kept", 1), ("clone", 3)] {
        let row = client.query_one(&format!("SELECT a FROM {table}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_small_manifests_become_one() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), EAGER);
    let client = server.connect("").await.unwrap();
    // Each file has a partition of its own, so there is nothing to write together but the manifests.
    let definition = "CREATE TABLE t (id integer NOT NULL) PARTITION BY (id) \
                      WITH ('commit.manifest-merge.enabled' = 'false', 'commit.manifest.min-count-to-merge' = '3')";
    client.batch_execute(definition).await.unwrap();
    for id in 0..6 {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).await.unwrap();
    }
    let begun = Instant::now();
    loop {
        let manifests: i64 = client.query_one("SELECT count(*) FROM t$manifests", &[]).await.unwrap().get(0);
        if manifests <= 3 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "there are {manifests} manifests");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_compaction_under_way_is_listed_with_what_it_has_done() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), &[("WHARF_MAINTENANCE__ENABLED", "false")]);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (id integer, note text)").await.unwrap();
    let insert = "INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 300000) AS g(g)";
    client.batch_execute(insert).await.unwrap();
    let worker = server.connect("").await.unwrap();
    let call = "CALL wharf.rewrite_data_files(table => 't', sort_order => 'note', rewrite_all => true)";
    let query = "SELECT pid <> pg_backend_pid(), command, table_name::text, files_total, bytes <= bytes_total, bytes_total > 0, rows \
                 FROM wharf.progress";
    let enough = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&enough);
    // Again and again, since one is soon done.
    let work = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            worker.batch_execute(call).await.unwrap();
        }
    });
    let begun = Instant::now();
    let seen = loop {
        let listed = client.query(query, &[]).await.unwrap().pop();
        if let Some(row) = listed.filter(|row| row.get::<_, i64>(6) > 0) {
            break row;
        }
        assert!(begun.elapsed() < PATIENCE, "it was never seen");
    };
    enough.store(true, Ordering::Relaxed);
    work.await.unwrap();
    assert!([0, 4, 5].into_iter().all(|column| seen.get::<_, bool>(column)), "{seen:?}");
    assert_eq!((seen.get::<_, &str>(1), seen.get::<_, &str>(2)), ("rewrite_data_files", "t"));
    assert_eq!(seen.get::<_, i64>(3), 1);
    let begun = Instant::now();
    while !client.query(query, &[]).await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "it has ended and is still listed");
    }
}
