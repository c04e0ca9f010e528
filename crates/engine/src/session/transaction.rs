//! A transaction: one instant of the catalog, and what it has written and not committed.
//!
//! What always holds: what a transaction writes are files nobody refers to until its commit, which is one command to the
//! catalog for all tables at once. Appends that lost a race are applied again on the new head; anything else fails with
//! `40001`.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, State, TableChange};
use wharf_lake::{WrittenFile, commit};
use wharf_values::{SqlError, SqlState};

use crate::engine::{Engine, now_us};
use crate::error::{from_catalog, from_lake};

/// What one transaction did to one table.
#[derive(Clone)]
pub(crate) struct Change {
    /// The metadata the catalog must still have at the commit.
    expected: String,
    /// The metadata with this transaction's changes.
    current: String,
    /// Files appended since `expected`, for applying them again on another head.
    appended: Vec<WrittenFile>,
    /// The old rows are gone (TRUNCATE): not to be applied again on another head.
    replaced: bool,
}

/// The open transaction of a session.
pub(crate) struct Transaction {
    /// Opened by BEGIN, as against the implicit one of several statements sent together.
    pub(crate) explicit: bool,
    /// An error happened: only its end is accepted.
    pub(crate) failed: bool,
    pub(crate) read_only: bool,
    /// When it began, in microseconds since 1970: `now()`.
    pub(crate) start_us: i64,
    /// The catalog at its first statement.
    pub(crate) catalog: Option<Arc<State>>,
    changes: HashMap<Uuid, Change>,
}

impl Transaction {
    /// A transaction that begins now.
    pub(crate) fn new(explicit: bool) -> Self {
        Transaction {
            explicit,
            failed: false,
            read_only: false,
            start_us: now_us(),
            catalog: None,
            changes: HashMap::new(),
        }
    }

    /// The metadata this transaction has written, by table.
    pub(crate) fn uncommitted(&self) -> HashMap<Uuid, String> {
        self.changes.iter().map(|(id, change)| (*id, change.current.clone())).collect()
    }

    /// Has anything been written?
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes a table's changes up to now; its own name for the metadata is what later statements read.
    async fn change(
        &mut self,
        engine: &Engine,
        id: Uuid,
        location: &str,
        files: Vec<WrittenFile>,
        replace: bool,
    ) -> Result<(), SqlError> {
        let (expected, current) = match self.changes.get(&id) {
            Some(change) => (change.expected.clone(), change.current.clone()),
            None => (location.to_owned(), location.to_owned()),
        };
        let base = engine.warehouse.load(&current).await.map_err(|error| from_lake(&error))?;
        let new = if replace {
            commit::replace(&engine.warehouse, &base, files.clone()).await
        } else {
            commit::append(&engine.warehouse, &base, files.clone()).await
        }
        .map_err(|error| from_lake(&error))?;
        if new == current {
            // Nothing to change, such as TRUNCATE of a table that never had rows.
            return Ok(());
        }
        let change = self.changes.entry(id).or_insert_with(|| Change {
            expected,
            current: String::new(),
            appended: Vec::new(),
            replaced: false,
        });
        change.current = new;
        if replace {
            change.appended.clear();
            change.replaced = true;
        }
        change.appended.extend(files);
        Ok(())
    }

    /// Adds files to a table.
    pub(crate) async fn append(
        &mut self,
        engine: &Engine,
        id: Uuid,
        location: &str,
        files: Vec<WrittenFile>,
    ) -> Result<(), SqlError> {
        self.change(engine, id, location, files, false).await
    }

    /// Empties a table.
    pub(crate) async fn truncate(&mut self, engine: &Engine, id: Uuid, location: &str) -> Result<(), SqlError> {
        self.change(engine, id, location, Vec::new(), true).await
    }

    /// Makes everything count, in one command.
    ///
    /// # Errors
    /// `40001` when another transaction changed what this one replaced, `42P01` when a table was dropped.
    pub(crate) async fn commit(mut self, engine: &Engine) -> Result<(), SqlError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        for attempt in 0..engine.options.commit_attempts.max(1) {
            let changes = self
                .changes
                .iter()
                .map(|(id, change)| TableChange {
                    id: *id,
                    expected: change.expected.clone(),
                    new: change.current.clone(),
                })
                .collect();
            match engine.try_propose(Command::CommitTables { changes }).await? {
                Ok(_) => return Ok(()),
                Err(CatalogError::CommitConflict { .. }) => self.rebase(engine, attempt).await?,
                Err(other) => return Err(from_catalog(&other)),
            }
        }
        Err(conflict().with_detail("Other transactions kept changing the same table."))
    }

    /// Applies the appends again on the tables' new heads.
    async fn rebase(&mut self, engine: &Engine, attempt: usize) -> Result<(), SqlError> {
        if attempt > 2 {
            // Spread writers that keep meeting; bounded, and different for each.
            let spread = (Uuid::new_v4().as_u128() % 20) as u64;
            tokio::time::sleep(std::time::Duration::from_millis(spread)).await;
        }
        let catalog = engine.catalog().await?;
        for (id, change) in &mut self.changes {
            let Some(table) = catalog.table_by_id(*id) else {
                return Err(from_catalog(&CatalogError::TableDropped { id: *id }));
            };
            if table.metadata_location == change.expected {
                continue;
            }
            if change.replaced {
                return Err(conflict());
            }
            let base = engine.warehouse.load(&table.metadata_location).await.map_err(|error| from_lake(&error))?;
            change.current = commit::append(&engine.warehouse, &base, change.appended.clone())
                .await
                .map_err(|error| from_lake(&error))?;
            change.expected.clone_from(&table.metadata_location);
        }
        Ok(())
    }
}

fn conflict() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_hint("Run the transaction again.")
}
