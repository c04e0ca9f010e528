//! ALTER TABLE and ALTER SCHEMA: renaming.

use sqlparser::ast::{self, AlterSchemaOperation, AlterTableOperation, RenameTableNameKind};
use wharf_catalog::{Command, RelationKind};
use wharf_values::SqlError;

use super::propose;
use crate::bind::names::last_part;
use crate::names::{existing_relation_name, find_relation};
use crate::session::Session;

pub(super) async fn table(session: &mut Session, alter: &ast::AlterTable) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let database = session.identity.database;
    let name = existing_relation_name(&alter.name, &context)?;
    // PostgreSQL's ALTER TABLE renames views too.
    let kind = match find_relation(&alter.name, &context) {
        Ok(relation) => relation.kind(),
        Err(_) => RelationKind::Table,
    };
    let [operation] = alter.operations.as_slice() else {
        return Err(SqlError::unsupported("several changes in one ALTER TABLE are not supported"));
    };
    let command = match operation {
        AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(new) | RenameTableNameKind::As(new),
        } => Command::RenameRelation { database, kind, name, new_name: last_part(new), if_exists: alter.if_exists },
        AlterTableOperation::OwnerTo { .. } => return Ok(()),
        other => {
            return Err(SqlError::unsupported(format!("ALTER TABLE .. {other} is not supported yet"))
                .with_hint("Make a new table with CREATE TABLE AS and rename it."));
        }
    };
    propose(session, command).await.map(drop)
}

pub(super) async fn schema(session: &mut Session, alter: &ast::AlterSchema) -> Result<(), SqlError> {
    let [AlterSchemaOperation::Rename { name: new }] = alter.operations.as_slice() else {
        return Err(SqlError::unsupported("this form of ALTER SCHEMA is not supported"));
    };
    let command = Command::RenameSchema {
        database: session.identity.database,
        name: last_part(&alter.name),
        new_name: last_part(new),
    };
    propose(session, command).await.map(drop)
}
