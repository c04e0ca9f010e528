//! A node that runs one statement at a time: what waits for its turn, what does not, and what ends the waiting.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wharf_engine::{Canceller, Engine, Outcome, RowStream, Session};
use wharf_values::{SqlError, SqlState};

use super::{ROWS, engine_with, lines, number, run, session};

/// Work for hours.
const BUSY: &str = "SELECT count(*) FROM t, generate_series(1, 100000) AS a(a), generate_series(1, 100000) AS b(b)";
const COUNT: &str = "SELECT count(*) FROM t";
/// Longer than anything takes that does not wait for work of hours.
const PATIENCE: Duration = Duration::from_secs(60);

/// A statement that runs in a task.
struct Task {
    canceller: Arc<Canceller>,
    ended: JoinHandle<Result<Vec<RecordBatch>, SqlError>>,
}

impl Task {
    /// What it comes to.
    async fn end(self) -> Result<Vec<RecordBatch>, SqlError> {
        timeout(PATIENCE, self.ended).await.expect("it ends").unwrap()
    }

    /// The number that it gives.
    async fn number(self) -> i64 {
        let batches = self.end().await.unwrap();
        batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Int64Type>().value(0)
    }

    /// Stops it.
    async fn cancel(self) {
        self.canceller.cancel();
        let error = self.end().await.unwrap_err();
        assert_eq!(
            (error.code, &*error.message),
            (SqlState::QUERY_CANCELED, "canceling statement due to user request")
        );
    }
}

/// An engine that runs one statement at a time, with a table of 2,000 rows that are read in many batches.
async fn one_at_a_time(max_queued_statements: usize) -> (Arc<Engine>, TempDir) {
    let (engine, folder) = engine_with(|options| {
        options.max_running_statements = 1;
        options.max_queued_statements = max_queued_statements;
        options.batch_rows = 100;
    })
    .await;
    run(&mut session(&engine).await, ROWS).await.unwrap();
    (engine, folder)
}

async fn start(engine: &Arc<Engine>, sql: &'static str) -> Task {
    let mut session = session(engine).await;
    let canceller = session.canceller();
    Task { canceller, ended: tokio::spawn(async move { run(&mut session, sql).await }) }
}

/// Somebody who has the place.
async fn busy(engine: &Arc<Engine>) -> Task {
    let mut session = session(engine).await;
    let statement = session.split(BUSY).unwrap().remove(0);
    // What is prepared has its place before it waits for anything else, and is listed when it does.
    let prepared = session.prepare(&statement, &[]).await.unwrap();
    let canceller = session.canceller();
    let ended = tokio::spawn(async move {
        match session.execute(&prepared, Vec::new()).await? {
            Outcome::Rows(rows) => rows.batches.try_collect().await,
            _ => Ok(Vec::new()),
        }
    });
    until(engine, &["running"]).await;
    Task { canceller, ended }
}

/// Waits until the statements under way are in these states, but for those whose rows nobody asks for. To ask for them takes no place.
async fn until(engine: &Arc<Engine>, expected: &[&str]) {
    const STATES: &str =
        "SELECT state FROM wharf.queries WHERE state <> 'sending' AND query NOT LIKE '%wharf.queries%' ORDER BY state";
    let mut asks = session(engine).await;
    let look = async {
        while lines(&mut asks, STATES).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("they are never {expected:?}"));
}

