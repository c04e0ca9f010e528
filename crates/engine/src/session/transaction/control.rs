//! BEGIN, COMMIT and ROLLBACK, and what a block refuses.

use sqlparser::ast::{self, Statement as Ast};
use wharf_values::{SqlError, SqlState};

use super::Transaction;
use crate::session::consistency::may_have_written;
use crate::session::{Outcome, Session};

impl Session {
    /// BEGIN and START TRANSACTION.
    pub(in crate::session) fn begin(
        &mut self,
        modes: &[ast::TransactionMode],
        deferrable: Option<bool>,
    ) -> Result<(), SqlError> {
        if self.transaction.as_ref().is_some_and(|transaction| transaction.explicit) {
            self.notice(
                "WARNING",
                SqlError::new(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"),
            );
            return Ok(());
        }
        // Statements sent together before BEGIN belong to the block.
        let mut transaction = self.transaction.take().unwrap_or_else(|| self.new_transaction(true));
        transaction.explicit = true;
        transaction.set_modes(modes, deferrable)?;
        self.settings_at_begin = Some(self.settings.clone());
        self.transaction = Some(transaction);
        Ok(())
    }

    /// COMMIT and END.
    pub(in crate::session) async fn commit_block(&mut self, chain: bool) -> Result<Outcome, SqlError> {
        let chained = self.chained(chain, "COMMIT AND CHAIN")?;
        let Some(transaction) = self.transaction.take() else {
            self.warn_of_no_transaction();
            return Ok(Outcome::Complete("COMMIT".to_owned()));
        };
        if !transaction.explicit {
            // What the statements before it in the same text wrote is committed all the same.
            self.warn_of_no_transaction();
        }
        if transaction.failed {
            self.transaction = Some(transaction);
            self.rollback_block(chain)?;
            return Ok(Outcome::Complete("ROLLBACK".to_owned()));
        }
        self.restore_local_settings();
        self.settings_at_begin = None;
        let span = self.span("commit");
        let writes = !transaction.is_empty();
        let result = transaction.commit(&self.engine).await;
        drop(span);
        self.has_written |= writes && may_have_written(&result);
        self.end_cursors(result.is_ok());
        result?;
        self.begin_chained(chained);
        Ok(Outcome::Complete("COMMIT".to_owned()))
    }

    /// ROLLBACK and ABORT.
    pub(in crate::session) fn rollback_block(&mut self, chain: bool) -> Result<(), SqlError> {
        let chained = self.chained(chain, "ROLLBACK AND CHAIN")?;
        if self.transaction.as_ref().is_some_and(|transaction| !transaction.explicit) {
            self.warn_of_no_transaction();
        }
        match self.transaction.take() {
            Some(_) => {
                self.end_cursors(false);
                self.local_settings.clear();
                if let Some(mut settings) = self.settings_at_begin.take() {
                    settings.version = self.settings.version + 1;
                    self.settings = settings;
                }
            }
            None => self.warn_of_no_transaction(),
        }
        self.begin_chained(chained);
        Ok(())
    }

    /// The transaction that AND CHAIN begins: of the same characteristics.
    fn chained(&self, chain: bool, statement: &str) -> Result<Option<Transaction>, SqlError> {
        if !chain {
            return Ok(None);
        }
        let open = self.transaction.as_ref().filter(|transaction| transaction.explicit).ok_or_else(|| {
            let message = format!("{statement} can only be used in transaction blocks");
            SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message)
        })?;
        let (read_only, isolation, deferrable) = (open.read_only, open.isolation, open.deferrable);
        Ok(Some(Transaction { read_only, isolation, deferrable, ..Transaction::new(true) }))
    }

    fn begin_chained(&mut self, chained: Option<Transaction>) {
        if let Some(chained) = chained {
            self.settings_at_begin = Some(self.settings.clone());
            self.transaction = Some(chained);
        }
    }

    fn warn_of_no_transaction(&mut self) {
        self.notice(
            "WARNING",
            SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"),
        );
    }

    fn restore_local_settings(&mut self) {
        for (name, value) in std::mem::take(&mut self.local_settings).into_iter().rev() {
            // The value was in force before, so it is accepted.
            let _ = self.settings.set(&name, &value);
        }
    }

    /// Refuses what cannot be undone, in a block and among several statements of one text.
    pub(in crate::session) fn refuse_in_transaction(&self, statement: &Ast) -> Result<(), SqlError> {
        let name = match statement {
            Ast::Vacuum(_) => "VACUUM",
            Ast::CreateDatabase { .. } => "CREATE DATABASE",
            Ast::Drop { object_type: ast::ObjectType::Database, .. } => "DROP DATABASE",
            Ast::CreateIndex(create) if create.concurrently => "CREATE INDEX CONCURRENTLY",
            Ast::Discard { object_type: ast::DiscardObject::ALL } => "DISCARD ALL",
            _ => return Ok(()),
        };
        if self.transaction.is_none() {
            return Ok(());
        }
        let message = format!("{name} cannot run inside a transaction block");
        Err(SqlError::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
    }
}
