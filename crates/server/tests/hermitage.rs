//! Martin Kleppmann's Hermitage: what each isolation level prevents, over real connections.
//!
//! Every `tests/hermitage/*.txt` is a case: its steps, and what they print at each level. `WHARF_UPDATE_GOLDEN=1 cargo test` writes
//! what was printed into the files; a person reads the diff, and `docs/transactions.md` says what it means. Each row of the table
//! is in a data file of its own: writers meet in files.

use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::start_up::{Server, folder};

const LEVELS: [&str; 4] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

#[tokio::test(flavor = "multi_thread")]
async fn hermitage() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hermitage");
    let update = std::env::var_os("WHARF_UPDATE_GOLDEN").is_some();
    let mut paths = std::fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let head = expected.split("\n== ").next().unwrap().trim_end();
        let mut printed = format!("{head}\n");
        for level in LEVELS {
            let _ = write!(printed, "\n== {level}\n{}", transcript(&server, level, head).await);
        }
        if update {
            std::fs::write(&path, &printed).unwrap();
        } else if printed != expected {
            wrong.push(format!("{}:\n{printed}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the steps, each in the transaction it names; T0 is none.
async fn transcript(server: &Server, level: &str, steps: &str) -> String {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(server.connect("").await.unwrap());
    }
    for sql in [
        "DROP TABLE IF EXISTS test",
        "CREATE TABLE test (id integer, value integer)",
        "INSERT INTO test VALUES (1, 10)",
        "INSERT INTO test VALUES (2, 20)",
    ] {
        clients[0].batch_execute(sql).await.unwrap();
    }
    let mut begun = [false; 4];
    let mut out = String::new();
    for step in steps.lines().filter(|line| !line.starts_with('#')) {
        let (name, sql) = step.split_once(": ").unwrap();
        let number: usize = name.strip_prefix('T').unwrap().parse().unwrap();
        let client = &clients[number];
        if number > 0 && !begun[number] {
            client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
            begun[number] = true;
        }
        let _ = writeln!(out, "{step}\n    {}", run(client, sql).await);
    }
    out
}

async fn run(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Err(error) => {
            let error = error.as_db_error().expect("the server answers");
            format!("{} {}", error.code().code(), error.message())
        }
        Ok(messages) => {
            let mut rows = Vec::new();
            let mut tag = String::new();
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let cells = (0..row.len()).map(|cell| row.get(cell).unwrap_or("NULL"));
                        rows.push(cells.collect::<Vec<_>>().join(" -> "));
                    }
                    SimpleQueryMessage::CommandComplete(count) => tag = format!("{count} rows"),
                    _ => {}
                }
            }
            match sql.split(' ').next() {
                Some("SELECT") if rows.is_empty() => "nothing".to_owned(),
                Some("SELECT") => rows.join(", "),
                Some("COMMIT" | "ROLLBACK") => "done".to_owned(),
                _ => tag,
            }
        }
    }
}
