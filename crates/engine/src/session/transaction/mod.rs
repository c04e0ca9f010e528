//! A transaction: one instant of the catalog, and what it has done and not committed.
//!
//! It keeps a catalog of its own, to which its commands are applied by the same pure function as to the real one, so that its
//! statements see what it has done; and the list of what it has done, for the commit to do it for all. What always holds:
//! - What a transaction writes are files nobody refers to until its commit, which is one command to the catalog for all of it.
//!   Files of a transaction that ends another way, or goes back to a savepoint, are removed.
//! - A commit that lost a race is made again on what the winner left, as long as that cannot lose what either has done;
//!   otherwise it fails with `40001`.
//! - Its own catalog is never seen by anybody else, and no plan that was made over it outlives it.

mod commit;
mod control;
mod group;
mod isolation;
mod reads;
mod savepoint;

use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{Answer, Command, Effect, Envelope, State, TableChange};
use wharf_lake::commit::{self as lake, Step, Uncommitted};
use wharf_values::{SqlError, SqlState};

use crate::engine::{Engine, now_us};
use crate::error::{from_catalog, from_lake};

pub(crate) use group::{Queues, append, same_shape};
pub(crate) use isolation::Isolation;
pub(crate) use reads::Reads;
pub(crate) use savepoint::Savepoint;

/// One thing that a transaction did.
struct Entry {
    operation: Operation,
    /// How it moved the head of its table; none for a definition that moves none.
    moved: Option<TableChange>,
    /// What was written for it, to be removed unless it is committed.
    written: Uncommitted,
}

enum Operation {
    /// Changes of a table; several once they have been made again.
    Steps { table: Uuid, steps: Vec<Step> },
    /// A command to the catalog, what it did, and the step of a table's metadata that goes with it.
    Define { command: Box<Command>, effect: Effect, step: Option<(Uuid, Step)> },
}

/// The open transaction of a session.
pub(crate) struct Transaction {
    /// Opened by BEGIN, as against the implicit one of several statements sent together.
    pub(crate) explicit: bool,
    /// An error happened: only its end is accepted.
    pub(crate) failed: bool,
    pub(crate) read_only: bool,
    pub(crate) isolation: Isolation,
    /// Accepted, and means nothing: nobody waits for a transaction that reads.
    pub(crate) deferrable: bool,
    /// When it began, in microseconds since 1970: `now()`.
    pub(crate) start_us: i64,
    /// The catalog at its first statement.
    base: Option<Arc<State>>,
    /// The same with what it has done since.
    catalog: Option<Arc<State>>,
    entries: Vec<Entry>,
    reads: Arc<Reads>,
    pub(crate) savepoints: Vec<Savepoint>,
}

impl Transaction {
    /// A transaction that begins now.
    pub(crate) fn new(explicit: bool) -> Self {
        Transaction {
            explicit,
            failed: false,
            read_only: false,
            isolation: Isolation::ReadCommitted,
            deferrable: false,
            start_us: now_us(),
            base: None,
            catalog: None,
            entries: Vec::new(),
            reads: Arc::default(),
            savepoints: Vec::new(),
        }
    }

    /// The catalog as it sees it; none before its first statement.
    pub(crate) fn catalog(&self) -> Option<&Arc<State>> {
        self.catalog.as_ref()
    }

    /// The instant that it sees from now on.
    pub(crate) fn begin_at(&mut self, catalog: Arc<State>) {
        self.base = Some(Arc::clone(&catalog));
        self.catalog = Some(catalog);
    }

    /// Where its statements have to note what they read; none where it does not matter.
    pub(crate) fn reads(&self) -> Option<&Arc<Reads>> {
        (self.isolation == Isolation::Serializable).then_some(&self.reads)
    }

    /// Is there nothing to commit?
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Do its statements need plans of their own, which are good for one execution?
    pub(crate) fn plans_anew(&self) -> bool {
        !self.entries.is_empty() || self.reads().is_some()
    }

