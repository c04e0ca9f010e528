//! A statement as it is seen from outside: a span of the log with an id of its own, counted and timed.
//!
//! What always holds: every statement that begins ends once, whatever becomes of it: with its last row, its error, or the end of
//! its client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::stream::{BoxStream, Stream};
use sqlparser::ast::Statement as Ast;
use tracing::Span;
use uuid::Uuid;
use wharf_values::{SqlError, SqlState};

use super::result::Outcome;
use crate::dml;
use crate::metrics::{KindLabels, StatementLabels, Statistics};

/// The class of success.
const SUCCESS: &str = "00";
/// The class of what an operator stops, or a client that goes.
const STOPPED: &str = "57";

/// A statement under way.
pub(crate) struct Observed {
    statistics: Arc<Statistics>,
    kind: &'static str,
    started: Instant,
    span: Span,
    /// What it comes to when nothing more is heard of it.
    class: &'static str,
}

impl Observed {
    /// A statement begins.
    pub(crate) fn begin(statistics: &Arc<Statistics>, ast: &Ast, process: u32) -> Observed {
        statistics.running.inc();
        let kind = kind(ast);
        Observed {
            statistics: Arc::clone(statistics),
            kind,
            started: Instant::now(),
            span: tracing::info_span!("statement", query_id = %Uuid::now_v7(), kind, process),
            class: STOPPED,
        }
    }

    /// What is logged for it goes there.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// What it comes to, or what is still to come of it.
    pub(crate) fn answered(
        mut self,
        result: Result<Outcome, SqlError>,
    ) -> (Result<Outcome, SqlError>, Option<Observed>) {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed(&error);
                return (Err(error), None);
            }
        };
        // Rows that nobody asks for any more are no failure.
        self.class = SUCCESS;
        let outcome = match outcome {
            Outcome::Empty => Outcome::Empty,
            Outcome::Complete(tag) => Outcome::Complete(tag),
            Outcome::Rows(mut rows) => {
                rows.batches = self.watch(rows.batches);
                Outcome::Rows(rows)
            }
            Outcome::CopyOut(mut copy) => {
                copy.chunks = self.watch(copy.chunks);
                Outcome::CopyOut(copy)
            }
            Outcome::CopyIn(copy) => {
                self.class = STOPPED;
                return (Ok(Outcome::CopyIn(copy)), Some(self));
            }
        };
        (Ok(outcome), None)
    }

    /// It has ended with an error.
    pub(crate) fn failed(mut self, error: &SqlError) {
        self.class = "";
        self.count(error.code.class());
        self.span.in_scope(|| tracing::debug!(code = %error.code, %error, "the statement failed"));
    }

    /// It has ended well.
    pub(crate) fn succeeded(mut self) {
        self.class = SUCCESS;
    }

    fn watch<T: Send + 'static>(
        self,
        inner: BoxStream<'static, Result<T, SqlError>>,
    ) -> BoxStream<'static, Result<T, SqlError>> {
        Box::pin(Watched { inner, observed: Some(self) })
    }

    fn count(&self, class: &str) {
        let elapsed = self.started.elapsed();
        let labels = StatementLabels { kind: self.kind, sqlstate_class: class.to_owned() };
        self.statistics.statements.get_or_create(&labels).inc();
        self.statistics.durations.get_or_create(&KindLabels { kind: self.kind }).observe(elapsed.as_secs_f64());
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.statistics.running.dec();
        // The error has been counted already.
        if !self.class.is_empty() {
            self.count(self.class);
            let duration_ms = self.started.elapsed().as_millis() as u64;
            self.span.in_scope(|| tracing::debug!(duration_ms, class = self.class, "the statement ended"));
        }
    }
}

/// What a statement gives, and the statement.
struct Watched<T> {
    inner: BoxStream<'static, Result<T, SqlError>>,
    observed: Option<Observed>,
}

impl<T> Stream for Watched<T> {
    type Item = Result<T, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let span = this.observed.as_ref().map(|observed| observed.span.clone());
        let _entered = span.as_ref().map(Span::enter);
        let polled = this.inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(None) => drop(this.observed.take()),
            Poll::Ready(Some(Err(error))) => {
                if let Some(observed) = this.observed.take() {
                    observed.failed(error);
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}

/// The text of a client that is no statement.
pub(crate) fn unreadable(statistics: &Statistics, error: &SqlError) {
    let labels = StatementLabels { kind: "UNKNOWN", sqlstate_class: error.code.class().to_owned() };
    statistics.statements.get_or_create(&labels).inc();
}

/// A statement that could not be prepared.
pub(crate) fn unprepared(statistics: &Statistics, ast: &Ast, code: SqlState) {
    let labels = StatementLabels { kind: kind(ast), sqlstate_class: code.class().to_owned() };
    statistics.statements.get_or_create(&labels).inc();
}

/// One of a short list of kinds.
fn kind(ast: &Ast) -> &'static str {
    match ast {
        Ast::Query(_) => "SELECT",
        Ast::Insert(_) => "INSERT",
        Ast::Update(_) => "UPDATE",
        Ast::Delete(_) => "DELETE",
        Ast::Merge(_) => "MERGE",
        Ast::Copy { .. } => "COPY",
        Ast::Truncate(_) => "TRUNCATE",
        Ast::Explain { .. } => "EXPLAIN",
        Ast::Call(_) => "CALL",
        Ast::Declare { .. } | Ast::Fetch { .. } | Ast::Close { .. } => "CURSOR",
        Ast::Prepare { .. } | Ast::Execute { .. } | Ast::Deallocate { .. } => "PREPARE",
        Ast::Set(_) | Ast::Reset(_) | Ast::ShowVariable { .. } | Ast::Discard { .. } => "SET",
        Ast::Commit { .. } => "COMMIT",
        Ast::Rollback { .. } => "ROLLBACK",
        Ast::StartTransaction { .. } | Ast::Savepoint { .. } | Ast::ReleaseSavepoint { .. } => "BEGIN",
        _ if dml::is_write(ast) => "WRITE",
        _ => "OTHER",
    }
}
