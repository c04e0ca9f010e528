//! Which instant of the catalog a statement gets: that of now, or the one that this node has (`wharf.read_consistency`).
//!
//! What always holds:
//! - A statement that writes gets the instant of now, whatever the setting says, and so does all that follows in a transaction whose
//!   first statement it is.
//! - A session never goes back in time: what a node has applied, it goes on to have.
//! - A session sees what it has written. A write is answered when the leader has applied it, which this node may not have done; so the
//!   next instant is that of now, which this node waits for.

use std::sync::Arc;

use sqlparser::ast::Statement as Ast;
use wharf_catalog::State;
use wharf_values::{SqlError, SqlState};

use super::Session;
use crate::dml;

impl Session {
    /// A statement begins to be bound or to run: what it is says which instants it gets.
    pub(super) fn looks(&mut self, statement: &Ast) {
        self.only_reads = only_reads(statement);
    }

    /// A statement has run. What it has written within a transaction counts with the commit.
    pub(super) fn has_run<T>(&mut self, statement: &Ast, outcome: &Result<T, SqlError>) {
        self.has_written |= self.transaction.is_none() && !only_reads(statement) && may_have_written(outcome);
    }

    /// The instant of the catalog for the statement that is bound, or runs.
    ///
    /// # Errors
    /// What keeps the catalog's group from answering, where it is asked.
    pub(super) async fn instant(&mut self) -> Result<Arc<State>, SqlError> {
        if self.settings.reads_locally() && self.only_reads && !self.has_written {
            return self.engine.local_instant();
        }
        let instant = self.engine.instant().await?;
        // One that writes may still have to.
        self.has_written &= !self.only_reads;
        Ok(instant)
    }
}

/// Can something be written by now? Also where nobody knows: the answer was lost, or not waited for.
pub(super) fn may_have_written<T>(outcome: &Result<T, SqlError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => [SqlState::TRANSACTION_RESOLUTION_UNKNOWN, SqlState::QUERY_CANCELED].contains(&error.code),
    }
}

