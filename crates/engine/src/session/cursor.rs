//! Cursors: DECLARE, FETCH, MOVE, CLOSE.
//!
//! What always holds: a cursor's query was started by DECLARE and sees what was there then; its rows are computed as they
//! are fetched, forward only, and none is kept. A cursor ends with its transaction, WITH HOLD only when that fails.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use sqlparser::ast::{self, Declare, FetchDirection};
use tokio::sync::Mutex;
use wharf_values::{SqlError, SqlState};

use super::Session;
use super::prepare::Prepared;
use super::result::{Outcome, ResultColumn};
use super::stream::{Limits, RowStream};
use crate::bind::names::fold;
use crate::error::from_datafusion;

/// The most cursors a session may have open.
const MAX_CURSORS: usize = 1_000;

/// The cursors of a session, by name.
pub(super) type Cursors = HashMap<String, Cursor>;

/// An open cursor.
pub(super) struct Cursor {
    pub(super) columns: Arc<[ResultColumn]>,
    /// Its rows are of tables.
    pub(super) reads_tables: bool,
    rows: Arc<Mutex<Rows>>,
    /// NO SCROLL was asked for: not even the same row is given twice.
    no_scroll: bool,
    hold: bool,
    /// Its transaction was committed.
    pub(super) kept: bool,
}

/// The rows of a cursor and its place among them.
struct Rows {
    stream: SendableRecordBatchStream,
    /// What is left of the batch that was read last.
    rest: Option<RecordBatch>,
    /// The number of the row it stands on, from 1; 0 before the first.
    position: u64,
    /// The row it stands on.
    current: Option<RecordBatch>,
    ended: bool,
    failed: bool,
}

/// What a FETCH or MOVE is about, from where the cursor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The row it stands on, again.
    Stay,
    /// Rows that are passed over, then at most so many that are given.
    Forward { skip: u64, count: u64 },
}

/// The query of a DECLARE.
///
/// # Errors
/// `0A000` for cursors that go backward or give binary values.
pub(super) fn query(statements: &[Declare]) -> Result<&ast::Query, SqlError> {
    let [declare] = statements else { return Err(SqlError::internal("several cursors in one DECLARE")) };
    if declare.scroll == Some(true) {
        return Err(SqlError::unsupported("scrollable cursors are not supported")
            .with_hint("Leave SCROLL out, and fetch forward."));
    }
    if declare.binary == Some(true) {
        return Err(SqlError::unsupported("binary cursors are not supported")
            .with_hint("Ask for binary values in the extended query protocol."));
    }
    declare.for_query.as_deref().ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "DECLARE needs a query"))
}

impl Session {
    /// Runs DECLARE: starts the query and keeps it under the name.
    pub(super) async fn declare_cursor(
        &mut self,
        prepared: &Prepared,
        declare: &Declare,
        values: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome, SqlError> {
        let hold = declare.hold == Some(true);
        if !hold && self.transaction.is_none() {
            return Err(SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        let name = declare.names.first().map(fold).unwrap_or_default();
        if self.cursors.contains_key(&name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DUPLICATE_CURSOR, message));
        }
        if self.cursors.len() >= MAX_CURSORS {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many cursors")
                .with_detail(format!("A session may have {MAX_CURSORS}."))
                .with_hint("Close those that are not needed any more."));
        }
        let super::prepare::Kind::Cursor(query, columns) = &prepared.kind else {
            return Err(SqlError::internal("not DECLARE"));
        };
        let limits = self.limits();
        let stream = self.start_query(query, values, prepared.parameters(), &limits).await?;
        let rows = Rows { stream, rest: None, position: 0, current: None, ended: false, failed: false };
        let cursor = Cursor {
            columns: Arc::clone(columns),
            reads_tables: query.reads_tables,
            rows: Arc::new(Mutex::new(rows)),
            no_scroll: declare.scroll == Some(false),
            hold,
            kept: self.transaction.is_none(),
        };
        self.cursors.insert(name, cursor);
        Ok(Outcome::Complete("DECLARE CURSOR".to_owned()))
    }

    /// Is there a cursor of this name?
    ///
    /// # Errors
    /// `34000` when there is none.
    pub(crate) fn require_cursor(&self, name: &str) -> Result<(), SqlError> {
        if self.cursors.contains_key(name) { Ok(()) } else { Err(no_cursor(name)) }
    }

