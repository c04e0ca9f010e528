//! ALTER TABLE of columns and constraints: several changes in one statement, whole or not at all.
//!
//! What always holds: the changes are made in PostgreSQL's order (what is dropped first, constraints last) on a draft of the
//! table; when all of them are possible, the rows are looked at or written again where that is needed, and one commit changes
//! schema, rows and the catalog's row. Rows are those of every branch, since a branch has the table's columns. Data files are written
//! again only where Iceberg cannot say the change: see docs/decisions/0009-schema-evolution.md and 0019-rows-of-branches.md.

mod actions;
mod draft;
mod rows;
mod views;

use std::sync::Arc;

use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation};
use wharf_catalog::{Relation, RelationKind, Table};
use wharf_lake::{LakeTable, Unproven};
use wharf_values::{SqlError, SqlState};

use crate::names::find_relation;
use crate::session::Session;
use draft::Draft;

/// Is it one of these changes?
pub(super) fn is_change(operation: &AlterTableOperation) -> bool {
    matches!(
        operation,
        AlterTableOperation::AddColumn { .. }
            | AlterTableOperation::DropColumn { .. }
            | AlterTableOperation::AlterColumn { .. }
            | AlterTableOperation::AddConstraint { .. }
            | AlterTableOperation::DropConstraint { .. }
            | AlterTableOperation::RenameConstraint { .. }
            | AlterTableOperation::ValidateConstraint { .. }
            | AlterTableOperation::RenameColumn { .. }
    )
}

/// PostgreSQL's order of changes.
fn pass(operation: &AlterTableOperation) -> u8 {
    match operation {
        AlterTableOperation::DropColumn { .. } | AlterTableOperation::DropConstraint { .. } => 0,
        AlterTableOperation::AlterColumn { op: AlterColumnOperation::SetDataType { .. }, .. } => 1,
        AlterTableOperation::AddColumn { .. } => 2,
        AlterTableOperation::AlterColumn { .. } => 3,
        AlterTableOperation::AddConstraint { constraint, .. } => match constraint {
            ast::TableConstraint::Check(_) => 4,
            ast::TableConstraint::ForeignKey(_) => 6,
            _ => 5,
        },
        _ => 7,
    }
}

/// Makes the changes. Outside of a transaction a statement that lost a race is made anew on what the winner left.
///
/// # Errors
/// What PostgreSQL raises, and `40001`.
pub(super) async fn run(session: &mut Session, alter: &ast::AlterTable) -> Result<(), SqlError> {
    let mut operations: Vec<&AlterTableOperation> = alter.operations.iter().collect();
    operations.sort_by_key(|operation| pass(operation));
    let mut attempts = match session.transaction {
        Some(_) => 1,
        None => session.engine.options.commit_attempts.max(1),
    };
    loop {
        attempts -= 1;
        match once(session, alter, &operations).await {
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE && attempts > 0 => {}
            result => return result,
        }
    }
}

/// Holds the rows of a snapshot of a table, as a branch would have them, against what is not known of them.
///
/// # Errors
/// `23502`, `23514`, and what reading them raises.
pub(super) async fn hold(
    session: &mut Session,
    table: &Arc<Table>,
    state: &Arc<LakeTable>,
    unproven: &Unproven,
) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let mut draft = Draft::new(session, Arc::clone(table), context).await?;
    draft.required.clone_from(&unproven.required);
    draft.checks.extend(unproven.checks.keys().cloned());
    draft.verify(session, &draft.new_table(), state).await
}

async fn once(
    session: &mut Session,
    alter: &ast::AlterTable,
    operations: &[&AlterTableOperation],
) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let table = match find_relation(&alter.name, &context) {
        Ok(Relation::Table(table)) => table,
        Ok(Relation::View(view)) => return Err(only_for_tables(&view.name, "views", operations)),
        Ok(Relation::Foreign(table)) => return Err(only_for_tables(&table.name, "foreign tables", operations)),
        Err(error) if alter.if_exists => {
            session.notice("NOTICE", SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("{error}, skipping")));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut draft = Draft::new(session, Arc::clone(&table), context).await?;
    for operation in operations {
        draft.change(session, operation).await?;
    }
    draft.commit(session).await
}

/// What a statement would do to a relation of another kind, whose plural is `kinds`.
fn only_for_tables(name: &str, kinds: &str, operations: &[&AlterTableOperation]) -> SqlError {
    let action = match operations.first() {
        Some(AlterTableOperation::AddColumn { .. }) => "ADD COLUMN",
        Some(AlterTableOperation::DropColumn { .. }) => "DROP COLUMN",
        Some(AlterTableOperation::AddConstraint { .. }) => "ADD CONSTRAINT",
        Some(AlterTableOperation::DropConstraint { .. }) => "DROP CONSTRAINT",
        Some(AlterTableOperation::ValidateConstraint { .. }) => "VALIDATE CONSTRAINT",
        // Of a view, columns can be renamed.
        Some(AlterTableOperation::RenameColumn { .. }) if kinds != "views" => "RENAME COLUMN",
        Some(AlterTableOperation::AlterColumn { op, .. }) => match op {
            AlterColumnOperation::SetNotNull => "ALTER COLUMN ... SET NOT NULL",
            AlterColumnOperation::DropNotNull => "ALTER COLUMN ... DROP NOT NULL",
            AlterColumnOperation::SetDataType { .. } => "ALTER COLUMN ... SET DATA TYPE",
            _ if kinds != "views" => "ALTER COLUMN",
            _ => {
                return SqlError::unsupported(format!("defaults of view \"{name}\" are not supported"))
                    .with_hint("Give the default to the table's column.");
            }
        },
        _ => {
            let message = format!("\"{name}\" is not a {}", RelationKind::Table.noun());
            return SqlError::new(SqlState::WRONG_OBJECT_TYPE, message);
        }
    };
    let message = format!("ALTER action {action} cannot be performed on relation \"{name}\"");
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
        .with_detail(format!("This operation is not supported for {kinds}."))
}