    /// Does a step to a table, whose head is at the location as the statement sees it.
    ///
    /// # Errors
    /// `40001` when the step is over files that are not there any more, and what the lake says.
    pub(crate) async fn step(
        &mut self,
        engine: &Engine,
        table: Uuid,
        location: &str,
        step: Step,
    ) -> Result<(), SqlError> {
        let mut written = Uncommitted::new(&engine.warehouse);
        written.add_files(step.files());
        let location = self.head(table).unwrap_or_else(|| location.to_owned());
        let steps = vec![step];
        let new = make(engine, &location, &steps, &mut written).await?;
        if new == location {
            // Nothing to change, such as TRUNCATE of a table that never had rows.
            return Ok(());
        }
        let change = moved(table, location, new, &steps);
        if let Some(catalog) = &mut self.catalog {
            let (state, _) = apply(catalog, Command::CommitTables { changes: vec![change.clone()] })?;
            *catalog = state;
        }
        self.entries.push(Entry { operation: Operation::Steps { table, steps }, moved: Some(change), written });
        Ok(())
    }

    /// Applies a command, and with it a step of a table's metadata; `written` are the files it leads to.
    ///
    /// # Errors
    /// What the catalog answers.
    pub(crate) async fn define(
        &mut self,
        engine: &Engine,
        mut command: Command,
        step: Option<(Uuid, Step)>,
        mut written: Uncommitted,
    ) -> Result<Answer, SqlError> {
        if self.catalog.is_none() {
            self.begin_at(engine.instant().await?);
        }
        let Some(catalog) = &self.catalog else { return Err(SqlError::internal("a transaction without a catalog")) };
        let moved = match &step {
            Some((table, step)) => Some(change_for(engine, catalog, *table, step, &mut command, &mut written).await?),
            None => None,
        };
        let (state, answer) = apply(catalog, command.clone())?;
        if answer.effect != Effect::Nothing {
            self.catalog = Some(state);
            let operation = Operation::Define { command: Box::new(command), effect: answer.effect.clone(), step };
            self.entries.push(Entry { operation, moved, written });
        }
        Ok(answer)
    }

    /// Where the head of a table is after all it has done; none when it has done nothing to it.
    fn head(&self, table: Uuid) -> Option<String> {
        if let Some(row) = self.catalog.as_ref().and_then(|catalog| catalog.table_by_id(table)) {
            return Some(row.metadata_location.clone());
        }
        let mut moved = self.entries.iter().rev().filter_map(|entry| entry.moved.as_ref());
        moved.find(|change| change.id == table).map(|change| change.new.clone())
    }
}

/// Applies a command to a transaction's own catalog.
fn apply(state: &State, command: Command) -> Result<(Arc<State>, Answer), SqlError> {
    let envelope = Envelope { request_id: Uuid::new_v4(), now_ms: now_us() / 1000, command };
    let (state, answer) = wharf_catalog::apply(state, &envelope);
    let answer = answer.map_err(|error| from_catalog(&error))?;
    Ok((Arc::new(state), answer))
}

/// Makes steps over the head at a location; gives the new one.
async fn make(engine: &Engine, location: &str, steps: &[Step], written: &mut Uncommitted) -> Result<String, SqlError> {
    let base = engine.warehouse.load(location).await.map_err(|error| from_lake(&error))?;
    let made = lake::apply(&engine.warehouse, &base, steps, written).await;
    made.map_err(|error| from_lake(&error))?.ok_or_else(conflict)
}

/// Makes the step that goes with a command over the head that a catalog has, and puts the change into the command.
async fn change_for(
    engine: &Engine,
    catalog: &State,
    table: Uuid,
    step: &Step,
    command: &mut Command,
    written: &mut Uncommitted,
) -> Result<TableChange, SqlError> {
    let row = catalog.table_by_id(table).ok_or_else(|| dropped(table))?;
    let location = row.metadata_location.clone();
    let new = make(engine, &location, std::slice::from_ref(step), written).await?;
    let change = TableChange { columns: None, ..moved(table, location, new, std::slice::from_ref(step)) };
    if !command.set_change(change.clone()) {
        return Err(SqlError::internal("a command that has no change of a table"));
    }
    Ok(change)
}

/// The move of a head by steps.
fn moved(table: Uuid, expected: String, new: String, steps: &[Step]) -> TableChange {
    let columns = steps.iter().rev().find_map(|step| match step {
        Step::Edit(edit) => edit.columns().map(<[_]>::to_vec),
        _ => None,
    });
    TableChange { id: table, expected, new, columns }
}

fn dropped(table: Uuid) -> SqlError {
    from_catalog(&wharf_catalog::CatalogError::TableDropped { id: table })
}

/// `40001`
pub(crate) fn conflict() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_hint("Run the transaction again.")
}
