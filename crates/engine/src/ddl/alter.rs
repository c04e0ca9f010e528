//! ALTER TABLE, ALTER VIEW and ALTER SCHEMA: renaming, and owners.

use sqlparser::ast::{self, AlterSchemaOperation, AlterTableOperation, RenameTableNameKind};
use uuid::Uuid;
use wharf_catalog::{Command, Relation, RelationKind, RelationName, State};
use wharf_lake::commit::{Edit, Step};
use wharf_values::{SqlError, SqlState};

use super::alter_table;
use super::rename::{self, Renamed};
use super::{propose, propose_change};
use crate::bind::names::{fold, last_part};
use crate::names::{existing_relation_name, find_relation};
use crate::session::Session;
use crate::syntax::Clauses;

pub(super) async fn table(session: &mut Session, alter: &ast::AlterTable, clauses: Clauses) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = existing_relation_name(&alter.name, &context)?;
    let is_view = matches!(find_relation(&alter.name, &context), Ok(Relation::View(_)));
    let of_table = |operation: &AlterTableOperation| {
        alter_table::is_change(operation) && !(is_view && matches!(operation, AlterTableOperation::RenameColumn { .. }))
    };
    if !alter.operations.is_empty() && alter.operations.iter().all(of_table) && !(clauses.alter_view && is_view) {
        return alter_table::run(session, alter).await;
    }
    let [operation] = alter.operations.as_slice() else {
        return Err(SqlError::unsupported("several changes in one ALTER TABLE are not supported")
            .with_hint("Make them one after the other, in a transaction."));
    };
    let found = find_relation(&alter.name, &context).ok();
    // ALTER TABLE does views too; ALTER VIEW does nothing but views.
    let kind = match (&found, clauses.alter_view) {
        (_, true) => RelationKind::View,
        _ if clauses.foreign => RelationKind::Foreign,
        (Some(relation), false) => relation.kind(),
        (None, false) => RelationKind::Table,
    };
    match operation {
        AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(new) | RenameTableNameKind::As(new),
        } => {
            let new_name = last_part(new);
            if clauses.set_schema {
                return move_to(session, found.as_ref(), kind, name, new_name, alter.if_exists).await;
            }
            let views = match &found {
                Some(relation) => {
                    let renamed = Renamed::Relation { old: name.clone(), new: new_name.clone() };
                    rename::views(&context.catalog, [relation.oid()], &renamed)?
                }
                None => Vec::new(),
            };
            let command = Command::RenameRelation {
                database: session.identity.database,
                kind,
                name,
                new_name,
                if_exists: alter.if_exists,
                views,
            };
            propose(session, command).await.map(drop)
        }
        // Of a table too, whichever of the two statements it is.
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            column(session, name, fold(old_column_name), fold(new_column_name), alter.if_exists).await
        }
        AlterTableOperation::OwnerTo { new_owner } => owner(session, found.as_ref(), &name, new_owner).await,
        other => {
            let words: Vec<String> = other.to_string().split_whitespace().take(2).map(str::to_owned).collect();
            Err(SqlError::unsupported(format!("ALTER TABLE .. {} is not supported yet", words.join(" ")))
                .with_hint("Make a new table with CREATE TABLE AS and rename it."))
        }
    }
}

/// SET SCHEMA.
async fn move_to(
    session: &mut Session,
    relation: Option<&Relation>,
    kind: RelationKind,
    name: RelationName,
    schema: String,
    if_exists: bool,
) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let views = match relation {
        Some(relation) => {
            let renamed = Renamed::Moved { old: name.clone(), schema: schema.clone() };
            rename::views(&catalog, [relation.oid()], &renamed)?
        }
        None => Vec::new(),
    };
    let command = Command::MoveRelation { database: session.identity.database, kind, name, schema, if_exists, views };
    propose(session, command).await.map(drop)
}

/// OWNER TO.
async fn owner(
    session: &mut Session,
    relation: Option<&Relation>,
    name: &RelationName,
    new_owner: &ast::Owner,
) -> Result<(), SqlError> {
    let Some(relation) = relation else {
        let message = format!("relation \"{}\" does not exist", name.name);
        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
    };
    let new = match new_owner {
        ast::Owner::Ident(role) => super::role::oid(session, &fold(role)).await?,
        _ => session.identity.role_oid,
    };
    if new == relation.owner() {
        return Ok(());
    }
    let command = Command::ChangeOwner { database: session.identity.database, name: name.clone(), owner: new };
    propose(session, command).await.map(drop)
}

/// RENAME COLUMN: the schema in the Iceberg metadata and the catalog's row change in one step. Data files stay as they
/// are: they are read by field id.
async fn column(
    session: &mut Session,
    name: RelationName,
    column: String,
    new_column: String,
    if_exists: bool,
) -> Result<(), SqlError> {
    let database = session.identity.database;
    let make = |catalog: &State| {
        let namespace = catalog.namespace_by_name(database, &name.schema);
        let relation = namespace.and_then(|namespace| catalog.relation(namespace.oid, &name.name));
        let (mut views, mut step) = (Vec::new(), None);
        if let Some(relation) = relation {
            let renamed = Renamed::Column { of: name.clone(), columns: relation.columns() };
            views = rename::views(catalog, [relation.oid()], &renamed)?;
            step = changed_metadata(relation, &column, &new_column);
        }
        let (name, column, new_column) = (name.clone(), column.clone(), new_column.clone());
        Ok((Command::RenameColumn { database, name, column, new_column, change: None, if_exists, views }, step))
    };
    propose_change(session, make).await.map(drop)
}

/// The step to a table's metadata with the column's new name; none where the catalog will refuse the rename, or for a view.
fn changed_metadata(relation: &Relation, column: &str, new_column: &str) -> Option<(Uuid, Step)> {
    let Relation::Table(table) = relation else { return None };
    let mut columns = table.columns.clone();
    if columns.iter().any(|known| known.name == new_column) {
        return None;
    }
    new_column.clone_into(&mut columns.iter_mut().find(|known| known.name == column)?.name);
    Some((table.id, Step::Edit(Edit::Columns(columns))))
}

pub(super) async fn schema(session: &mut Session, alter: &ast::AlterSchema) -> Result<(), SqlError> {
    let [AlterSchemaOperation::Rename { name: new }] = alter.operations.as_slice() else {
        return Err(SqlError::unsupported("this form of ALTER SCHEMA is not supported")
            .with_hint("Wharf has ALTER SCHEMA name RENAME TO new_name."));
    };
    let (name, new_name) = (last_part(&alter.name), last_part(new));
    let catalog = session.catalog().await?;
    let views = match catalog.namespace_by_name(session.identity.database, &name) {
        Some(namespace) => {
            let oids: Vec<u32> = catalog.relations_in(namespace.oid).map(Relation::oid).collect();
            let renamed = Renamed::Schema { old: name.clone(), new: new_name.clone() };
            rename::views(&catalog, oids, &renamed)?
        }
        None => Vec::new(),
    };
    let command = Command::RenameSchema { database: session.identity.database, name, new_name, views };
    propose(session, command).await.map(drop)
}
