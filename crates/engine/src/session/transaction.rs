//! A transaction: one instant of the catalog, and what it has written and not committed.
//!
//! What always holds: what a transaction writes are files nobody refers to until its commit, which is one command to the
//! catalog for all tables at once. Changes that lost a race are applied again on the new head: appends always, rewritten
//! files as long as nobody else has rewritten them. Anything else fails with `40001`. Files of a transaction that ends
//! another way are removed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, State, TableChange};
use wharf_lake::WrittenFile;
use wharf_lake::commit::{self, Uncommitted};
use wharf_values::{SqlError, SqlState};

use crate::engine::{Engine, now_us};
use crate::error::{from_catalog, from_lake};

/// What one transaction did to one table.
pub(crate) struct Change {
    /// The metadata the catalog must still have at the commit.
    expected: String,
    /// The metadata with this transaction's changes.
    current: String,
    /// Files written since `expected` that are in `current`, for applying the change again on another head.
    appended: Vec<WrittenFile>,
    /// The locations of the files of `expected` that are not in `current` any more.
    removed: HashSet<String>,
    /// The old rows are gone (TRUNCATE): not to be applied again on another head.
    replaced: bool,
    /// Everything written for this, to be removed unless it is committed.
    written: Uncommitted,
}

/// What happens to the files that a table has.
enum Fate {
    Stay,
    /// Those at these locations go.
    Go(HashSet<String>),
    AllGo,
}

/// The open transaction of a session.
pub(crate) struct Transaction {
    /// Opened by BEGIN, as against the implicit one of several statements sent together.
    pub(crate) explicit: bool,
    /// An error happened: only its end is accepted.
    pub(crate) failed: bool,
    pub(crate) read_only: bool,
    /// The level that was asked for; what is given is never less than repeatable read.
    pub(crate) isolation: String,
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
            isolation: "read committed".to_owned(),
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
        fate: Fate,
    ) -> Result<(), SqlError> {
        let (expected, current) = match self.changes.get(&id) {
            Some(change) => (change.expected.clone(), change.current.clone()),
            None => (location.to_owned(), location.to_owned()),
        };
        let warehouse = &engine.warehouse;
        let mut written = Uncommitted::new(warehouse);
        written.add_files(&files);
        let base = warehouse.load(&current).await.map_err(|error| from_lake(&error))?;
        let new = match &fate {
            Fate::Stay => commit::append(warehouse, &base, files.clone()).await,
            Fate::AllGo => commit::replace(warehouse, &base, files.clone()).await,
            Fate::Go(removed) => match commit::overwrite(warehouse, &base, removed, files.clone()).await {
                Ok(Some(new)) => Ok(new),
                Ok(None) => return Err(conflict()),
                Err(error) => Err(error),
            },
        }
        .map_err(|error| from_lake(&error))?;
        if new == current {
            // Nothing to change, such as TRUNCATE of a table that never had rows.
            return Ok(());
        }
        written.add_state(&new);
        let change = self.changes.entry(id).or_insert_with(|| Change {
            expected,
            current: String::new(),
            appended: Vec::new(),
            removed: HashSet::new(),
            replaced: false,
            written: Uncommitted::new(warehouse),
        });
        change.written.absorb(written);
        change.current = new;
        match fate {
            Fate::Stay => {}
            Fate::AllGo => {
                change.appended.clear();
                change.removed.clear();
                change.replaced = true;
            }
            Fate::Go(mut removed) => {
                // Files of this transaction's own never were in the base.
                change.appended.retain(|file| !removed.remove(file.location()));
                change.removed.extend(removed);
            }
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
        self.change(engine, id, location, files, Fate::Stay).await
    }

    /// Puts files in the place of others, which are known by their locations.
    ///
    /// # Errors
    /// `40001` when one of those is not there any more.
    pub(crate) async fn overwrite(
        &mut self,
        engine: &Engine,
        id: Uuid,
        location: &str,
        removed: HashSet<String>,
        files: Vec<WrittenFile>,
    ) -> Result<(), SqlError> {
        self.change(engine, id, location, files, Fate::Go(removed)).await
    }

    /// Empties a table.
    pub(crate) async fn truncate(&mut self, engine: &Engine, id: Uuid, location: &str) -> Result<(), SqlError> {
        self.change(engine, id, location, Vec::new(), Fate::AllGo).await
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
            self.set_in_doubt(true);
            let Err(refused) = engine.try_propose(Command::CommitTables { changes }).await? else {
                return Ok(());
            };
            self.set_in_doubt(false);
            match refused {
                CatalogError::CommitConflict { .. } => self.rebase(engine, attempt).await?,
                other => return Err(from_catalog(&other)),
            }
        }
        Err(conflict().with_detail("Other transactions kept changing the same table."))
    }

    fn set_in_doubt(&mut self, in_doubt: bool) {
        self.changes.values_mut().for_each(|change| change.written.set_in_doubt(in_doubt));
    }

    /// Applies the changes again on the tables' new heads.
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
            let files = change.appended.clone();
            let applied = match change.removed.is_empty() {
                true => commit::append(&engine.warehouse, &base, files).await.map(Some),
                false => commit::overwrite(&engine.warehouse, &base, &change.removed, files).await,
            };
            change.current = applied.map_err(|error| from_lake(&error))?.ok_or_else(conflict)?;
            // The states over the old head go, and the files that only they have.
            let mut written = Uncommitted::new(&engine.warehouse);
            written.add_files(&change.appended);
            written.add_state(&change.current);
            change.written.let_go(&change.appended);
            change.written = written;
            change.expected.clone_from(&table.metadata_location);
        }
        Ok(())
    }
}

fn conflict() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_hint("Run the transaction again.")
}
