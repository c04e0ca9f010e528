//! A statement as it is seen from outside: a span of the log with an id of its own, counted and timed.
//!
//! What always holds: every statement that begins ends once, whatever becomes of it: with its last row, its error, or the end of
//! its client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, Stream};
use sqlparser::ast::Statement as Ast;
use tracing::Span;
use wharf_values::{SqlError, SqlState};

use super::query_id;
use super::result::Outcome;
use crate::dml;
use crate::metrics::{Class, KindLabels, StatementLabels, Statistics};

/// A statement under way.
pub(crate) struct Observed {
    statistics: Arc<Statistics>,
    kind: &'static str,
    started: Instant,
    span: Span,
    /// What it comes to when nothing more is heard of it; none when that has been counted already.
    class: Option<Class>,
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
            span: tracing::info_span!("statement", query_id = %query_id::next(), kind, process),
            class: Some(Class::STOPPED),
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
        self.class = Some(Class::SUCCESS);
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
                self.class = Some(Class::STOPPED);
                return (Ok(Outcome::CopyIn(copy)), Some(self));
            }
        };
        (Ok(outcome), None)
    }

    /// It has ended with an error.
    pub(crate) fn failed(mut self, error: &SqlError) {
        self.class = None;
        self.count(Class::of(error.code));
        tracing::debug!(parent: &self.span, code = %error.code, %error, "the statement failed");
    }

    /// It has ended well.
    pub(crate) fn succeeded(mut self) {
        self.class = Some(Class::SUCCESS);
    }

    fn watch<T: Send + 'static>(
        self,
        inner: BoxStream<'static, Result<T, SqlError>>,
    ) -> BoxStream<'static, Result<T, SqlError>> {
        Box::pin(Watched { inner, observed: Some(self) })
    }

    /// Counts it, and says how long it took.
    fn count(&self, sqlstate_class: Class) -> Duration {
        let elapsed = self.started.elapsed();
        let kind = self.kind;
        self.statistics.statements.get_or_create(&StatementLabels { kind, sqlstate_class }).inc();
        self.statistics.durations.get_or_create(&KindLabels { kind }).observe(elapsed.as_secs_f64());
        elapsed
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.statistics.running.dec();
        if let Some(class) = self.class {
            let duration_ms = self.count(class).as_millis() as u64;
            tracing::debug!(parent: &self.span, duration_ms, class = class.as_str(), "the statement ended");
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
        let Watched { inner, observed } = &mut *self;
        let inner = inner.as_mut();
        let polled = match observed {
            Some(observed) => observed.span.in_scope(|| inner.poll_next(cx)),
            None => inner.poll_next(cx),
        };
        match &polled {
            Poll::Ready(None) => drop(observed.take()),
            Poll::Ready(Some(Err(error))) => {
                if let Some(observed) = observed.take() {
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
    let labels = StatementLabels { kind: "UNKNOWN", sqlstate_class: Class::of(error.code) };
    statistics.statements.get_or_create(&labels).inc();
}

/// A statement that could not be prepared.
pub(crate) fn unprepared(statistics: &Statistics, ast: &Ast, code: SqlState) {
    let labels = StatementLabels { kind: kind(ast), sqlstate_class: Class::of(code) };
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
