//! COPY from files by all nodes of a cluster: what is loaded, what an error leaves, and nodes that die and hang meanwhile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::cluster::{number, until};
use crate::divided::{Trio, column, metric};

const HELPED: &str = "wharf_copy_units_loaded_for_others_total";

/// Nobody else makes or removes data files.
async fn quiet() -> Trio {
    Trio::start_with(&[("WHARF_MAINTENANCE__ENABLED", "false")]).await
}

/// Files of CSV in the warehouse's folder, each with so many lines of consecutive numbers from 1 on, and what is made of each.
fn write_files(trio: &Trio, files: usize, lines: usize, line: impl Fn(usize) -> String) {
    let folder = trio.warehouse.join("loads");
    std::fs::create_dir_all(&folder).unwrap();
    for file in 0..files {
        let mut text = String::new();
        for number in file * lines + 1..=(file + 1) * lines {
            writeln!(text, "{number},{}", line(number)).unwrap();
        }
        std::fs::write(folder.join(format!("part-{file:02}.csv")), text).unwrap();
    }
}

/// How many data files there are, whether a table has them or not.
fn data_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let own = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).count();
    own + paths.iter().filter(|path| path.is_dir()).map(|path| data_files(path)).sum::<usize>()
}

fn helped(trio: &Trio) -> Vec<u64> {
    trio.servers.iter().map(|server| metric(server, HELPED)).collect()
}

async fn refused(client: &Client, sql: &str) -> DbError {
    client.batch_execute(sql).await.unwrap_err().as_db_error().unwrap().clone()
}

