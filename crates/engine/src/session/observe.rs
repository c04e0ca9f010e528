//! A statement as it is seen from outside: a span of the log with an id of its own, counted and timed.
//!
//! What always holds: every statement that begins ends once, whatever becomes of it: with its last row, its error, or the end of
//! its client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, Stream};
use sqlparser::ast::Statement as Ast;
use tracing::{Level, Span};
use uuid::Uuid;
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
    id: Uuid,
    process: u32,
    /// A query has none before it waits for something: to make and close one takes a tenth of the time of a short query, and a
    /// query that has not waited has nothing to log at the levels that are on by default.
    span: Option<Span>,
    /// What it comes to when nothing more is heard of it; none when that has been counted already.
    class: Option<Class>,
}

impl Observed {
    /// A statement begins.
    pub(crate) fn begin(statistics: &Arc<Statistics>, ast: &Ast, process: u32) -> Observed {
        statistics.running.inc();
        let kind = kind(ast);
        let mut observed = Observed {
            statistics: Arc::clone(statistics),
            kind,
            started: Instant::now(),
            id: query_id::next(),
            process,
            span: None,
            class: Some(Class::STOPPED),
        };
        if !matches!(ast, Ast::Query(_)) || tracing::enabled!(Level::DEBUG) {
            observed.span();
        }
        observed
    }

    /// What is logged for it goes there.
    fn span(&mut self) -> &Span {
        let Observed { id, kind, process, .. } = *self;
        self.span.get_or_insert_with(|| tracing::info_span!("statement", query_id = %id, kind, process))
    }

    /// Does a part of its work.
    pub(crate) async fn follow<F: Future>(&mut self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| self.within(|| work.as_mut().poll(cx))).await
    }

    /// Goes on with it until it waits or has got somewhere.
    fn within<T>(&mut self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        if let Some(span) = &self.span {
            return span.in_scope(poll);
        }
        let polled = poll();
        if polled.is_pending() {
            self.span();
        }
        polled
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
        if let Some(span) = &self.span {
            tracing::debug!(parent: span, code = %error.code, %error, "the statement failed");
        }
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
            if let Some(span) = &self.span {
                tracing::debug!(parent: span, duration_ms, class = class.as_str(), "the statement ended");
            }
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
            Some(observed) => observed.within(|| inner.poll_next(cx)),
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
