//! A session's messages: reading one after the other, answering, and finding the way back after errors.
//!
//! What always holds: an error in an extended message skips everything up to the next `Sync`; every `Query` and `Sync`
//! is answered with exactly one `ReadyForQuery`, and that is when output is sent. Portals live until the end of their
//! transaction. Statements are run one at a time, and while one runs the socket is watched. What the messages of the two
//! query protocols do is in `simple` and `extended`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wharf_values::{SqlError, SqlState};

use crate::backend::{Backend, Session, TransactionStatus};
use crate::cancel::{CancelHandle, Registration};
use crate::decode::{Message, decode};
use crate::encode::messages;
use crate::error::{End, Failure};
use crate::frame::Frame;
use crate::limits::{ABANDONED_STATEMENT_GRACE, Place};
use crate::listener::Shared;
use crate::portal::Portals;
use crate::startup::Started;
use crate::wire::Wire;

/// PostgreSQL's limit on the entries of a target list.
const MAX_COLUMNS: usize = 1664;

/// The statement type of a backend.
pub(crate) type PreparedOf<B> = <<B as Backend>::Session as Session>::Prepared;

/// A session at work.
pub(crate) struct Connection<'a, B: Backend> {
    pub(crate) wire: &'a mut Wire,
    pub(crate) session: B::Session,
    pub(crate) cancel: Arc<CancelHandle>,
    /// Cancelled when the session is to end.
    ended: CancellationToken,
    pub(crate) shared: &'a Shared<B>,
    /// The unnamed statement. Named ones are kept by the engine, since SQL can prepare and deallocate them too.
    pub(crate) unnamed: Option<Option<Arc<PreparedOf<B>>>>,
    pub(crate) portals: Portals<PreparedOf<B>>,
    /// Statements since the last `Sync` count together.
    pub(crate) implicit_block: bool,
    /// An extended message failed: everything up to `Sync` is passed over.
    skipping: bool,
    _registration: Registration,
    _place: Place,
}

impl<'a, B: Backend> Connection<'a, B> {
    /// The connection of a session that has just started.
    pub(crate) fn new(wire: &'a mut Wire, started: Started<B::Session>, shared: &'a Shared<B>) -> Self {
        Connection {
            wire,
            ended: started.session.ended(),
            session: started.session,
            cancel: started.cancel,
            shared,
            unnamed: None,
            portals: Portals::default(),
            implicit_block: false,
            skipping: false,
            _registration: started.registration,
            _place: started.place,
        }
    }

    /// Answers messages until the connection ends.
    pub(crate) async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Answers one message.
    async fn step(&mut self) -> Result<(), End> {
        let frame = self.next_frame().await?;
        // Data may still come from a client that had not heard yet that its COPY failed.
        let passed_over = matches!(frame.kind, b'd' | b'c' | b'f');
        if passed_over || (self.skipping && !matches!(frame.kind, b'S' | b'X')) {
            return Ok(());
        }
        match self.answer(&frame).await {
            Ok(()) => Ok(()),
            Err(Failure::End(end)) => Err(end),
            Err(Failure::Sql(error)) => {
                self.report(&error);
                match frame.kind {
                    b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => {
                        self.skipping = true;
                        // A client that only asked to flush must hear of it before it sends Sync.
                        self.wire.flush().await
                    }
                    _ => {
                        self.skipping = false;
                        self.finish(false).await
                    }
                }
            }
        }
    }

    /// The next message, if neither the server stops nor the session is to end before it comes.
    async fn next_frame(&mut self) -> Result<Frame, End> {
        if self.ended.is_cancelled() {
            return Err(End::shutdown());
        }
        if let Some(frame) = self.wire.buffered_frame()? {
            return Ok(frame);
        }
        self.wire.release_buffers();
        tokio::select! {
            biased;
            frame = self.wire.frame() => frame,
            () = self.shared.shutdown.cancelled() => Err(End::shutdown()),
            () = self.ended.cancelled() => Err(End::shutdown()),
        }
    }

