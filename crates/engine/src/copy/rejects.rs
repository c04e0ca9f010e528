//! Rows that cannot be taken: what `ON_ERROR` says becomes of them, and what is kept of them.
//!
//! `ignore` is PostgreSQL's (17 and later): rows with a value that its column's type does not take are passed over. `skip` passes
//! over every row that is wrong: too few or too many values, a NULL where none may be, a line of JSON that is none. What
//! always holds: the count is of all files of one COPY, and what is kept in memory is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use wharf_fanout::WrittenError;
use wharf_values::{SqlError, SqlState};

/// Rejected rows that are kept for a table of them.
const MAX_KEPT: u64 = 100_000;
/// Bytes of a rejected line that are kept.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// Rejected rows that are told of one by one.
const MAX_TOLD: u64 = 1_000;

/// What becomes of rows that are wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnError {
    /// The first ends the COPY.
    #[default]
    Stop,
    /// Those with a value of the wrong type are passed over.
    Ignore,
    /// All are passed over.
    Skip,
}

/// How much is told of rejected rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Nothing.
    Silent,
    /// Their number.
    #[default]
    Default,
    /// Each.
    Verbose,
}

/// A row that was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Reject {
    /// The file; none for what a client sends.
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: u64,
    /// The column whose value is wrong, if it is one.
    pub(crate) column: Option<String>,
    pub(crate) error: String,
    /// The line, or its beginning.
    pub(crate) text: String,
}

/// The rejected rows of some files of a COPY, on their way from the node that has read them to the one of the session.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Rejected {
    count: u64,
    kept: Vec<Kept>,
    told: Vec<WrittenError>,
}

/// A [`Reject`] as it travels.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    file: Option<String>,
    line: u64,
    column: Option<String>,
    error: String,
    text: String,
}

/// The rejected rows of one COPY, over all of its files.
#[derive(Debug, Default)]
pub(crate) struct Rejects {
    on_error: OnError,
    limit: Option<u64>,
    verbosity: Verbosity,
    /// They go to a table.
    keep: bool,
    count: AtomicU64,
    kept: Mutex<Vec<Reject>>,
    told: Mutex<Vec<SqlError>>,
}

impl Rejects {
    pub(crate) fn new(on_error: OnError, limit: Option<u64>, verbosity: Verbosity, keep: bool) -> Rejects {
        Rejects { on_error, limit, verbosity, keep, ..Rejects::default() }
    }

    /// Is any row passed over?
    pub(super) fn tolerates(&self) -> bool {
        self.on_error != OnError::Stop
    }

    /// Is a row with this error passed over? `value`: it is of one value's type.
    pub(super) fn takes(&self, value: bool) -> bool {
        match self.on_error {
            OnError::Stop => false,
            OnError::Ignore => value,
            OnError::Skip => true,
        }
    }

    /// Passes a row over.
    ///
    /// # Errors
    /// `22P02` when that is one too many, `54000` when there is no room to keep it.
    pub(super) fn add(&self, mut reject: Reject) -> Result<(), SqlError> {
        let count = self.count_in(1)?;
        if self.verbosity == Verbosity::Verbose && count <= MAX_TOLD {
            let place = match &reject.column {
                Some(column) => format!("at line {} for column \"{column}\"", reject.line),
                None => format!("at line {}", reject.line),
            };
            let told = SqlError::new(
                SqlState::SUCCESSFUL_COMPLETION,
                format!("skipping row due to data type incompatibility {place}: {}", reject.error),
            );
            self.told.lock().push(match &reject.file {
                Some(file) => told.with_detail(format!("The row is in file \"{file}\".")),
                None => told,
            });
        }
        if self.keep {
            if reject.text.len() > MAX_TEXT_BYTES {
                let end = (0..=MAX_TEXT_BYTES).rev().find(|at| reject.text.is_char_boundary(*at)).unwrap_or(0);
                reject.text.truncate(end);
            }
            self.kept.lock().push(reject);
        }
        Ok(())
    }

    /// Counts rows that are passed over; gives the number of all.
    fn count_in(&self, rows: u64) -> Result<u64, SqlError> {
        let count = self.count.fetch_add(rows, Ordering::Relaxed) + rows;
        if let Some(limit) = self.limit.filter(|limit| count > *limit) {
            let message = format!("skipped more than REJECT_LIMIT ({limit}) rows due to data type incompatibility");
            return Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
        }
        if self.keep && count > MAX_KEPT {
            let message = format!("more than {MAX_KEPT} rows were rejected");
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Set a REJECT_LIMIT, or load without a REJECTS_TABLE."));
        }
        Ok(count)
    }

    /// All of it, for the node of the session.
    pub(crate) fn depart(&self) -> Rejected {
        let written = |Reject { file, line, column, error, text }: Reject| Kept {
            file: file.as_deref().map(str::to_owned),
            line,
            column,
            error,
            text,
        };
        Rejected {
            count: self.count(),
            kept: self.take().into_iter().map(written).collect(),
            told: std::mem::take(&mut *self.told.lock()).into_iter().map(WrittenError::from).collect(),
        }
    }

    /// Takes in what another node has passed over.
    ///
    /// # Errors
    /// As [`Rejects::add`].
    pub(crate) fn absorb(&self, rejected: Rejected) -> Result<(), SqlError> {
        let Rejected { count, kept, told } = rejected;
        self.count_in(count)?;
        let read = |Kept { file, line, column, error, text }: Kept| Reject {
            file: file.map(Arc::from),
            line,
            column,
            error,
            text,
        };
        self.kept.lock().extend(kept.into_iter().map(read));
        let mut all = self.told.lock();
        let room = usize::try_from(MAX_TOLD).unwrap_or(usize::MAX).saturating_sub(all.len());
        all.extend(told.into_iter().take(room).map(SqlError::from));
        Ok(())
    }

    /// How many rows were passed over.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Those that were kept, in the order of files and lines.
    pub(crate) fn take(&self) -> Vec<Reject> {
        let mut kept = std::mem::take(&mut *self.kept.lock());
        kept.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        kept
    }

    /// What the client is told at the end.
    pub(crate) fn notices(&self) -> Vec<SqlError> {
        let mut notices = std::mem::take(&mut *self.told.lock());
        let count = self.count();
        if count > 0 && self.verbosity > Verbosity::Silent {
            let message = match count {
                1 => "1 row was skipped due to data type incompatibility".to_owned(),
                count => format!("{count} rows were skipped due to data type incompatibility"),
            };
            notices.push(SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message));
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reject(line: u64) -> Reject {
        let (file, column) = (Some(Arc::from("a.csv")), Some("b".to_owned()));
        Reject { file, line, column, error: "invalid".to_owned(), text: "x".to_owned() }
    }

    #[test]
    fn a_limit_holds_over_all_nodes() {
        let [here, there] = [(); 2].map(|()| Rejects::new(OnError::Skip, Some(3), Verbosity::Verbose, true));
        [1, 2].into_iter().for_each(|line| there.add(reject(line)).unwrap());
        let text = serde_json::to_string(&there.depart()).unwrap();
        here.absorb(serde_json::from_str(&text).unwrap()).unwrap();
        here.add(reject(3)).unwrap();
        assert_eq!((here.count(), here.notices().len()), (3, 4));
        let kept: Vec<_> =
            here.take().iter().map(|reject| format!("{}:{}", reject.file.as_deref().unwrap(), reject.line)).collect();
        assert_eq!(kept, ["a.csv:1", "a.csv:2", "a.csv:3"]);
        assert_eq!(here.absorb(serde_json::from_str(&text).unwrap()).unwrap_err().code.as_str(), "22P02");
    }
}
