//! TRUNCATE: tables without rows, all of them in one commit.

use std::sync::Arc;

use sqlparser::ast;
use wharf_catalog::Relation;
use wharf_lake::commit::Step;
use wharf_values::{SqlError, SqlState};

use crate::names::{find_relation, refused_of_foreign};
use crate::session::{Session, Transaction};

/// Empties the tables.
///
/// # Errors
/// `42P01`, `42809` for a view, `40001` when a table changes meanwhile.
pub(crate) async fn run(session: &mut Session, truncate: &ast::Truncate) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(Arc::clone(&catalog));
    let mut tables = Vec::new();
    for target in &truncate.table_names {
        match find_relation(&target.name, &context) {
            Ok(Relation::Table(table)) => tables.push(table),
            Ok(Relation::View(view)) => {
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", view.name)));
            }
            Ok(Relation::Foreign(table)) => {
                return Err(refused_of_foreign(format!("cannot truncate foreign table \"{}\"", table.name)));
            }
            Err(_) if truncate.if_exists => {}
            Err(error) => return Err(error),
        }
    }
    let nothing = session.on_write_branch(Step::Replace(Vec::new()));
    let nothing = || nothing.clone();
    let engine = Arc::clone(&session.engine);
    match &mut session.transaction {
        Some(transaction) => {
            for table in tables {
                transaction.step(&engine, table.id, &table.metadata_location, nothing()).await?;
            }
            Ok(())
        }
        None => {
            let mut transaction = Transaction::new(false);
            for table in tables {
                transaction.step(&engine, table.id, &table.metadata_location, nothing()).await?;
            }
            transaction.commit(&engine).await
        }
    }
}
