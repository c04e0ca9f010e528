//! Files that no snapshot refers to any more, in a cluster: they stay while a statement on any node may still read them, and while a
//! node does not say what it reads.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;

use crate::cluster::until;
use crate::divided::{Trio, column};

/// Older than an orphan has to be.
const AGE: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// The data files of a table.
async fn data_files(client: &Client, table: &str) -> Vec<PathBuf> {
    let files = column(client, &format!("SELECT file_path FROM {table}$files")).await;
    let files: Vec<_> = files.iter().map(|file| PathBuf::from(file.strip_prefix("file://").unwrap())).collect();
    assert!(!files.is_empty() && left(&files) == files.len(), "{files:?}");
    files
}

/// How many of the files are still there.
fn left(files: &[PathBuf]) -> usize {
    files.iter().filter(|file| file.exists()).count()
}

/// Makes files as old as orphans are that nobody will ever commit.
fn age(files: &[PathBuf]) {
    for file in files {
        let file = File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - AGE).unwrap();
    }
}

/// Lets a table forget everything but its head; how many snapshots are gone, and how many files.
async fn expire(client: &Client, table: &str) -> (i64, i64) {
    let call = format!("CALL wharf.expire_snapshots(table => '{table}', older_than => now(), retain_last => 1)");
    let row = client.query_one(&call, &[]).await.unwrap();
    (row.get("expired_snapshots"), row.get("deleted_files"))
}

async fn remove_orphans(client: &Client, table: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("CALL wharf.remove_orphan_files(table => '{table}')")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_transaction_on_another_node_reads_stay_until_it_ends() {
    let trio = Trio::start().await;
    let client = trio.servers[0].connect("").await.unwrap();
    let reader = trio.servers[1].connect("").await.unwrap();
    let read = data_files(&client, "t").await;
    reader.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT a FROM t").await.unwrap();
    let mut rows = column(&reader, "FETCH 1 FROM c").await;

    client.batch_execute("TRUNCATE t").await.unwrap();
    let (snapshots, removed) = expire(&client, "t").await;
    assert!(snapshots > 0);
    assert_eq!((removed, left(&read)), (0, read.len()));

    // What nobody reads goes at once, so it is the reader that has kept the others: its transaction knows nothing of this table.
    client.batch_execute("CREATE TABLE unread (a bigint)").await.unwrap();
    let unread = until("the files go with their snapshots", async || {
        client.batch_execute("INSERT INTO unread VALUES (1)").await.unwrap();
        let files = data_files(&client, "unread").await;
        client.batch_execute("TRUNCATE unread").await.unwrap();
        // None where a node was so busy that it did not answer in time.
        (expire(&client, "unread").await.1 > 0).then_some(files)
    })
    .await;
    assert_eq!(left(&unread), 0);

    rows.extend(column(&reader, "FETCH ALL FROM c").await);
    let mut rows: Vec<i64> = rows.iter().map(|row| row.parse().unwrap()).collect();
    rows.sort_unstable();
    assert!(rows.iter().copied().eq(1..=60_000), "{} rows", rows.len());

    // The cursor has come to its end, and the transaction may still read what it saw. A node that does not lead asks.
    age(&read);
    let third = trio.servers[2].connect("").await.unwrap();
    until("all nodes say what they read", async || remove_orphans(&third, "t").await.ok()).await;
    assert_eq!(left(&read), read.len());
    assert_eq!(column(&reader, "SELECT sum(a) FROM t").await, ["1800030000"]);

    reader.batch_execute("COMMIT").await.unwrap();
    until("the files that nobody reads any more are gone", async || {
        remove_orphans(&third, "t").await.ok()?;
        (left(&read) == 0).then_some(())
    })
    .await;
    assert_eq!(column(&reader, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_while_a_node_does_not_say_what_it_reads() {
    let trio = Trio::start().await;
    let client = trio.servers[0].connect("").await.unwrap();
    let files = data_files(&client, "t").await;
    client.batch_execute("TRUNCATE t").await.unwrap();

    // It hangs, and whoever it serves may read on when it comes to itself.
    trio.servers[2].signal("-STOP");
    let (snapshots, removed) = expire(&client, "t").await;
    assert!(snapshots > 0);
    assert_eq!((removed, left(&files)), (0, files.len()));
    age(&files);
    let error = remove_orphans(&client, "t").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "57P03", "{error:?}");
    assert!(error.message().contains(&trio.members[2].peers), "{error:?}");
    assert_eq!(left(&files), files.len());

    trio.servers[2].signal("-CONT");
    until("the third node answers", async || remove_orphans(&client, "t").await.ok()).await;
    assert_eq!(left(&files), 0);
}
