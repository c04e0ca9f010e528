//! The characteristics of a transaction: its level, whether it may write, whether it may be put off.
//!
//! All levels but SERIALIZABLE give the same, snapshot isolation, and SERIALIZABLE gives what its name says; see
//! `docs/transactions.md`.

use std::fmt;

use sqlparser::ast::{self, TransactionAccessMode, TransactionIsolationLevel, TransactionMode};
use wharf_values::{SqlError, SqlState};

use super::Transaction;
use crate::session::Session;
use crate::statement::Statement;
use crate::syntax::Own;

/// An isolation level as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// The level of a name.
    pub(crate) fn parse(name: &str) -> Option<Isolation> {
        Some(match name.to_lowercase().as_str() {
            "read uncommitted" => Isolation::ReadUncommitted,
            "read committed" => Isolation::ReadCommitted,
            "repeatable read" => Isolation::RepeatableRead,
            "serializable" => Isolation::Serializable,
            _ => return None,
        })
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        })
    }
}

/// One characteristic.
#[derive(Clone, Copy, Debug)]
enum Characteristic {
    Isolation(Isolation),
    ReadOnly(bool),
    Deferrable(bool),
}

fn characteristics(modes: &[TransactionMode], deferrable: Option<bool>) -> Result<Vec<Characteristic>, SqlError> {
    let mut found = Vec::new();
    for mode in modes {
        found.push(match mode {
            TransactionMode::AccessMode(mode) => {
                Characteristic::ReadOnly(matches!(mode, TransactionAccessMode::ReadOnly))
            }
            TransactionMode::IsolationLevel(level) => Characteristic::Isolation(match level {
                TransactionIsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
                TransactionIsolationLevel::ReadCommitted => Isolation::ReadCommitted,
                TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                TransactionIsolationLevel::Serializable => Isolation::Serializable,
                TransactionIsolationLevel::Snapshot => {
                    return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"SNAPSHOT\""));
                }
            }),
        });
    }
    found.extend(deferrable.map(Characteristic::Deferrable));
    Ok(found)
}

impl Transaction {
    /// Gives it its characteristics, as BEGIN and SET TRANSACTION name them.
    ///
    /// # Errors
    /// `25001` for what is too late, or cannot be after a savepoint.
    pub(in crate::session) fn set_modes(
        &mut self,
        modes: &[TransactionMode],
        deferrable: Option<bool>,
    ) -> Result<(), SqlError> {
        characteristics(modes, deferrable)?.into_iter().try_for_each(|one| self.set_characteristic(one))
    }

    fn set_characteristic(&mut self, one: Characteristic) -> Result<(), SqlError> {
        let (begun, nested) = (self.catalog.is_some(), !self.savepoints.is_empty());
        let refuse = |message: &str| Err(SqlError::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
        match one {
            Characteristic::Isolation(level) if level == self.isolation => {}
            Characteristic::Isolation(_) if begun => {
                return refuse("SET TRANSACTION ISOLATION LEVEL must be called before any query");
            }
            Characteristic::Isolation(_) if nested => {
                return refuse("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
            }
            Characteristic::Isolation(level) => self.isolation = level,
            Characteristic::ReadOnly(false) if self.read_only && nested => {
                return refuse("cannot set transaction read-write mode inside a read-only transaction");
            }
            Characteristic::ReadOnly(false) if self.read_only && begun => {
                return refuse("transaction read-write mode must be set before any query");
            }
            Characteristic::ReadOnly(read_only) => self.read_only = read_only,
            Characteristic::Deferrable(_) if nested => {
                return refuse("SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction");
            }
            Characteristic::Deferrable(_) if begun => {
                return refuse("SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
            }
            Characteristic::Deferrable(deferrable) => self.deferrable = deferrable,
        }
        Ok(())
    }

    /// The value that SHOW prints of one of its characteristics.
    pub(in crate::session) fn characteristic(&self, name: &str) -> Option<String> {
        let on = |on: bool| if on { "on" } else { "off" }.to_owned();
        Some(match name {
            "transaction_isolation" => self.isolation.to_string(),
            "transaction_read_only" => on(self.read_only),
            "transaction_deferrable" => on(self.deferrable),
            _ => return None,
        })
    }
}

impl Session {
    /// A transaction with the characteristics that the settings give.
    pub(in crate::session) fn new_transaction(&self, explicit: bool) -> Transaction {
        let isolation = self.settings.get("default_transaction_isolation").ok();
        Transaction {
            isolation: isolation.and_then(|name| Isolation::parse(&name)).unwrap_or(Isolation::ReadCommitted),
            read_only: self.settings.is_on("default_transaction_read_only"),
            deferrable: self.settings.is_on("default_transaction_deferrable"),
            ..Transaction::new(explicit)
        }
    }

    /// SET TRANSACTION, and SET SESSION CHARACTERISTICS.
    pub(in crate::session) fn set_transaction(
        &mut self,
        modes: &[TransactionMode],
        deferrable: Option<bool>,
        session: bool,
    ) -> Result<(), SqlError> {
        if modes.is_empty() && deferrable.is_none() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input"));
        }
        if session {
            for one in characteristics(modes, deferrable)? {
                let (name, value) = match one {
                    Characteristic::Isolation(level) => ("default_transaction_isolation", level.to_string()),
                    Characteristic::ReadOnly(on) => ("default_transaction_read_only", on.to_string()),
                    Characteristic::Deferrable(on) => ("default_transaction_deferrable", on.to_string()),
                };
                self.settings.set(name, &value)?;
            }
            return Ok(());
        }
        match &mut self.transaction {
            Some(transaction) => transaction.set_modes(modes, deferrable),
            None => {
                let message = "SET TRANSACTION can only be used in transaction blocks";
                self.notice("WARNING", SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message));
                Ok(())
            }
        }
    }

    /// `SET transaction_isolation = ..` and its kin, which are SET TRANSACTION by another name; false for other settings.
    /// Outside of a transaction they mean nothing.
    pub(in crate::session) fn set_characteristic(&mut self, name: &str, value: Option<&str>) -> Result<bool, SqlError> {
        let default = match name {
            "transaction_isolation" => "default_transaction_isolation",
            "transaction_read_only" => "default_transaction_read_only",
            "transaction_deferrable" => "default_transaction_deferrable",
            _ => return Ok(false),
        };
        let value = match value {
            Some(value) => self.settings.checked(name, value)?,
            None => self.settings.get(default)?,
        };
        let on = value == "on";
        let one = match name {
            "transaction_isolation" => Isolation::parse(&value).map(Characteristic::Isolation),
            "transaction_read_only" => Some(Characteristic::ReadOnly(on)),
            _ => Some(Characteristic::Deferrable(on)),
        };
        if let (Some(transaction), Some(one)) = (&mut self.transaction, one) {
            transaction.set_characteristic(one)?;
        }
        Ok(true)
    }

    /// Does a statement outside of a transaction need one of its own, in which what it reads is noted?
    pub(in crate::session) fn needs_transaction(&self, statement: &Statement) -> bool {
        // It is a definition and a load.
        if matches!(statement.own.as_deref(), Some(Own::FromFiles(_))) && self.transaction.is_none() {
            return true;
        }
        let statement = &*statement.ast;
        let writes = match statement {
            ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
            | ast::Statement::Merge(_) => true,
            ast::Statement::CreateTable(create) => create.query.is_some(),
            _ => false,
        };
        let serializable = Isolation::Serializable.to_string();
        writes
            && self.transaction.is_none()
            && self.settings.get("default_transaction_isolation").is_ok_and(|level| level == serializable)
    }
}
