//! A statement as it is seen from outside: a span of the log with an id of its own, a place on the list of what runs, counted and
//! timed.
//!
//! What always holds: every statement that begins ends once, whatever becomes of it: with its last row, its error, or the end of
//! its client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use sqlparser::ast::Statement as Ast;
use tracing::{Level, Span};
use uuid::Uuid;
use wharf_values::{SqlError, SqlState};

use super::query_id;
use super::result::Outcome;
use crate::dml;
use crate::engine::Engine;
use crate::metrics::{Class, KindLabels, StatementLabels, Statistics};
use crate::places::Place;
use crate::queries::{Client, Doing, Listed, Listing, beginning};
use crate::statement::Statement;

/// A statement under way.
pub(crate) struct Observed {
    statistics: Arc<Statistics>,
    kind: &'static str,
    started: Instant,
    id: Uuid,
    client: Arc<Client>,
    /// None: it may have secrets.
    text: Option<Arc<str>>,
    /// How many rows it has given.
    rows: u64,
    /// A query has none, and is on no list, before it waits for something: to make and close one takes a tenth of the time of a
    /// short query, and a query that has not waited has nothing to log at the levels that are on by default.
    span: Option<Span>,
    listed: Option<Listed>,
    /// The first of its trace, if it is traced.
    traced: Option<wharf_traces::Span>,
    /// Its place among those that run, if it needs one; it keeps it while its rows are read.
    place: Option<Arc<Place>>,
    /// What it comes to when nothing more is heard of it; none when that has been counted already.
    class: Option<Class>,
}

impl Observed {
    /// A statement begins.
    pub(crate) fn begin(engine: &Engine, statement: &Statement, client: &Arc<Client>) -> Observed {
        engine.statistics.running.inc();
        let Listing { at_once, hides_text } = statement.listing;
        let (id, kind) = (query_id::next(), kind(&statement.ast));
        let mut observed = Observed {
            statistics: Arc::clone(&engine.statistics),
            kind,
            started: Instant::now(),
            id,
            client: Arc::clone(client),
            text: (!hides_text).then(|| Arc::clone(&statement.text)),
            rows: 0,
            span: None,
            listed: None,
            traced: engine.options.traces.statement(id, kind),
            place: None,
            class: Some(Class::STOPPED),
        };
        if let Some(span) = &mut observed.traced {
            span.set("db.system.name", "wharf");
            span.set("db.operation.name", kind);
            span.set("client.address", client.peer.clone());
            span.set("wharf.process", i64::from(client.process));
            if let Some(text) = observed.text.as_ref().filter(|_| engine.options.traces.query_text()) {
                span.set("db.query.text", beginning(text));
            }
        }
        if at_once {
            observed.show();
        } else if tracing::enabled!(Level::DEBUG) {
            observed.span();
        }
        observed
    }

    /// Its id, in the log and on other nodes.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// What is logged for it goes there.
    fn span(&mut self) -> &Span {
        let Observed { id, kind, .. } = *self;
        let process = self.client.process;
        self.span.get_or_insert_with(|| tracing::info_span!("statement", query_id = %id, kind, process))
    }

    /// From now on it is seen.
    fn show(&mut self) {
        self.span();
        let listed = self.client.list(self.id, self.kind, self.text.as_ref(), self.started);
        listed.has_given(self.rows);
        self.listed = Some(listed);
    }

    /// It works again, for a client that kept it waiting.
    pub(crate) fn resumes(&self) {
        if let Some(listed) = &self.listed {
            listed.does(Doing::Running);
        }
    }

    /// It has given rows, and goes on when more are wanted.
    fn gave(&mut self, rows: u64) {
        self.rows += rows;
        if let Some(listed) = &self.listed {
            listed.has_given(self.rows);
            listed.does(Doing::Sending);
        }
        self.rests();
    }

    /// It waits for its client.
    fn rests(&self) {
        if let Some(place) = &self.place {
            place.rests();
        }
    }

