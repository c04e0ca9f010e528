//! What clients asked for, when, and what they were told.
//!
//! A record is made when its transaction is over for the client. Times are those of one clock, since the beginning of the run: all
//! clients are in this process. An outcome that is not known has no end, since it may still happen.

use std::collections::BTreeMap;
use std::time::Duration;

/// One list: a row of a table of a generation of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) generation: u32,
    pub(super) table: u8,
    pub(super) key: u8,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lists_{}_{}[{}]", self.generation, self.table, self.key)
    }
}

/// What became of something that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was acknowledged.
    Done,
    /// The server said that it was not done.
    Failed,
    /// Nobody has said.
    Unknown,
}

/// A part of a transaction over lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A value, which is appended once in the whole run.
    Append(Key, i64),
    /// A list as it was seen.
    Read(Key, Vec<i64>),
}

/// A transaction over lists.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    /// Before its first statement was sent.
    pub(super) begin: Duration,
    /// After its COMMIT was answered.
    pub(super) end: Duration,
    pub(super) outcome: Outcome,
    /// The node that it ran on.
    pub(super) node: usize,
    pub(super) steps: Vec<Step>,
}

/// Something that was done to the name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A table with this mark was made.
    Created(u32),
    /// There was a table already.
    Existed,
    /// It was dropped.
    Dropped,
    /// There was none to drop.
    Missing,
    /// It was looked at: the mark of the table that was there.
    Seen(Option<u32>),
}

/// A statement about the name of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    pub(super) begin: Duration,
    /// None when nobody has said what became of it.
    pub(super) end: Option<Duration>,
    pub(super) change: Change,
}

/// A statement that inserts rows, each with its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Insert {
    pub(super) rows: i64,
    pub(super) outcome: Outcome,
}

/// Everything that was asked for.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) transactions: Vec<Transaction>,
    /// By the table's name.
    pub(super) definitions: BTreeMap<String, Vec<Definition>>,
    /// By generation and number.
    pub(super) inserts: BTreeMap<(u32, i64), Insert>,
    /// What a client saw that can never be right.
    pub(super) violations: Vec<String>,
    /// How often each kind of thing was done.
    pub(super) done: BTreeMap<&'static str, u64>,
    /// How often nobody knows what became of it.
    pub(super) unknown: BTreeMap<&'static str, u64>,
    /// How often it was refused, by SQLSTATE.
    pub(super) refused: BTreeMap<String, u64>,
    /// Errors that faults do not explain, with how often they came.
    pub(super) surprises: BTreeMap<String, u64>,
    /// How often a connection broke, or a statement had no answer.
    pub(super) lost_connections: u64,
}

impl History {
    /// Counts something that is over.
    pub(super) fn count(&mut self, kind: &'static str, outcome: Outcome) {
        match outcome {
            Outcome::Done => *self.done.entry(kind).or_default() += 1,
            Outcome::Unknown => *self.unknown.entry(kind).or_default() += 1,
            Outcome::Failed => {}
        }
    }
}