/// Does a statement write nothing? COMMIT and EXECUTE do not by themselves: the transaction does, and the statement that is executed.
fn only_reads(statement: &Ast) -> bool {
    match statement {
        Ast::Query(_) => !dml::changes_rows(statement),
        Ast::Copy { to, .. } => *to,
        Ast::Explain { .. }
        | Ast::Declare { .. }
        | Ast::Fetch { .. }
        | Ast::Close { .. }
        | Ast::Prepare { .. }
        | Ast::Execute { .. }
        | Ast::Deallocate { .. }
        | Ast::Set(_)
        | Ast::Reset(_)
        | Ast::ShowVariable { .. }
        | Ast::Discard { .. }
        | Ast::UNLISTEN { .. }
        | Ast::Analyze(_)
        | Ast::Vacuum(_)
        | Ast::StartTransaction { .. }
        | Ast::Commit { .. }
        | Ast::Rollback { .. }
        | Ast::Savepoint { .. }
        | Ast::ReleaseSavepoint { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;
    use tempfile::TempDir;
    use uuid::Uuid;
    use wharf_catalog::{Command, Envelope};
    use wharf_consensus::{Group, GroupOptions};
    use wharf_lake::{Warehouse, WarehouseOptions};

    use super::*;
    use crate::engine::{Engine, EngineOptions};
    use crate::session::{Outcome, Startup};
    use crate::statement;

    const COUNT: &str = "SELECT count(*) FROM t";

    /// A session that reads what its node has, of a database with a table of one row.
    async fn session() -> (Session, Arc<Group>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::open(GroupOptions::new(folder.path().join("catalog"))).await.unwrap();
        let (database, user) = ("wharf".to_owned(), "wharf".to_owned());
        let command = Command::Bootstrap { database: database.clone(), superuser: user.clone(), verifier: None };
        group.propose(Envelope { request_id: Uuid::new_v4(), now_ms: 0, command }).await.unwrap().unwrap();
        let url = format!("file://{}", folder.path().join("warehouse").display());
        let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
        let spill_directory = folder.path().join("spill");
        std::fs::create_dir(&spill_directory).unwrap();
        let options = EngineOptions { spill_directory, target_partitions: 2, ..EngineOptions::default() };
        let engine = Engine::open(Arc::clone(&group), warehouse, options).await.unwrap();
        let mut session = engine.open_session(Startup { user, database, ..Startup::default() }).await.unwrap();
        let begin = "CREATE TABLE t (a bigint); INSERT INTO t VALUES (1); SET wharf.read_consistency = 'local'; \
                     PREPARE counts AS SELECT count(*) FROM t; PREPARE inserts AS INSERT INTO t VALUES (2)";
        run(&mut session, begin).await.unwrap();
        (session, group, folder)
    }

    /// Runs statements one by one, and gives the number in the rows that came last.
    async fn run(session: &mut Session, sql: &str) -> Result<i64, SqlError> {
        let mut number = 0;
        for statement in session.split(sql)? {
            let outcome = session.run(&statement).await?;
            session.end_implicit(true).await?;
            if let Outcome::Rows(rows) = outcome {
                let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
                let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
                number = batch.column(0).as_primitive::<Int64Type>().value(0);
            }
        }
        Ok(number)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_that_reads_locally_needs_the_group_to_write_alone() {
        let (mut session, group, _folder) = session().await;
        assert_eq!(run(&mut session, COUNT).await.unwrap(), 1);
        group.shutdown().await.unwrap();
        for reads in [COUNT, "SELECT count(a) FROM t", "EXECUTE counts", "BEGIN; SELECT count(*) FROM t; COMMIT"] {
            assert_eq!(run(&mut session, reads).await.unwrap(), 1, "{reads}");
        }
        for writes in [
            "INSERT INTO t VALUES (2)",
            "EXECUTE inserts",
            "WITH new AS (INSERT INTO t VALUES (2) RETURNING a) SELECT a FROM new",
            "CREATE TABLE u (a bigint)",
            "TRUNCATE t",
        ] {
            assert_eq!(run(&mut session, writes).await.unwrap_err().code, SqlState::ADMIN_SHUTDOWN, "{writes}");
        }
        // What was not written is nothing to wait for.
        assert_eq!(run(&mut session, COUNT).await.unwrap(), 1);
        let error = run(&mut session, &format!("RESET wharf.read_consistency; {COUNT}")).await.unwrap_err();
        assert_eq!(error.code, SqlState::ADMIN_SHUTDOWN);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_read_after_a_write_is_not_local() {
        let (mut session, group, _folder) = session().await;
        run(&mut session, COUNT).await.unwrap();
        for writes in [
            "INSERT INTO t VALUES (2)",
            "EXECUTE inserts",
            "BEGIN; SELECT count(*) FROM t; INSERT INTO t VALUES (2); COMMIT",
            "WITH new AS (INSERT INTO t VALUES (2) RETURNING a) SELECT a FROM new",
            "UPDATE t SET a = 3 WHERE a = 2",
            "CREATE TABLE u (a bigint)",
            "CREATE ROLE reader",
        ] {
            run(&mut session, writes).await.unwrap();
            assert!(session.has_written, "{writes}");
            run(&mut session, COUNT).await.unwrap();
            assert!(!session.has_written, "after {writes}");
        }
        for nothing in [
            "BEGIN; INSERT INTO t VALUES (2); ROLLBACK",
            "BEGIN; SELECT count(*) FROM t; COMMIT",
            "PREPARE deletes AS DELETE FROM t",
            "SET work_mem = '8MB'",
        ] {
            run(&mut session, nothing).await.unwrap();
            assert!(!session.has_written, "{nothing}");
        }
        run(&mut session, "INSERT INTO t VALUES ('one')").await.unwrap_err();
        assert!(!session.has_written);

        run(&mut session, "INSERT INTO t VALUES (2)").await.unwrap();
        group.shutdown().await.unwrap();
        assert_eq!(run(&mut session, COUNT).await.unwrap_err().code, SqlState::ADMIN_SHUTDOWN);
    }

    #[test]
    fn what_may_be_written_is_looked_for() {
        let failed = |code| Err::<(), _>(SqlError::new(code, "no"));
        assert!(may_have_written(&Ok(())));
        assert!(may_have_written(&failed(SqlState::TRANSACTION_RESOLUTION_UNKNOWN)));
        assert!(may_have_written(&failed(SqlState::QUERY_CANCELED)));
        assert!(!may_have_written(&failed(SqlState::UNIQUE_VIOLATION)));
    }

    #[test]
    fn statements_that_only_read_are_told_from_those_that_write() {
        let only = |sql: &str| {
            let statements = statement::split(sql).unwrap();
            assert_eq!(statements.len(), 1, "{sql}");
            only_reads(&statements[0].ast)
        };
        for reads in [
            "SELECT 1",
            "VALUES (1)",
            "WITH w AS (SELECT 1) SELECT * FROM w",
            "EXPLAIN SELECT 1",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "COPY t TO STDOUT",
            "DECLARE c CURSOR FOR SELECT 1",
            "FETCH c",
            "SHOW work_mem",
            "SET work_mem = '8MB'",
            "BEGIN",
            "COMMIT",
            "EXECUTE p",
        ] {
            assert!(only(reads), "{reads}");
        }
        for writes in [
            "INSERT INTO t VALUES (1)",
            "WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM w",
            "WITH w AS (DELETE FROM t RETURNING a) SELECT * FROM w",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
            "COPY t FROM STDIN",
            "TRUNCATE t",
            "CREATE TABLE u AS SELECT 1 AS a",
            "SELECT 1 AS a INTO u",
            "ALTER TABLE t CREATE BRANCH b",
            "CALL wharf.transfer_leader(2)",
            "CREATE ROLE reader",
        ] {
            assert!(!only(writes), "{writes}");
        }
    }
}