    /// Does a part of its work.
    pub(crate) async fn follow<F: Future>(&mut self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| self.within(|| work.as_mut().poll(cx))).await
    }

    /// Goes on with it until it waits or has got somewhere.
    fn within<T>(&mut self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        let polled = match &self.span {
            Some(span) => span.in_scope(poll),
            None => poll(),
        };
        if polled.is_pending() && self.listed.is_none() {
            self.show();
        }
        polled
    }

    /// What it comes to, or what is still to come of it.
    pub(crate) fn answered(
        mut self,
        result: Result<Outcome, SqlError>,
        place: Option<Arc<Place>>,
    ) -> (Result<Outcome, SqlError>, Option<Observed>) {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed(&error);
                return (Err(error), None);
            }
        };
        self.place = place;
        self.rests();
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
            Outcome::CopyIn(mut copy) => {
                self.class = Some(Class::STOPPED);
                copy.place.clone_from(&self.place);
                if let Some(listed) = &self.listed {
                    listed.does(Doing::Receiving);
                }
                return (Ok(Outcome::CopyIn(copy)), Some(self));
            }
        };
        (Ok(outcome), None)
    }

    /// It has ended with an error.
    pub(crate) fn failed(mut self, error: &SqlError) {
        self.class = None;
        self.count(Class::of(error.code));
        if let Some(span) = &mut self.traced {
            // Its message may have values in it.
            span.set("db.response.status_code", error.code.as_str().to_owned());
            span.fail(error.code.as_str());
        }
        if let Some(span) = &self.span {
            tracing::debug!(parent: span, code = %error.code, %error, "the statement failed");
        }
    }

    /// It has ended well.
    pub(crate) fn succeeded(mut self) {
        self.class = Some(Class::SUCCESS);
    }

    fn watch<T: Given + Send + 'static>(
        self,
        inner: BoxStream<'static, Result<T, SqlError>>,
    ) -> BoxStream<'static, Result<T, SqlError>> {
        Box::pin(Watched { inner, observed: Some(self), waits: None })
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
        if let Some(span) = &mut self.traced {
            span.set("db.response.returned_rows", i64::try_from(self.rows).unwrap_or(i64::MAX));
            if self.class == Some(Class::STOPPED) {
                span.fail("its client has gone");
            }
        }
        if let Some(class) = self.class {
            let duration_ms = self.count(class).as_millis() as u64;
            if let Some(span) = &self.span {
                tracing::debug!(parent: span, duration_ms, class = class.as_str(), "the statement ended");
            }
        }
    }
}

/// Some of what a statement gives.
trait Given {
    /// How many rows it is.
    fn rows(&self) -> u64;
}

impl Given for RecordBatch {
    fn rows(&self) -> u64 {
        self.num_rows() as u64
    }
}

impl Given for (Bytes, u64) {
    fn rows(&self) -> u64 {
        self.1
    }
}

/// What a statement gives, and the statement.
struct Watched<T> {
    inner: BoxStream<'static, Result<T, SqlError>>,
    observed: Option<Observed>,
    /// It has lost its place, and waits for another.
    waits: Option<BoxFuture<'static, Result<(), SqlError>>>,
}

impl<T: Given> Stream for Watched<T> {
    type Item = Result<T, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Watched { inner, observed, waits } = &mut *self;
        let inner = inner.as_mut();
        let polled = match observed {
            Some(observed) => {
                observed.resumes();
                let place = observed.place.clone();
                observed.within(|| match has_place(place, waits, cx) {
                    Poll::Ready(Ok(())) => inner.poll_next(cx),
                    Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                    Poll::Pending => Poll::Pending,
                })
            }
            None => inner.poll_next(cx),
        };
        match &polled {
            Poll::Ready(None) => drop(observed.take()),
            Poll::Ready(Some(Err(error))) => {
                if let Some(observed) = observed.take() {
                    observed.failed(error);
                }
            }
            Poll::Ready(Some(Ok(some))) => {
                if let Some(observed) = observed {
                    observed.gave(some.rows());
                }
            }
            Poll::Pending => {}
        }
        polled
    }
}

/// Waits until a statement that was asked for more may go on.
fn has_place(
    place: Option<Arc<Place>>,
    waits: &mut Option<BoxFuture<'static, Result<(), SqlError>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SqlError>> {
    let Some(place) = place else { return Poll::Ready(Ok(())) };
    if waits.is_none() && place.goes_on() {
        return Poll::Ready(Ok(()));
    }
    let polled = waits.get_or_insert_with(|| Box::pin(async move { place.resume().await })).as_mut().poll(cx);
    if polled.is_ready() {
        *waits = None;
    }
    polled
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
