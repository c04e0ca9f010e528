//! What the protocol needs of an engine, as traits. The plain data that passes between them are the engine's own types.
//!
//! What always holds: the protocol calls an engine through these traits alone. The engine of this repository is fitted to
//! them in `session_adapter`; the tests bring a scripted one. Calls are dispatched statically. The traits say nothing
//! about messages, formats or sockets.

use std::future::Future;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, TextFormat};

pub use wharf_engine::{CopyOut, Notice, ResultColumn, RowStream, Startup as SessionStartup, TransactionStatus};

/// The engine: what outlives a session.
pub trait Backend: Send + Sync + 'static {
    /// A client's session.
    type Session: Session;

    /// What is kept of a role's password, in PostgreSQL's form; `None` when there is no such role or no password.
    ///
    /// # Errors
    /// What keeps the engine from knowing its roles.
    fn scram_verifier(&self, role: &str) -> impl Future<Output = Result<Option<String>, SqlError>> + Send;

    /// Opens the session of an authenticated client.
    ///
    /// # Errors
    /// `28000` for a role that does not exist or may not log in, `3D000` for an unknown database, and what a setting
    /// among the parameters can be refused with.
    fn open_session(
        self: &Arc<Self>,
        startup: SessionStartup,
    ) -> impl Future<Output = Result<Self::Session, SqlError>> + Send;
}

/// One client's session. The protocol runs at most one of its futures at a time, and drops one only to end the session.
pub trait Session: Send + 'static {
    /// A parsed statement.
    type Statement: Send + Sync + 'static;
    /// A statement that is bound and planned.
    type Prepared: Prepared;
    /// A COPY that takes the client's data.
    type CopyIn: CopyIn;

    /// Parses a text into its statements, in order; none when there is nothing but blanks and comments.
    fn split(&self, sql: &str) -> Result<Vec<Self::Statement>, SqlError>;

    /// Binds and plans a statement; an oid of 0 leaves the type of a parameter open.
    fn prepare(
        &mut self,
        statement: &Self::Statement,
        parameter_oids: &[u32],
    ) -> impl Future<Output = Result<Arc<Self::Prepared>, SqlError>> + Send;

    /// Runs a prepared statement. The values are of the types it takes; `None` is NULL.
    fn execute(
        &mut self,
        prepared: &Arc<Self::Prepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> impl Future<Output = Result<Outcome<Self::CopyIn>, SqlError>> + Send;

    /// Runs a statement without parameters.
    fn run(
        &mut self,
        statement: &Self::Statement,
    ) -> impl Future<Output = Result<Outcome<Self::CopyIn>, SqlError>> + Send;

    /// All data of a COPY have come: makes it count and gives its tag.
    fn finish_copy(&mut self, copy: Self::CopyIn) -> impl Future<Output = Result<String, SqlError>> + Send;

    /// Remembers a statement under a name that is free; `None` is a text without a statement in it.
    fn store_statement(&mut self, name: &str, prepared: Option<Arc<Self::Prepared>>);
    /// The statement of a name.
    fn statement(&self, name: &str) -> Option<Option<Arc<Self::Prepared>>>;
    /// Forgets the statement of a name, if there is one.
    fn forget_statement(&mut self, name: &str);
    /// How many statements have names.
    fn statement_count(&self) -> usize;

    /// The columns of a cursor that a statement has made.
    fn cursor_columns(&self, name: &str) -> Option<Arc<[ResultColumn]>>;
    /// Closes the cursor of a name, if a statement has made one.
    fn forget_cursor(&mut self, name: &str);

    /// Where the session stands.
    fn transaction_status(&self) -> TransactionStatus;
    /// An error was reported: an open block has failed.
    fn fail(&mut self);
    /// Several statements follow that count together or not at all.
    fn begin_implicit(&mut self);
    /// The end of those statements, and of every pipeline and simple query.
    fn end_implicit(&mut self, commit: bool) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// The settings clients are told about that have changed since the last call; all of them the first time.
    fn settings_to_report(&mut self) -> Vec<(&'static str, String)>;
    /// The notices raised since the last call.
    fn notices(&mut self) -> Vec<Notice>;
    /// How values are written as text.
    fn text_format(&self) -> TextFormat;
    /// The token of the statement that runs now.
    fn cancel_token(&self) -> CancellationToken;
    /// Cancelled when somebody wants the session to end.
    fn ended(&self) -> CancellationToken;
    /// What stops whatever the session runs at the moment of the call, and does nothing when it is idle.
    fn canceller(&self) -> Arc<dyn Fn() + Send + Sync>;
}

/// A statement that is bound and planned.
pub trait Prepared: Send + Sync + 'static {
    /// The types of its parameters.
    fn parameters(&self) -> &[SqlType];
    /// The columns of its rows; `None` when it gives none.
    fn columns(&self) -> Option<&Arc<[ResultColumn]>>;
}

/// A COPY that takes the client's data.
pub trait CopyIn: Send + 'static {
    /// True for PostgreSQL's binary format.
    fn binary(&self) -> bool;
    /// How many columns a row has.
    fn columns(&self) -> usize;
    /// True when it is known that the data cannot be taken, so that the rest need not come; `finish_copy` says why.
    fn has_failed(&self) -> bool;
    /// Takes the next bytes, cut anywhere.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), SqlError>> + Send;
    /// Gives up. What comes back says, beyond the reason given, where the data were; or what was wrong with them before.
    fn give_up(self, reason: SqlError) -> impl Future<Output = SqlError> + Send;
}

/// What running a statement gave.
pub enum Outcome<C> {
    /// There was nothing to run.
    Empty,
    /// It is done; the command tag.
    Complete(String),
    /// It gives rows.
    Rows(RowStream),
    /// It wants the client's data.
    CopyIn(C),
    /// It gives data in the format the statement chose.
    CopyOut(CopyOut),
}
