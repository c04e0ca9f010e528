//! Connections that write until the server dies under them or they are told to stop.
//!
//! Each statement is entered in the journal before it is sent, and settled when it is answered. An error other than a serialization
//! failure is a failure of the test, and so is an answer that does not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::journal::{COLUMNS, Contents, Journal, Statement, table_prefix};
use super::{SharedJournal, connect_to};

/// A statement that takes longer hangs.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);
/// The rows of one COPY message.
const COPY_MESSAGE_ROWS: i64 = 250;

/// The running writers.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Writers {
    /// Lets each end after the statement it is at.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for all of them, and adds what they found wrong.
    pub(super) async fn finish(self, failures: &mut Vec<String>) {
        for task in self.tasks {
            match task.await {
                Ok(found) => failures.extend(found),
                Err(error) => failures.push(format!("a writer panicked: {error}")),
            }
        }
    }
}

/// Makes the tables of a generation.
pub(super) async fn create_tables(client: &Client, generation: u32, writers: usize) -> anyhow::Result<()> {
    let own = (0..writers).map(|writer| own_table(generation, writer));
    for table in shared_tables(generation).into_iter().chain(own) {
        client.batch_execute(&format!("CREATE TABLE {table} ({COLUMNS})")).await?;
    }
    Ok(())
}

fn shared_tables(generation: u32) -> [String; 2] {
    ["a", "b"].map(|name| format!("{}{name}", table_prefix(generation)))
}

fn own_table(generation: u32, writer: usize) -> String {
    format!("{}own_{writer}", table_prefix(generation))
}

/// Starts the writers.
pub(super) fn start(url: &str, journal: &SharedJournal, mut random: fastrand::Rng, count: usize) -> Writers {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = (0..count).map(|index| {
        let (url, journal, random, stop) = (url.to_owned(), Arc::clone(journal), random.fork(), Arc::clone(&stop));
        tokio::spawn(async move {
            // Dead before the first statement: nothing was written.
            let Ok(client) = connect_to(&url).await else {
                return Vec::new();
            };
            let generation = lock(&journal).generation();
            let mut writer = Writer { client, journal, random, generation, index, failures: Vec::new() };
            while !stop.load(Ordering::Relaxed) && writer.statement().await {}
            writer.failures
        })
    });
    Writers { tasks: tasks.collect(), stop }
}

fn lock(journal: &SharedJournal) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().expect("no writer panics while it holds the journal")
}

struct Writer {
    client: Client,
    journal: SharedJournal,
    random: fastrand::Rng,
    generation: u32,
    index: usize,
    failures: Vec<String>,
}

/// What became of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    Done,
    Refused,
    /// The connection broke first, or the server itself does not know.
    Open,
}

impl Writer {
    /// One statement, or one transaction. `false`: the connection is gone.
    async fn statement(&mut self) -> bool {
        let settled = match self.random.u8(..24) {
            0..=3 => self.append(1, Way::Values).await,
            4..=6 => self.append(60, Way::Values).await,
            7 => self.append(2_000, Way::Series).await,
            8..=10 => self.append(5_000, Way::Copy).await,
            11 => self.abandoned_copy().await,
            12..=13 => self.append(1, Way::Parameters).await,
            14..=15 => self.transaction().await,
            16..=17 => self.change_own().await,
            18 => self.truncate_own().await,
            19..=20 => self.rewrite_own().await,
            21..=22 => self.touch_shared().await,
            _ => self.make_and_drop().await,
        };
        settled != Settled::Open
    }

    fn shared_table(&mut self) -> String {
        let [first, second] = shared_tables(self.generation);
        if self.random.bool() { first } else { second }
    }

    /// One to `most` rows into a shared table.
    async fn append(&mut self, most: i64, way: Way) -> Settled {
        let table = self.shared_table();
        let rows = self.random.i64(1..=most);
        let statement = lock(&self.journal).appending(&table, rows);
        let result = limited(insert(&self.client, way, &table, statement, rows, 0..rows)).await;
        let settled = self.settle(result);
        if settled != Settled::Open {
            lock(&self.journal).appended(&table, statement, settled == Settled::Done);
        }
        settled
    }