    async fn answer(&mut self, frame: &Frame) -> Result<(), Failure> {
        match decode(frame.kind, &frame.body)? {
            Message::Query(sql) => {
                self.simple_query(sql).await?;
                Ok(self.ready().await?)
            }
            Message::Parse { name, sql, parameter_oids } => self.parse(name, sql, &parameter_oids).await,
            Message::Bind(bind) => self.bind(&bind),
            Message::Describe(target) => self.describe(target),
            Message::Execute { portal, max_rows } => self.execute(portal, max_rows).await,
            Message::Close(target) => self.close(target),
            Message::Flush => Ok(self.wire.flush().await?),
            Message::Sync => {
                let failed = std::mem::take(&mut self.skipping);
                Ok(self.finish(!failed).await?)
            }
            Message::FunctionCall => Err(Failure::Sql(
                SqlError::unsupported("function calls by message are not supported")
                    .with_hint("Call the function in a SELECT."),
            )),
            // These are passed over before they are decoded.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Terminate => Err(Failure::End(End::Terminated)),
        }
    }

    /// The end of a pipeline, or of a simple query that failed.
    async fn finish(&mut self, commit: bool) -> Result<(), End> {
        if let Err(failure) = self.end_implicit(commit).await {
            match failure {
                Failure::End(end) => return Err(end),
                Failure::Sql(error) => {
                    self.report(&error);
                    // What could not be made to count is given up; a second error would add nothing.
                    if commit && let Err(Failure::End(end)) = self.end_implicit(false).await {
                        return Err(end);
                    }
                }
            }
        }
        self.ready().await
    }

    /// Makes the statements since the last call count, or not.
    pub(crate) async fn end_implicit(&mut self, commit: bool) -> Result<(), Failure> {
        self.implicit_block = false;
        watched(self.wire, &self.cancel, Box::pin(self.session.end_implicit(commit))).await
    }

    /// Tells the client that it is its turn.
    async fn ready(&mut self) -> Result<(), End> {
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.send_notices();
        for (name, value) in self.session.settings_to_report() {
            messages::parameter_status(&mut self.wire.output, name, &value);
        }
        messages::ready_for_query(&mut self.wire.output, status);
        self.wire.flush().await
    }

    /// Tells the client of an error.
    fn report(&mut self, error: &SqlError) {
        if error.code == SqlState::INTERNAL_ERROR {
            tracing::error!(%error, detail = error.detail.as_deref(), "a broken invariant ended a statement");
        }
        self.send_notices();
        messages::error_response(&mut self.wire.output, "ERROR", error);
        self.session.fail();
    }

    /// Passes on what statements wanted to tell.
    pub(crate) fn send_notices(&mut self) {
        for notice in self.session.notices() {
            messages::notice_response(&mut self.wire.output, &notice);
        }
    }

    /// Refuses results a message cannot describe.
    pub(crate) fn check_columns(columns: usize) -> Result<(), SqlError> {
        if columns > MAX_COLUMNS {
            return Err(SqlError::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("target lists can have at most {MAX_COLUMNS} entries"),
            ));
        }
        Ok(())
    }
}

/// `25P02`: the block has failed and is only waiting for its end.
pub(crate) fn failed_block() -> SqlError {
    SqlError::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// Runs a part of a statement while watching the socket. When the client goes, the statement is cancelled, given a
/// moment to tidy up, and dropped.
pub(crate) async fn watched<T, F>(wire: &mut Wire, cancel: &CancelHandle, mut work: Pin<Box<F>>) -> Result<T, Failure>
where
    F: Future<Output = Result<T, SqlError>>,
{
    match wire.watch(work.as_mut()).await {
        Ok(result) => result.map_err(Failure::Sql),
        Err(end) => {
            cancel.cancel();
            let _ = tokio::time::timeout(ABANDONED_STATEMENT_GRACE, work).await;
            Err(Failure::End(end))
        }
    }
}