/// A count and a sum.
async fn sums(client: &Client, table: &str) -> String {
    column(client, &format!("SELECT count(*) || ':' || sum(id) FROM {table}")).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_load_files() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    write_files(&trio, 12, 5_000, |number| format!("{:02}.12.2024,{number}.5", number % 28 + 1));
    client
        .batch_execute(
            "SET DateStyle = 'German'; \
             CREATE TABLE c (id bigint NOT NULL, d date, n numeric CHECK (n > 0), at timestamptz DEFAULT now(), \
                             u uuid DEFAULT gen_random_uuid(), part integer DEFAULT 7) PARTITION BY (bucket(2, id))",
        )
        .await
        .unwrap();
    client.batch_execute("COPY c (id, d, n) FROM 'loads/*.csv' (FORMAT csv)").await.unwrap();
    assert_eq!(sums(&client, "c").await, "60000:1800030000");
    let defaults = "SELECT count(DISTINCT at) || ':' || count(DISTINCT u) || ':' || sum(part) FROM c";
    assert_eq!(column(&client, defaults).await, ["1:60000:420000"]);
    let values = "SELECT min(d) || ' ' || max(d) || ' ' || (sum(n) = 1800060000) FROM c";
    assert_eq!(column(&client, values).await, ["01.12.2024 28.12.2024 true"]);
    let units = helped(&trio);
    assert!(units[0] == 0 && units[1] > 0 && units[2] > 0, "{units:?}");

    // What was loaded is known, whichever node has loaded it.
    client.batch_execute("COPY c (id, d, n) FROM 'loads/*.csv' (FORMAT csv)").await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM c").await, Some(60_000));

    client.batch_execute("SET wharf.distribute = 'off'; CREATE TABLE alone (LIKE c INCLUDING ALL)").await.unwrap();
    client.batch_execute("COPY alone (id, d, n) FROM 'loads/*.csv' (FORMAT csv)").await.unwrap();
    assert_eq!(sums(&client, "alone").await, "60000:1800030000");
    // So few bytes are not worth it.
    client.batch_execute("SET wharf.distribute = 'auto'").await.unwrap();
    client.batch_execute("COPY alone (id, d, n) FROM 'loads/*.csv' (FORMAT csv, FORCE true)").await.unwrap();
    assert_eq!(helped(&trio), units);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_files_of_a_node_lack_is_null() {
    let trio = Trio::start().await;
    let client = trio.client().await;
    for file in 0..6 {
        // Those without it are read together.
        let columns = if file < 3 { "a AS id, b" } else { "a AS id" };
        let copy =
            format!("COPY (SELECT {columns} FROM t WHERE a % 6 = {file}) TO 'loads/{file}.parquet' (FORMAT parquet)");
        client.batch_execute(&copy).await.unwrap();
    }
    client.batch_execute("CREATE TABLE p (id bigint, b text)").await.unwrap();
    client.batch_execute("COPY p FROM 'loads/*.parquet'").await.unwrap();
    assert_eq!(sums(&client, "p").await, "60000:1800030000");
    assert_eq!(column(&client, "SELECT count(b) || ':' || min(b) FROM p").await, ["30000:x0"]);
    assert!(helped(&trio).iter().sum::<u64>() > 0);
    client.batch_execute("CREATE TABLE q (id bigint, nowhere text)").await.unwrap();
    assert_eq!(refused(&client, "COPY q FROM 'loads/*.parquet'").await.code().code(), "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_any_node_is_the_statements_and_leaves_nothing() {
    let trio = quiet().await;
    let client = trio.client().await;
    client.batch_execute("CREATE TABLE c (id bigint, v integer NOT NULL CHECK (v >= 0))").await.unwrap();
    let before = data_files(&trio.warehouse);
    let copy = "COPY c FROM 'loads/*.csv' (FORMAT csv)";
    for (wrong, code, context) in [
        ("x", "22P02", Some("COPY c, line 3, column v: \"x\"")),
        ("1,2", "22P04", Some("COPY c, line 3: ")),
        ("", "23502", None),
        ("-1", "23514", None),
    ] {
        // Each file in its turn, so that of the four some are read by other nodes.
        for file in [0, 3, 7, 11] {
            let line = file * 1_000 + 3;
            write_files(&trio, 12, 1_000, |number| if number == line { wrong.to_owned() } else { "1".to_owned() });
            let error = refused(&client, copy).await;
            assert_eq!(error.code().code(), code, "{error:?}");
            let said = error.where_().unwrap_or_default();
            assert!(said.contains(&format!("part-{file:02}.csv")), "{error:?}");
            assert!(context.is_none_or(|context| said.starts_with(context)), "{error:?}");
            assert_eq!(number(&client, "SELECT count(*) FROM c").await, Some(0));
        }
    }
    until("no file is left of what was given up", async || (data_files(&trio.warehouse) == before).then_some(())).await;

    write_files(&trio, 12, 1_000, |number| if number % 1_000 == 5 { "x".to_owned() } else { "1".to_owned() });
    let skipping = "COPY c FROM 'loads/*.csv' (FORMAT csv, ON_ERROR skip, REJECTS_TABLE 'rejected', REJECT_LIMIT";
    assert_eq!(refused(&client, &format!("{skipping} 11)")).await.code().code(), "22P02");
    client.batch_execute(&format!("{skipping} 12)")).await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM c").await, Some(11_988));
    let rejected =
        "SELECT count(*) || ':' || count(DISTINCT file) || ':' || min(line) || ':' || max(line) FROM rejected";
    assert_eq!(column(&client, rejected).await, ["12:12:5:5"]);
    assert!(helped(&trio).iter().sum::<u64>() > 0);
}

/// Work for a while.
const MANY: (usize, usize) = (24, 50_000);
const MANY_SUMS: &str = "1200000:720000600000";

async fn many_files(trio: &Trio) -> Client {
    let client = trio.client().await;
    write_files(trio, MANY.0, MANY.1, |number| format!("row number {number}"));
    client.batch_execute("CREATE TABLE c (id bigint, v text)").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_had_is_loaded_by_the_others_once() {
    let mut trio = quiet().await;
    let client = many_files(&trio).await;
    let copy = async { client.batch_execute("COPY c FROM 'loads/*.csv' (FORMAT csv)").await };
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        trio.servers[2].signal("-KILL");
        tokio::task::block_in_place(|| trio.servers[2].wait());
    };
    let (copied, ()) = tokio::join!(copy, kill);
    copied.unwrap();
    client.batch_execute("SET wharf.distribute = 'off'").await.unwrap();
    assert_eq!(sums(&client, "c").await, MANY_SUMS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_not_waited_for_and_what_it_has_written_goes() {
    let trio = quiet().await;
    let client = many_files(&trio).await;
    let before = data_files(&trio.warehouse);
    trio.servers[1].signal("-STOP");
    let copy = client.batch_execute("COPY c FROM 'loads/*.csv' (FORMAT csv)");
    let copied = tokio::time::timeout(Duration::from_secs(60), copy).await;
    trio.servers[1].signal("-CONT");
    copied.unwrap().unwrap();
    client.batch_execute("SET wharf.distribute = 'off'").await.unwrap();
    assert_eq!(sums(&client, "c").await, MANY_SUMS);
    let files = usize::try_from(number(&client, "SELECT count(*) FROM c$files").await.unwrap()).unwrap();
    until("no other file is there", async || (data_files(&trio.warehouse) == before + files).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_cancelled_ends_on_all_nodes() {
    let trio = quiet().await;
    let client = many_files(&trio).await;
    let before = data_files(&trio.warehouse);
    let copy = async { client.batch_execute("COPY c FROM 'loads/*.csv' (FORMAT csv)").await };
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (copied, ()) = tokio::join!(copy, cancel);
    assert_eq!(copied.unwrap_err().code().unwrap().code(), "57014");
    // What was being written goes. A unit that another node was just done with, and whose answer nobody took any more, is an orphan:
    // each of the two others may have one, of at most as many files as it reads side by side.
    until("what was being written is gone", async || (data_files(&trio.warehouse) <= before + 4).then_some(())).await;
    let left = data_files(&trio.warehouse);
    // And nothing comes afterwards.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(data_files(&trio.warehouse) <= left);
    client.batch_execute("COPY c FROM 'loads/*.csv' (FORMAT csv)").await.unwrap();
    assert_eq!(sums(&client, "c").await, MANY_SUMS);
}