/// A query whose rows nobody has read yet.
async fn open(session: &mut Session, sql: &str) -> RowStream {
    let statement = session.split(sql).unwrap().remove(0);
    match session.run(&statement).await.unwrap() {
        Outcome::Rows(rows) => rows,
        _ => panic!("{sql} has no rows"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_wait_in_the_order_in_which_they_came() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let busy = busy(&engine).await;
    let write = start(&engine, "INSERT INTO t VALUES (0, 'x')").await;
    until(&engine, &["queued", "running"]).await;
    let read = start(&engine, COUNT).await;
    until(&engine, &["queued", "queued", "running"]).await;
    assert!(!write.ended.is_finished() && !read.ended.is_finished());
    busy.cancel().await;
    assert_eq!(read.number().await, 2001);
    write.end().await.unwrap();
    until(&engine, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_waits_is_cancelled_and_times_out() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let busy = busy(&engine).await;
    let waits = start(&engine, COUNT).await;
    until(&engine, &["queued", "running"]).await;
    waits.cancel().await;

    let mut waits = session(&engine).await;
    run(&mut waits, "PREPARE p AS SELECT count(*) FROM t; SET statement_timeout = 200").await.unwrap();
    for sql in [
        COUNT,
        "EXECUTE p",
        "INSERT INTO t VALUES (1, 'x')",
        "DELETE FROM t",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT count(*) FROM gone",
        "CREATE TABLE u AS SELECT 1 AS a",
        "ALTER TABLE t ADD COLUMN c integer",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "COPY t TO STDOUT",
    ] {
        let error = run(&mut waits, sql).await.unwrap_err();
        let expected = (SqlState::QUERY_CANCELED, "canceling statement due to statement timeout");
        assert_eq!((error.code, &*error.message), expected, "{sql}");
    }
    until(&engine, &["running"]).await;
    busy.cancel().await;
    run(&mut waits, "SET statement_timeout = 0").await.unwrap();
    assert_eq!(number(&mut waits, COUNT).await, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_wait_one_more_is_refused() {
    let (engine, _folder) = one_at_a_time(1).await;
    let busy = busy(&engine).await;
    let waits = start(&engine, COUNT).await;
    until(&engine, &["queued", "running"]).await;
    let mut refused = session(&engine).await;
    let error = run(&mut refused, COUNT).await.unwrap_err();
    assert_eq!((error.code, error.hint.is_some()), (SqlState::TOO_MANY_CONNECTIONS, true));
    busy.cancel().await;
    assert_eq!(waits.number().await, 2000);
    assert_eq!(number(&mut refused, COUNT).await, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_on_no_table_does_not_wait() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let mut passes = session(&engine).await;
    run(&mut passes, "BEGIN; INSERT INTO t VALUES (0, 'x'); DECLARE c CURSOR FOR SELECT a FROM t").await.unwrap();
    let busy = busy(&engine).await;
    for sql in [
        "CLOSE c",
        "SAVEPOINT s",
        "COMMIT",
        "SHOW search_path",
        "SET application_name = 'x'",
        "SELECT 1",
        "SELECT count(*) FROM generate_series(1, 10)",
        "SELECT count(*) FROM pg_class",
        "SELECT count(*) FROM wharf.queries",
        "SELECT count(*) FROM t$files",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN (ANALYZE false) SELECT * FROM t",
        "CREATE TABLE u (a integer)",
        "DROP TABLE u",
    ] {
        let ran = timeout(PATIENCE, run(&mut passes, sql)).await.unwrap_or_else(|_| panic!("{sql} waits"));
        ran.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    busy.cancel().await;
    assert_eq!(number(&mut passes, COUNT).await, 2001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_is_read_in_parts_keeps_nobody_waiting() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let (mut one, mut other) = (session(&engine).await, session(&engine).await);
    let mut portal = open(&mut one, "SELECT a FROM t").await;
    let mut rows = portal.batches.try_next().await.unwrap().unwrap().num_rows();
    assert!(rows < 1000, "it has more");
    assert_eq!(timeout(PATIENCE, number(&mut one, COUNT)).await.expect("its own session"), 2000);
    rows += portal.batches.try_next().await.unwrap().unwrap().num_rows();
    assert_eq!(timeout(PATIENCE, number(&mut other, COUNT)).await.expect("another session"), 2000);

    // It has lost its place, and waits for its turn like others.
    let busy = busy(&engine).await;
    assert!(timeout(Duration::from_millis(500), portal.batches.try_next()).await.is_err());
    until(&engine, &["queued", "running"]).await;
    busy.cancel().await;
    let rest: Vec<RecordBatch> = timeout(PATIENCE, portal.batches.try_collect()).await.expect("its turn").unwrap();
    rows += rest.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(rows, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_waits_again_can_be_cancelled() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let (mut one, mut other) = (session(&engine).await, session(&engine).await);
    let mut portal = open(&mut one, "SELECT a FROM t").await;
    portal.batches.try_next().await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, number(&mut other, COUNT)).await.expect("another session"), 2000);
    let busy = busy(&engine).await;
    let (next, ()) = tokio::join!(timeout(PATIENCE, portal.batches.try_next()), async {
        until(&engine, &["queued", "running"]).await;
        one.canceller().cancel();
    });
    assert_eq!(next.expect("it is cancelled").unwrap_err().code, SqlState::QUERY_CANCELED);
    busy.cancel().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_has_begun_is_not_refused() {
    let (engine, _folder) = one_at_a_time(0).await;
    let mut one = session(&engine).await;
    let mut portal = open(&mut one, "SELECT a FROM t").await;
    portal.batches.try_next().await.unwrap().unwrap();
    // Takes the place over, and gives it back.
    assert_eq!(number(&mut one, COUNT).await, 2000);
    let busy = busy(&engine).await;
    assert!(timeout(Duration::from_millis(500), portal.batches.try_next()).await.is_err());
    busy.cancel().await;
    assert!(timeout(PATIENCE, portal.batches.try_next()).await.expect("its turn").unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_cursor_has_no_place() {
    let (engine, _folder) = one_at_a_time(0).await;
    let (mut one, mut other) = (session(&engine).await, session(&engine).await);
    run(&mut one, "BEGIN; DECLARE c CURSOR FOR SELECT a FROM t").await.unwrap();
    for _ in 0..2 {
        let fetched = run(&mut one, "FETCH 10 FROM c").await.unwrap();
        assert_eq!(fetched.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
        // Nobody may wait here, so it is refused unless the place is free.
        assert_eq!(number(&mut other, COUNT).await, 2000);
    }
    let busy = busy(&engine).await;
    let error = run(&mut one, "FETCH 10 FROM c").await.unwrap_err();
    assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
    busy.cancel().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_data_do_not_come_keeps_nobody_waiting() {
    let (engine, _folder) = one_at_a_time(1000).await;
    let (mut one, mut other) = (session(&engine).await, session(&engine).await);
    let statement = one.split("COPY t FROM STDIN").unwrap().remove(0);
    let Outcome::CopyIn(mut copy) = one.run(&statement).await.unwrap() else { panic!("it wants no data") };
    copy.write(Bytes::from_static(b"1\tx\n")).await.unwrap();
    assert_eq!(timeout(PATIENCE, number(&mut other, COUNT)).await.expect("its turn"), 2000);
    copy.write(Bytes::from_static(b"2\tx\n")).await.unwrap();
    assert_eq!(one.finish_copy(copy).await.unwrap(), "COPY 2");
    one.end_implicit(true).await.unwrap();
    assert_eq!(number(&mut other, COUNT).await, 2002);
}