    /// Rows that are taken back before the end of the COPY.
    async fn abandoned_copy(&mut self) -> Settled {
        let table = self.shared_table();
        let rows = self.random.i64(1..=2_000);
        let statement = lock(&self.journal).appending(&table, rows);
        let result = limited(async {
            let sink = self.client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await?;
            futures::pin_mut!(sink);
            sink.send(copy_lines(statement, rows, 0..rows)).await
            // Dropped without finish(), it sends CopyFail.
        })
        .await;
        let settled = self.settle(result);
        if settled != Settled::Open {
            lock(&self.journal).appended(&table, statement, false);
        }
        settled
    }

    /// One statement number whose rows come in several INSERTs of one transaction.
    async fn transaction(&mut self) -> Settled {
        let table = self.shared_table();
        let parts = self.random.i64(2..=5);
        let each = self.random.i64(1..=20);
        let commit = self.random.u8(..4) != 0;
        let rows = parts * each;
        let statement = lock(&self.journal).appending(&table, rows);
        let result = limited(async {
            self.client.batch_execute("BEGIN").await?;
            for part in 0..parts {
                insert(&self.client, Way::Values, &table, statement, rows, part * each..(part + 1) * each).await?;
            }
            self.client.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" }).await
        })
        .await;
        let settled = self.settle(result);
        match settled {
            Settled::Done => lock(&self.journal).appended(&table, statement, commit),
            Settled::Refused => {
                lock(&self.journal).appended(&table, statement, false);
                // A refused statement leaves the block open.
                let result = limited(self.client.batch_execute("ROLLBACK")).await;
                return self.settle(result);
            }
            Settled::Open => {}
        }
        settled
    }

    async fn change_own(&mut self) -> Settled {
        let table = own_table(self.generation, self.index);
        let rows = self.random.i64(1..=50);
        let way = if self.random.bool() { Way::Values } else { Way::Copy };
        let statement = {
            let mut journal = lock(&self.journal);
            let statement = journal.number();
            let mut contents = journal.own(&table);
            contents.insert(statement, rows);
            journal.changing(&table, contents);
            statement
        };
        let result = limited(insert(&self.client, way, &table, statement, rows, 0..rows)).await;
        self.settle_own(&table, result)
    }

    async fn truncate_own(&mut self) -> Settled {
        let table = own_table(self.generation, self.index);
        lock(&self.journal).changing(&table, Contents::new());
        let result = limited(self.client.batch_execute(&format!("TRUNCATE {table}"))).await;
        self.settle_own(&table, result)
    }

    /// Deletes the rows of one statement, or gives them to another.
    async fn rewrite_own(&mut self) -> Settled {
        let table = own_table(self.generation, self.index);
        let sql = {
            let mut journal = lock(&self.journal);
            let (mut contents, new) = (journal.own(&table), journal.number());
            let statements: Vec<_> = contents.keys().copied().collect();
            let Some(old) = self.random.choice(statements) else { return Settled::Done };
            let rows = contents.remove(&old).unwrap_or(0);
            let sql = if self.random.bool() {
                format!("DELETE FROM {table} WHERE statement = {old}")
            } else {
                contents.insert(new, rows);
                format!("UPDATE {table} SET statement = {new} WHERE statement = {old}")
            };
            journal.changing(&table, contents);
            sql
        };
        let result = limited(self.client.batch_execute(&sql)).await;
        self.settle_own(&table, result)
    }

    /// Changes what is not counted of rows that others may be writing, too: none may be lost or doubled.
    async fn touch_shared(&mut self) -> Settled {
        let table = self.shared_table();
        let statement = lock(&self.journal).number() - self.random.i64(1..=30);
        let sql = format!("UPDATE {table} SET note = note || '!' WHERE statement = {statement}");
        let result = limited(self.client.batch_execute(&sql)).await;
        self.settle(result)
    }

    fn settle_own(&mut self, table: &str, result: Option<Result<(), Error>>) -> Settled {
        let settled = self.settle(result);
        if settled != Settled::Open {
            lock(&self.journal).changed(table, settled == Settled::Done);
        }
        settled
    }

