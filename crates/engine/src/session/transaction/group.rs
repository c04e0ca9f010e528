//! Group commit: the rows that many connections append to one table at the same time become one snapshot.
//!
//! Each writes its data files itself, and then waits in the table's queue. Who finds no one at work there starts the task that
//! takes all that waits, again and again until nobody does: alone a write is as fast as without a queue, and while one commit
//! is on its way the next gathers. What always holds:
//! - An answer means the same as without: the rows are in the catalog, or they are not and their files are removed.
//! - Rows that cannot be committed do not take others with them.
//! - Who does not wait any more (cancelled, disconnected) before its turn has written nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;
use wharf_catalog::{Column, Table};
use wharf_lake::WrittenFile;
use wharf_lake::commit::{Step, Uncommitted};
use wharf_values::{SqlError, SqlState};

use super::{Entry, Operation, Transaction, conflict, dropped, make, moved};
use crate::engine::Engine;

/// The most writes that may wait for one table.
const MAX_WAITING: usize = 4096;
/// The most writes that are committed together.
const MAX_TOGETHER: usize = 512;

/// The writes that wait, by table. A table is here as long as somebody is at work on it.
#[derive(Default)]
pub(crate) struct Queues {
    tables: Mutex<HashMap<Uuid, VecDeque<Waiting>>>,
}

/// A write that waits for its commit.
struct Waiting {
    /// The table its rows were made for.
    table: Arc<Table>,
    files: Vec<WrittenFile>,
    /// The same, to be removed unless they are committed.
    written: Uncommitted,
    answer: oneshot::Sender<Result<(), SqlError>>,
}

/// Adds files to a table, together with what others add.
///
/// # Errors
/// `40001` when the table's definition is another than the rows were made for, `42P01` when it was dropped, `53400` when too many
/// wait, `08007` when nobody knows what became of it, and what the lake and the catalog say.
pub(crate) async fn append(engine: &Arc<Engine>, table: &Arc<Table>, files: Vec<WrittenFile>) -> Result<(), SqlError> {
    let mut written = Uncommitted::new(&engine.warehouse);
    written.add_files(&files);
    let (answer, answered) = oneshot::channel();
    let begins = {
        let mut tables = engine.appends.tables.lock();
        let begins = !tables.contains_key(&table.id);
        let queue = tables.entry(table.id).or_default();
        if queue.len() >= MAX_WAITING {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("too many writes wait for table \"{}\"", table.name),
            )
            .with_detail(format!("At most {MAX_WAITING} may wait."))
            .with_hint("Write more rows with each statement, or use COPY."));
        }
        queue.push_back(Waiting { table: Arc::clone(table), files, written, answer });
        begins
    };
    if begins {
        // A task of its own: who started it may be cancelled while others wait for it.
        let work = Work { engine: Arc::clone(engine), table: table.id };
        tokio::spawn(async move { work.run().await });
    }
    // The task has panicked, or the process ends: the catalog may have its command already.
    answered.await.unwrap_or_else(|_| {
        Err(SqlError::new(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "the commit ended without an answer")
            .with_detail("It may still be applied."))
    })
}

/// The one at work on a table.
struct Work {
    engine: Arc<Engine>,
    table: Uuid,
}

impl Work {
    async fn run(&self) {
        while let Some(waiting) = self.take() {
            self.commit(waiting).await;
        }
    }

    /// All that waits, up to a limit; none when nobody does, and then this is over.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut tables = self.engine.appends.tables.lock();
        let queue = tables.get_mut(&self.table)?;
        if queue.is_empty() {
            tables.remove(&self.table);
            return None;
        }
        let count = queue.len().min(MAX_TOGETHER);
        Some(queue.drain(..count).collect())
    }

    async fn commit(&self, mut waiting: Vec<Waiting>) {
        waiting.retain(|one| !one.answer.is_closed());
        self.engine.external_turns.wait(self.table).await;
        // Held to the end: the manifests of this head are read.
        let instant = match self.engine.instant().await {
            Ok(instant) => instant,
            Err(error) => return answer(waiting, &Err(error)),
        };
        let Some(head) = instant.table_by_id(self.table).cloned() else {
            return answer(waiting, &Err(dropped(self.table)));
        };
        let (waiting, others) = waiting.into_iter().partition(|one: &Waiting| same_shape(&head, &one.table));
        let changed = || conflict().with_detail("The table's definition was changed while rows were written to it.");
        answer(others, &Err(changed()));
        self.together(&head, waiting).await;
    }

    /// Commits writes as one; where that cannot be begun, each by itself.
    async fn together(&self, head: &Table, mut waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let files = waiting.iter().flat_map(|one| one.files.iter().cloned()).collect();
        let steps = vec![Step::Append(files)];
        let mut written = Uncommitted::new(&self.engine.warehouse);
        let location = &head.metadata_location;
        let new = match make(&self.engine, location, &steps, &mut written).await {
            Ok(new) => new,
            Err(error) if waiting.len() == 1 => return answer(waiting, &Err(error)),
            Err(_) => {
                for one in waiting {
                    Box::pin(self.commit(vec![one])).await;
                }
                return;
            }
        };
        for one in &mut waiting {
            let nothing = Uncommitted::new(&self.engine.warehouse);
            written.absorb(std::mem::replace(&mut one.written, nothing));
        }
        let change = moved(self.table, location.clone(), new, &steps);
        let operation = Operation::Steps { table: self.table, steps };
        let mut transaction = Transaction::new(false);
        transaction.entries.push(Entry { operation, moved: Some(change), written });
        let result = transaction.commit(&self.engine).await;
        answer(waiting, &result);
    }
}

impl Drop for Work {
    /// After a panic nobody is at work, and those who wait are told.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.engine.appends.tables.lock().remove(&self.table);
        }
    }
}

fn answer(waiting: Vec<Waiting>, result: &Result<(), SqlError>) {
    for one in waiting {
        // Who has gone meanwhile does not hear it.
        let _ = one.answer.send(result.clone());
    }
}

/// Are rows of the one rows of the other?
pub(crate) fn same_shape(one: &Table, other: &Table) -> bool {
    let alike = |(a, b): (&Column, &Column)| a.field_id == b.field_id && a.ty == b.ty && a.nullable == b.nullable;
    one.constraints == other.constraints
        && one.columns.len() == other.columns.len()
        && one.columns.iter().zip(&other.columns).all(alike)
}
