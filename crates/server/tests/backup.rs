//! Backups of the catalog, and what is made of them: each test runs the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use crate::cluster::{Member, certificates, number, until};
use crate::start_up::{Server, folder, refused, wharf};

/// Runs to the end, which has to be a good one; what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn restore(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = wharf(folder);
    command.arg("restore").args(arguments);
    command
}

/// All files below a folder whose names end so, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// A server that backs up only when it starts, when it is asked to, and when it stops as it should.
fn serve(folder: &Path) -> Server {
    Server::serve_with(folder, &[("WHARF_BACKUP__INTERVAL_MS", "3600000"), ("WHARF_MAINTENANCE__ENABLED", "false")])
}

fn lose_the_catalog(folder: &TempDir) {
    std::fs::remove_dir_all(folder.path().join("wharf-data/catalog")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_taken_during_writes_is_restored_and_other_nodes_join() {
    let shared = folder();
    certificates(&shared, "ours");
    let warehouse = shared.path().join("warehouse");
    let [old, new, third] = std::array::from_fn(|_| Member::new(&shared, "ours"));
    let server = old.start(&warehouse, &old.peers);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint); CREATE VIEW v AS SELECT count(*) AS n FROM t").await.unwrap();

    let acknowledged = Arc::new(AtomicI64::new(0));
    let writer = tokio::spawn({
        let acknowledged = Arc::clone(&acknowledged);
        async move {
            loop {
                let next = acknowledged.load(Ordering::SeqCst) + 1;
                if client.batch_execute(&format!("INSERT INTO t VALUES ({next})")).await.is_err() {
                    return;
                }
                acknowledged.store(next, Ordering::SeqCst);
            }
        }
    });
    let written = async |least: i64| {
        until("rows are written", async || (acknowledged.load(Ordering::SeqCst) >= least).then_some(())).await;
    };
    written(20).await;
    let before = acknowledged.load(Ordering::SeqCst);
    let printed = run(&mut old.wharf(&["backup", "--config", "wharf.toml", "--to", "backups"]));
    // One may be on its way.
    let after = acknowledged.load(Ordering::SeqCst) + 1;
    assert!(printed.starts_with("backed up 1 table of cluster "), "{printed}");
    written(after + 20).await;
    drop(server);
    writer.await.unwrap();

    let [file] = files(&old.folder().join("backups"), ".backup").try_into().unwrap();
    let file = file.to_str().unwrap();
    let checked = run(&mut new.wharf(&["restore", "--from", file, "--check"]));
    assert!(checked.ends_with("all files of 1 table are there; nothing was made\n"), "{checked}");
    assert!(!new.folder().join("wharf-data").exists());
    let printed = run(&mut new.wharf(&["restore", "--from", file]));
    assert!(printed.contains("node 2 of a new cluster"), "{printed}");
    let line = format!("start it with: wharf serve --data wharf-data --warehouse file://{}\n", warehouse.display());
    assert!(printed.ends_with(&line), "{printed}");

    let server = new.start(&warehouse, &new.peers);
    let client = server.connect("").await.unwrap();
    let rows = number(&client, "SELECT n FROM v").await.unwrap();
    assert!((before..=after).contains(&rows), "{before} <= {rows} <= {after}");
    assert_eq!(number(&client, "SELECT max(a) FROM t").await, Some(rows));
    client.batch_execute("INSERT INTO t VALUES (-1)").await.unwrap();

    let joined = third.start(&warehouse, &new.peers);
    let other = joined.connect("").await.unwrap();
    assert_eq!(number(&other, "SELECT count(*) FROM t").await, Some(rows + 1));
    assert_eq!(number(&other, "SELECT node_id FROM wharf.nodes WHERE is_self").await, Some(3));
    other.batch_execute("INSERT INTO t VALUES (-2)").await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM t WHERE a < 0").await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_be_used_is_refused_and_nothing_is_made() {
    let folder = folder();
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint); CREATE ROLE guest LOGIN").await.unwrap();
    let row = client.query_one("CALL wharf.backup()", &[]).await.unwrap();
    let (location, bytes): (String, i64) = (row.get(0), row.get(2));
    let guest = server.connect_as("guest", "").await.unwrap();
    let denied = guest.batch_execute("CALL wharf.backup()").await.unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
    drop(server);

    let good = std::fs::read(location.strip_prefix("file://").unwrap()).unwrap();
    assert_eq!(good.len() as i64, bytes);
    let refuse = |bytes: &[u8]| {
        std::fs::write(folder.path().join("b.backup"), bytes).unwrap();
        let refused = refused(&mut restore(folder.path(), &["--from", "b.backup", "--data", "new"]));
        assert!(!folder.path().join("new").exists());
        refused
    };
    let (what, remedy) = refuse(&good[..good.len() - 1]);
    assert!(what.ends_with("is damaged: its length is not what its header says"), "{what}");
    assert!(remedy.starts_with("use another backup"), "{remedy}");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert!(refuse(&flipped).0.ends_with("is damaged: its checksum does not match"));
    assert!(refuse(b"").0.ends_with("is damaged: it is not a backup of a catalog"));
    let mut newer = good.clone();
    newer[9] = 9;
    let (what, remedy) = refuse(&newer);
    assert!(what.contains("has format version 9, this version of wharf reads up to 1"), "{what}");
    assert!(remedy.contains("or a newer one"), "{remedy}");

    std::fs::write(folder.path().join("b.backup"), &good).unwrap();
    let (what, _) = refused(&mut restore(folder.path(), &["--from", "b.backup"]));
    assert_eq!(what, "the data folder wharf-data has a catalog already");
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/photo"), "x").unwrap();
    let (what, _) = refused(&mut restore(folder.path(), &["--from", "b.backup", "--data", "mine"]));
    assert_eq!(what, "the data folder mine is not empty: there is photo");
    let (what, _) = refused(&mut restore(folder.path(), &["--from", "nothing.backup", "--data", "new"]));
    assert!(what.starts_with("cannot read nothing.backup: "), "{what}");
}

