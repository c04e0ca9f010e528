//! `wharf_engine` behind the traits of [`crate::backend`].
//!
//! What always holds: this is the only file that calls the engine; nothing is decided here.

use std::future::Future;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wharf_catalog::SqlType;
use wharf_engine::{Engine, Prepared, Statement};
use wharf_values::{SqlError, TextFormat};

use crate::backend::{self, Backend, Notice, Outcome, ResultColumn, SessionStartup, TransactionStatus};

impl Backend for Engine {
    type Session = wharf_engine::Session;

    fn scram_verifier(&self, role: &str) -> impl Future<Output = Result<Option<String>, SqlError>> + Send {
        Engine::scram_verifier(self, role)
    }

    fn open_session(
        self: &Arc<Self>,
        startup: SessionStartup,
    ) -> impl Future<Output = Result<wharf_engine::Session, SqlError>> + Send {
        Engine::open_session(self, startup)
    }
}

impl backend::Session for wharf_engine::Session {
    type Statement = Statement;
    type Prepared = Prepared;
    type CopyIn = wharf_engine::CopyIn;

    fn split(&self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        self.split(sql)
    }

    fn prepare(
        &mut self,
        statement: &Statement,
        parameter_oids: &[u32],
    ) -> impl Future<Output = Result<Arc<Prepared>, SqlError>> + Send {
        self.prepare(statement, parameter_oids)
    }

    async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome<wharf_engine::CopyIn>, SqlError> {
        self.execute(prepared, parameters).await.map(outcome)
    }

    async fn run(&mut self, statement: &Statement) -> Result<Outcome<wharf_engine::CopyIn>, SqlError> {
        self.run(statement).await.map(outcome)
    }

    fn finish_copy(&mut self, copy: wharf_engine::CopyIn) -> impl Future<Output = Result<String, SqlError>> + Send {
        self.finish_copy(copy)
    }

    fn store_statement(&mut self, name: &str, prepared: Option<Arc<Prepared>>) {
        self.store_statement(name, prepared);
    }

    fn statement(&self, name: &str) -> Option<Option<Arc<Prepared>>> {
        self.statement(name)
    }

    fn forget_statement(&mut self, name: &str) {
        self.forget_statement(name);
    }

    fn statement_count(&self) -> usize {
        self.statement_count()
    }

    fn cursor_columns(&self, name: &str) -> Option<Arc<[ResultColumn]>> {
        self.cursor_columns(name)
    }

    fn forget_cursor(&mut self, name: &str) {
        self.forget_cursor(name);
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.transaction_status()
    }

    fn fail(&mut self) {
        self.fail();
    }

    fn begin_implicit(&mut self) {
        self.begin_implicit();
    }

    fn end_implicit(&mut self, commit: bool) -> impl Future<Output = Result<(), SqlError>> + Send {
        self.end_implicit(commit)
    }

    fn settings_to_report(&mut self) -> Vec<(&'static str, String)> {
        self.settings_to_report()
    }

    fn notices(&mut self) -> Vec<Notice> {
        self.notices()
    }

    fn text_format(&self) -> TextFormat {
        self.text_format()
    }

    fn cancel_token(&self) -> CancellationToken {
        self.cancel_token()
    }

    fn ended(&self) -> CancellationToken {
        self.canceller().ended()
    }

    fn canceller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let canceller = self.canceller();
        Arc::new(move || canceller.cancel())
    }
}

impl backend::Prepared for Prepared {
    fn parameters(&self) -> &[SqlType] {
        self.parameters()
    }

    fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        self.columns()
    }
}

impl backend::CopyIn for wharf_engine::CopyIn {
    fn binary(&self) -> bool {
        self.binary
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn has_failed(&self) -> bool {
        self.has_failed()
    }

    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), SqlError>> + Send {
        self.write(bytes)
    }

    fn give_up(self, reason: SqlError) -> impl Future<Output = SqlError> + Send {
        self.give_up(reason)
    }
}

fn outcome(outcome: wharf_engine::Outcome) -> Outcome<wharf_engine::CopyIn> {
    match outcome {
        wharf_engine::Outcome::Empty => Outcome::Empty,
        wharf_engine::Outcome::Complete(tag) => Outcome::Complete(tag),
        wharf_engine::Outcome::Rows(rows) => Outcome::Rows(rows),
        wharf_engine::Outcome::CopyIn(copy) => Outcome::CopyIn(copy),
        wharf_engine::Outcome::CopyOut(copy) => Outcome::CopyOut(copy),
    }
}