    /// A table from a query; every other one is dropped again.
    async fn make_and_drop(&mut self) -> Settled {
        let rows = self.random.i64(1..=500);
        let (statement, table) = {
            let mut journal = lock(&self.journal);
            let statement = journal.number();
            let table = format!("{}made_{statement}", table_prefix(self.generation));
            journal.making(&table, Some(rows));
            (statement, table)
        };
        let sql = format!("CREATE TABLE {table} AS {}", series(statement, rows, &(0..rows)));
        let result = limited(self.client.batch_execute(&sql)).await;
        let settled = self.settle_made(&table, result);
        if settled != Settled::Done || self.random.bool() {
            return settled;
        }
        lock(&self.journal).making(&table, None);
        let result = limited(self.client.batch_execute(&format!("DROP TABLE {table}"))).await;
        self.settle_made(&table, result)
    }

    fn settle_made(&mut self, table: &str, result: Option<Result<(), Error>>) -> Settled {
        let settled = self.settle(result);
        if settled != Settled::Open {
            lock(&self.journal).made(table, settled == Settled::Done);
        }
        settled
    }

    /// `None` is an answer that did not come in time.
    fn settle(&mut self, result: Option<Result<(), Error>>) -> Settled {
        match result {
            None => {
                self.failures.push(format!("no answer within {} s", STATEMENT_LIMIT.as_secs()));
                Settled::Open
            }
            Some(Ok(())) => Settled::Done,
            Some(Err(error)) => {
                let Some(answer) = error.as_db_error() else {
                    return Settled::Open;
                };
                let code = answer.code().code();
                // Class 08 and 40003 say that nobody knows; a FATAL ends the connection whatever the statement came to.
                if code.starts_with("08") || code == "40003" || answer.severity() != "ERROR" {
                    return Settled::Open;
                }
                lock(&self.journal).refused(code);
                if code != "40001" {
                    self.failures.push(format!("a statement was refused: {}", describe(&error)));
                }
                Settled::Refused
            }
        }
    }
}

async fn limited<F: Future<Output = Result<(), Error>>>(statement: F) -> Option<Result<(), Error>> {
    tokio::time::timeout(STATEMENT_LIMIT, statement).await.ok()
}

/// An error with its SQLSTATE and the server's own words.
pub(super) fn describe(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |answer| format!("{} {}", answer.code().code(), answer.message()))
}

#[derive(Clone, Copy)]
enum Way {
    Values,
    Series,
    Parameters,
    Copy,
}

/// The rows `numbers` of a statement that has `rows` altogether.
async fn insert(
    client: &Client,
    way: Way,
    table: &str,
    statement: Statement,
    rows: i64,
    numbers: std::ops::Range<i64>,
) -> Result<(), Error> {
    match way {
        Way::Values => {
            let values: Vec<String> =
                numbers.map(|number| format!("({statement}, {rows}, {number}, 'note {number}')")).collect();
            client.batch_execute(&format!("INSERT INTO {table} VALUES {}", values.join(", "))).await
        }
        Way::Series => {
            client.batch_execute(&format!("INSERT INTO {table} {}", series(statement, rows, &numbers))).await
        }
        Way::Parameters => {
            let prepared = client.prepare(&format!("INSERT INTO {table} VALUES ($1, $2, $3, $4)")).await?;
            let expected = i32::try_from(rows).expect("statements of this test are small");
            for number in numbers {
                let number = i32::try_from(number).expect("statements of this test are small");
                client.execute(&prepared, &[&statement, &expected, &number, &"a note"]).await?;
            }
            Ok(())
        }
        Way::Copy => {
            let sink = client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await?;
            futures::pin_mut!(sink);
            let mut begin = numbers.start;
            while begin < numbers.end {
                let end = numbers.end.min(begin + COPY_MESSAGE_ROWS);
                sink.send(copy_lines(statement, rows, begin..end)).await?;
                begin = end;
            }
            sink.finish().await.map(|_| ())
        }
    }
}

fn series(statement: Statement, rows: i64, numbers: &std::ops::Range<i64>) -> String {
    format!(
        "SELECT {statement}::bigint AS statement, {rows}::integer AS expected, g::integer AS number, 'note ' || g AS note \
         FROM generate_series({}, {}) AS g(g)",
        numbers.start,
        numbers.end - 1
    )
}

fn copy_lines(statement: Statement, rows: i64, numbers: std::ops::Range<i64>) -> Bytes {
    let mut text = String::new();
    for number in numbers {
        text.push_str(&format!("{statement}\t{rows}\t{number}\tnote {number}\n"));
    }
    Bytes::from(text)
}
