//! SAVEPOINT, ROLLBACK TO and RELEASE: places in a transaction to go back to.
//!
//! A savepoint is the length of the list of what was done, and the transaction's catalog at that time, of which a clone costs
//! nothing.

use std::collections::HashSet;
use std::sync::Arc;

use wharf_catalog::State;
use wharf_values::{SqlError, SqlState};

use super::Transaction;
use crate::session::Session;
use crate::settings::Settings;

/// The most savepoints a transaction may have.
const MAX_SAVEPOINTS: usize = 10_000;

/// A place in a transaction to go back to.
pub(crate) struct Savepoint {
    name: String,
    entries: usize,
    /// None when no statement had run yet.
    catalog: Option<Arc<State>>,
    read_only: bool,
    settings: Settings,
    local_settings: usize,
    cursors: HashSet<String>,
}

impl Session {
    /// SAVEPOINT. One of the same name stays, hidden behind the new one.
    pub(in crate::session) fn savepoint(&mut self, name: String) -> Result<(), SqlError> {
        let (settings, local_settings) = (self.settings.clone(), self.local_settings.len());
        let cursors = self.cursors.keys().cloned().collect();
        let transaction = self.block("SAVEPOINT")?;
        if transaction.savepoints.len() >= MAX_SAVEPOINTS {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many savepoints")
                .with_detail(format!("A transaction may have {MAX_SAVEPOINTS}."))
                .with_hint("Release those that are not needed any more."));
        }
        transaction.savepoints.push(Savepoint {
            name,
            entries: transaction.entries.len(),
            catalog: transaction.catalog.clone(),
            read_only: transaction.read_only,
            settings,
            local_settings,
            cursors,
        });
        Ok(())
    }

    /// RELEASE: the savepoint and those after it are forgotten, what was done stays.
    pub(in crate::session) fn release_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let transaction = self.block("RELEASE SAVEPOINT")?;
        let at = transaction.find(name)?;
        transaction.savepoints.truncate(at);
        Ok(())
    }

    /// ROLLBACK TO: what was done since the savepoint is undone, and it stays. The way out of a failed block, too.
    pub(in crate::session) fn rollback_to_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let transaction = self.block("ROLLBACK TO SAVEPOINT")?;
        let at = transaction.find(name)?;
        transaction.savepoints.truncate(at + 1);
        transaction.failed = false;
        let savepoint = &transaction.savepoints[at];
        // The instant that a later statement chose stays that of the transaction.
        transaction.catalog = savepoint.catalog.clone().or_else(|| transaction.base.clone());
        transaction.read_only = savepoint.read_only;
        transaction.entries.truncate(savepoint.entries);
        let (mut settings, local_settings) = (savepoint.settings.clone(), savepoint.local_settings);
        let cursors = savepoint.cursors.clone();
        settings.version = self.settings.version + 1;
        self.settings = settings;
        self.local_settings.truncate(local_settings);
        self.cursors.retain(|name, cursor| cursor.kept || cursors.contains(name));
        Ok(())
    }

    fn block(&mut self, statement: &str) -> Result<&mut Transaction, SqlError> {
        self.transaction.as_mut().filter(|transaction| transaction.explicit).ok_or_else(|| {
            let message = format!("{statement} can only be used in transaction blocks");
            SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message)
        })
    }
}

impl Transaction {
    /// The place of the latest savepoint of a name.
    fn find(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(SqlState::S_E_INVALID_SPECIFICATION, format!("savepoint \"{name}\" does not exist"))
        })
    }
}