    /// Runs FETCH, or MOVE, which only counts the rows.
    pub(super) async fn fetch(
        &mut self,
        name: &ast::Ident,
        direction: &FetchDirection,
        only_move: bool,
    ) -> Result<Outcome, SqlError> {
        let name = fold(name);
        let cursor = self.cursors.get(&name).ok_or_else(|| no_cursor(&name))?;
        let rows = Arc::clone(&cursor.rows);
        let columns = Arc::clone(&cursor.columns);
        let step = {
            let rows = rows.lock().await;
            if rows.failed {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("portal \"{name}\" cannot be run"),
                ));
            }
            match step(direction, rows.position, rows.ended)? {
                Step::Stay if cursor.no_scroll => return Err(only_forward()),
                step => step,
            }
        };
        let batches = futures::stream::unfold(Some((rows, step, self.limits())), |state| async move {
            let (rows, step, limits) = state?;
            let next = rows.lock().await.next(step, &limits).await;
            match next {
                Ok(Some((batch, Some(left)))) => Some((Ok(batch), Some((rows, left, limits)))),
                Ok(Some((batch, None))) => Some((Ok(batch), None)),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        let mut batches = batches.boxed();
        if only_move {
            let mut count = 0;
            while let Some(batch) = batches.next().await {
                count += batch?.num_rows();
            }
            return Ok(Outcome::Complete(format!("MOVE {count}")));
        }
        Ok(Outcome::Rows(RowStream { columns, batches, tag: "FETCH".to_owned(), counts: true }))
    }

    /// Runs CLOSE.
    pub(super) fn close_cursor(&mut self, cursor: &ast::CloseCursor) -> Result<Outcome, SqlError> {
        let tag = match cursor {
            ast::CloseCursor::All => {
                self.cursors.clear();
                "CLOSE CURSOR ALL"
            }
            ast::CloseCursor::Specific { name } => {
                let name = fold(name);
                self.cursors.remove(&name).ok_or_else(|| no_cursor(&name))?;
                "CLOSE CURSOR"
            }
        };
        Ok(Outcome::Complete(tag.to_owned()))
    }

    /// The columns of a cursor, by its name as it is; none when it does not exist, which running the FETCH will tell.
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<[ResultColumn]>> {
        self.cursors.get(name).map(|cursor| Arc::clone(&cursor.columns))
    }

    /// Closes the cursor of a name, if there is one.
    pub fn forget_cursor(&mut self, name: &str) {
        self.cursors.remove(name);
    }

    /// A transaction has ended.
    pub(super) fn end_cursors(&mut self, committed: bool) {
        self.cursors.retain(|_, cursor| cursor.hold && (cursor.kept || committed));
        self.cursors.values_mut().for_each(|cursor| cursor.kept = true);
    }
}

impl Rows {
    /// The next rows of a step, and what is left of it. None at the end.
    async fn next(&mut self, step: Step, limits: &Limits) -> Result<Option<(RecordBatch, Option<Step>)>, SqlError> {
        let Step::Forward { mut skip, count } = step else {
            return Ok(self.current.clone().map(|current| (current, None)));
        };
        loop {
            let wanted = if skip > 0 { skip } else { count };
            if wanted == 0 {
                return Ok(None);
            }
            let Some(batch) = self.take(wanted, limits).await? else { return Ok(None) };
            let rows = batch.num_rows() as u64;
            if skip > 0 {
                skip -= rows;
                continue;
            }
            let left = (count > rows).then(|| Step::Forward { skip: 0, count: count.saturating_sub(rows) });
            return Ok(Some((batch, left)));
        }
    }

    /// At most so many rows, and at least one unless the end has come.
    async fn take(&mut self, most: u64, limits: &Limits) -> Result<Option<RecordBatch>, SqlError> {
        let batch = loop {
            match self.rest.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                _ if self.ended => return Ok(None),
                _ => {}
            }
            let stream = &mut self.stream;
            match limits.within(async { stream.next().await.transpose().map_err(from_datafusion) }).await {
                Ok(Some(batch)) => self.rest = Some(batch),
                Ok(None) => {
                    self.ended = true;
                    self.current = None;
                    return Ok(None);
                }
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        };
        let rows = usize::try_from(most).unwrap_or(usize::MAX).min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.position += rows as u64;
        self.current = Some(batch.slice(rows - 1, 1));
        Ok(Some(batch.slice(0, rows)))
    }
}

/// What a direction means for a cursor at a position.
///
/// # Errors
/// `55000` for everything behind it.
fn step(direction: &FetchDirection, position: u64, ended: bool) -> Result<Step, SqlError> {
    let forward = |skip, count| Ok(Step::Forward { skip, count });
    let nothing = forward(0, 0);
    match direction {
        FetchDirection::Next => forward(0, 1),
        FetchDirection::All | FetchDirection::ForwardAll => forward(0, u64::MAX),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => match number(limit)? {
            0 => Ok(Step::Stay),
            count => forward(0, u64::try_from(count).map_err(|_| only_forward())?),
        },
        FetchDirection::Forward { limit: None } => forward(0, 1),
        FetchDirection::Relative { limit } => match number(limit)? {
            0 => Ok(Step::Stay),
            count => forward(u64::try_from(count).map_err(|_| only_forward())? - 1, 1),
        },
        FetchDirection::First => to_row(1, position, ended),
        FetchDirection::Absolute { limit } => match number(limit)? {
            0 if position == 0 && !ended => nothing,
            row => to_row(u64::try_from(row).map_err(|_| only_forward())?, position, ended),
        },
        FetchDirection::Backward { limit: Some(limit) } => match number(limit)? {
            0 => Ok(Step::Stay),
            count if count < 0 => forward(0, count.unsigned_abs()),
            _ => Err(only_forward()),
        },
        FetchDirection::Prior
        | FetchDirection::Last
        | FetchDirection::Backward { limit: None }
        | FetchDirection::BackwardAll => Err(only_forward()),
    }
}

/// The row of a number.
fn to_row(row: u64, position: u64, ended: bool) -> Result<Step, SqlError> {
    match row {
        row if row > position => Ok(Step::Forward { skip: row - position - 1, count: 1 }),
        row if row == position && row > 0 && !ended => Ok(Step::Stay),
        _ => Err(only_forward()),
    }
}

fn number(value: &ast::ValueWithSpan) -> Result<i64, SqlError> {
    let text = value.value.to_string();
    text.parse().map_err(|_| SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{text}\"")))
}

fn only_forward() -> SqlError {
    SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .with_hint("Fetch the rows again with another cursor; SCROLL is not supported.")
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist"))
}