#[test]
fn a_backup_is_not_overwritten_and_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust", "--peers", "127.0.0.1:0"]);
    let server = Server::start(&mut command);
    let address = server.announced("peers on ");
    let arguments = ["backup", "--at", &address, "--to", "kept/catalog.backup"];
    run(wharf(folder.path()).args(arguments));
    let path = folder.path().join("kept/catalog.backup");
    let before = std::fs::read(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (what, remedy) = refused(wharf(folder.path()).args(arguments));
    assert!(what.ends_with("kept/catalog.backup exists already"), "{what}");
    assert!(remedy.contains("--to"), "{remedy}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(files(&folder.path().join("kept"), "").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_after_the_last_backup_is_found_in_the_warehouse() {
    let folder = folder();
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    client
        .batch_execute("CREATE TABLE t (a bigint); INSERT INTO t VALUES (1); CREATE TABLE still (a bigint)")
        .await
        .unwrap();
    client.query_one("CALL wharf.backup()", &[]).await.unwrap();
    for statement in [
        "INSERT INTO t VALUES (2)",
        "ALTER TABLE t ADD COLUMN b text DEFAULT 'x'",
        "INSERT INTO t VALUES (3, 'three')",
        "CREATE TABLE later (c integer NOT NULL)",
        "INSERT INTO later VALUES (7), (8)",
        "CREATE TABLE copied CLONE t",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    drop(server);
    lose_the_catalog(&folder);

    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse"]));
    // ALTER TABLE takes two: the rows that were there get the new column.
    assert!(printed.contains("\ntable public.t: moved 4 steps past the backup, to file://"), "{printed}");
    assert!(printed.contains("\ntable public.later: was not in the backup; found as file://"), "{printed}");
    assert!(printed.contains("\nwarning: not a table now: "), "{printed}");
    assert!(!printed.contains("public.still"), "{printed}");
    assert!(printed.ends_with("start it with: wharf serve --data wharf-data\n"), "{printed}");

    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    assert_eq!(number(&client, "SELECT sum(a)::bigint FROM t").await, Some(6));
    let row = client.query_one("SELECT b FROM t WHERE a = 3", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "three");
    assert_eq!(number(&client, "SELECT sum(c)::bigint FROM later").await, Some(15));
    client
        .batch_execute("INSERT INTO t VALUES (4); INSERT INTO later VALUES (9); INSERT INTO still VALUES (1)")
        .await
        .unwrap();
    let refused = client.batch_execute("INSERT INTO later VALUES (NULL)").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23502");
    let row = client.query_one("SELECT b FROM t WHERE a = 4", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "x");
}

/// A commit whose server died before the catalog had it leaves a metadata file over the same head as the next commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_never_made_does_not_take_the_place_of_those_that_were() {
    let folder = folder();
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint); INSERT INTO t VALUES (1)").await.unwrap();
    client.query_one("CALL wharf.backup()", &[]).await.unwrap();
    drop(server);
    let dying = Server::serve_with(
        folder.path(),
        &[("WHARF_FAILPOINTS", "consensus::before_append=abort@4"), ("WHARF_BACKUP__ENABLED", "false")],
    );
    let client = dying.connect("").await.unwrap();
    let mut made = Vec::new();
    // The abort comes at one of these, with its metadata file written.
    for a in 100..110 {
        match client.batch_execute(&format!("INSERT INTO t VALUES ({a})")).await {
            Ok(()) => made.push(a),
            Err(_) => break,
        }
    }
    assert!(made.len() < 10, "it died");
    drop(dying);
    let server = Server::serve_with(folder.path(), &[("WHARF_BACKUP__ENABLED", "false")]);
    let client = server.connect("").await.unwrap();
    for a in [2, 3] {
        client.batch_execute(&format!("INSERT INTO t VALUES ({a})")).await.unwrap();
    }
    let expected = number(&client, "SELECT sum(a)::bigint FROM t").await;
    assert_eq!(expected, Some(6 + made.iter().sum::<i64>()));
    drop(server);
    lose_the_catalog(&folder);

    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse"]));
    assert!(printed.contains("\nwarning: table public.t: several metadata files may be the last"), "{printed}");
    let named = |what: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("warning:   {what}: ")));
        line.unwrap_or_else(|| panic!("no {what} in {printed}")).to_owned()
    };
    let (taken, other) = (named("taken"), named("other"));
    assert_ne!(taken, other);
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    assert_eq!(number(&client, "SELECT sum(a)::bigint FROM t").await, expected);
    drop(server);

    // Who knows better says so.
    lose_the_catalog(&folder);
    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse", "--head", &other]));
    assert!(printed.contains(&format!("table public.t: {other}, as was said")), "{printed}");
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    assert_ne!(number(&client, "SELECT sum(a)::bigint FROM t").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_without_any_backup() {
    let folder = folder();
    let server = Server::serve_with(folder.path(), &[("WHARF_BACKUP__ENABLED", "false")]);
    let client = server.connect("").await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (a bigint, b numeric(9, 2)); INSERT INTO t VALUES (1, 1.5); INSERT INTO t VALUES (2, 2.25); \
             CREATE SCHEMA s; CREATE TABLE s.t (c text); INSERT INTO s.t VALUES ('there')",
        )
        .await
        .unwrap();
    drop(server);
    lose_the_catalog(&folder);
    let (what, remedy) = refused(&mut restore(folder.path(), &["--from", "wharf-data/warehouse"]));
    assert!(what.starts_with("there is no backup of a catalog in file://"), "{what}");
    assert!(remedy.contains("--scan"), "{remedy}");

    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse", "--scan"]));
    assert!(printed.contains("\nrestored 2 tables into "), "{printed}");
    assert!(printed.contains("created superuser wharf with password "), "{printed}");
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM t WHERE b = 2.25").await, Some(1));
    let second = printed.lines().find_map(|line| line.strip_prefix("table public.t_")?.split(':').next()).unwrap();
    let row = client.query_one(&format!("SELECT c FROM t_{second}"), &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_are_gone_is_named_and_the_others_are_there() {
    let folder = folder();
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE whole (a bigint); INSERT INTO whole VALUES (1)").await.unwrap();
    client.batch_execute("CREATE TABLE torn (a bigint); INSERT INTO torn VALUES (1)").await.unwrap();
    let row = client.query_one("SELECT file_path FROM torn$files", &[]).await.unwrap();
    let file = row.get::<_, String>(0);
    client.query_one("CALL wharf.backup()", &[]).await.unwrap();
    drop(server);
    lose_the_catalog(&folder);
    std::fs::remove_file(file.strip_prefix("file://").unwrap()).unwrap();

    let check = ["--from", "wharf-data/warehouse", "--check"];
    let output = restore(folder.path(), &check).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\nwarning: table public.torn: cannot be read, since these files are gone:"), "{printed}");
    assert!(printed.contains(&file), "{printed}");
    assert!(!printed.contains("public.whole"), "{printed}");
    let (what, _) = refused(&mut restore(folder.path(), &check));
    assert_eq!(what, "files of 1 of 2 tables are missing");

    // Without its metadata it is found at once.
    let metadata = Path::new(file.strip_prefix("file://").unwrap()).ancestors().nth(2).unwrap().join("metadata");
    std::fs::remove_dir_all(metadata).unwrap();
    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse"]));
    assert!(printed.contains("\nwarning: table public.torn: cannot be read, since these files are gone:"), "{printed}");
    let server = serve(folder.path());
    let client = server.connect("").await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM whole").await, Some(1));
    assert!(client.batch_execute("SELECT * FROM torn").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_in_the_warehouse_follow_the_catalog_and_the_latest_are_kept() {
    let folder = folder();
    let mut server =
        Server::serve_with(folder.path(), &[("WHARF_BACKUP__INTERVAL_MS", "50"), ("WHARF_BACKUP__KEEP", "3")]);
    let client = server.connect("").await.unwrap();
    let backups = || files(&folder.path().join("wharf-data/warehouse"), ".backup");
    let newest = || backups().pop();
    for table in 0..6 {
        let before = newest();
        client.batch_execute(&format!("CREATE TABLE t{table} (a bigint)")).await.unwrap();
        until("a backup follows", async || (newest() != before).then_some(())).await;
        until("the latest are kept", async || (backups().len() <= 3).then_some(())).await;
    }
    // None while nothing changes, and a last one at the end.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let settled = newest();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(newest(), settled);
    client.batch_execute("CREATE TABLE last (a bigint)").await.unwrap();
    server.signal("-TERM");
    assert!(server.wait().success());
    lose_the_catalog(&folder);
    let printed = run(&mut restore(folder.path(), &["--from", "wharf-data/warehouse"]));
    assert!(printed.starts_with("from 7 tables of cluster "), "{printed}");
    assert!(!printed.contains("public."), "{printed}");
}
