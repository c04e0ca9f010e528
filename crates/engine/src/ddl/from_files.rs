//! CREATE TABLE .. FROM files: a table with the columns that the files have, and their rows.
//!
//! What always holds: the table and its rows are there together, or neither is: the statement runs in a transaction.

use std::sync::Arc;

use sqlparser::ast;
use wharf_catalog::{Column, Command, RelationName, Table};
use wharf_values::{SqlError, SqlState};

use super::propose_written;
use super::table::{check_names, check_storable, exists, new_metadata, number};
use crate::bind::BindContext;
use crate::copy::{OptionItem, OptionValue};
use crate::files::described::Described;
use crate::files::infer;
use crate::files::load::{Load, load};
use crate::files::place::require_superuser;
use crate::names::new_relation_name;
use crate::session::{Branch, Session};
use crate::syntax::{FilesClause, TableClauses};

/// Creates the table and loads it; the number of rows, none when nothing was to be loaded.
pub(super) async fn create(
    session: &mut Session,
    create: &ast::CreateTable,
    files: &FilesClause,
    layout: Option<&TableClauses>,
) -> Result<Option<u64>, SqlError> {
    require_superuser(session)?;
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = new_relation_name(&create.name, &context)?;
    if exists(&name, create.if_not_exists, session, &context)? {
        return Ok(None);
    }
    let described = Described::find(&session.engine, &files.locations, &files.options, true).await?;
    let mut columns = infer::columns(&session.engine, &described, &context).await?;
    check_names(&columns)?;
    columns.iter().try_for_each(check_storable)?;
    number(&mut columns);
    define(session, &name, columns, create.if_not_exists, layout).await?;
    if files.no_data {
        return Ok(None);
    }
    let Some((first, more)) = files.locations.split_first() else {
        return Err(SqlError::internal("CREATE TABLE FROM no files"));
    };
    let mut options = described.items;
    if !more.is_empty() {
        options.push(OptionItem { name: "\0files".to_owned(), value: OptionValue::List(more.to_vec()) });
    }
    // The catalog as the transaction has it by now, with the table.
    let catalog = session.catalog().await?;
    let context = session.bind_context(Arc::clone(&catalog));
    let table = find(session, &name, &context)?;
    let provided = (0..table.columns.len()).collect();
    let job = Load { table: &table, branch: Branch::Main, provided, name: first, options: &options };
    Box::pin(load(session, job, &context)).await.map(Some)
}

async fn define(
    session: &mut Session,
    name: &RelationName,
    columns: Vec<Column>,
    if_not_exists: bool,
    layout: Option<&TableClauses>,
) -> Result<(), SqlError> {
    let (id, metadata_location, written) = new_metadata(session, name, &columns, &[], layout).await?;
    let command = Command::CreateTable {
        database: session.identity.database,
        id,
        name: name.clone(),
        columns,
        metadata_location,
        owner: session.identity.role_oid,
        if_not_exists,
        constraints: Vec::new(),
    };
    propose_written(session, command, written).await.map(drop)
}

/// The table that was just made.
fn find(session: &Session, name: &RelationName, context: &BindContext) -> Result<Arc<Table>, SqlError> {
    let catalog = &context.catalog;
    let namespace = catalog.namespace_by_name(session.identity.database, &name.schema);
    let found = namespace.and_then(|namespace| catalog.relation(namespace.oid, &name.name)?.as_table());
    found.cloned().ok_or_else(|| {
        let message = format!("relation \"{}\" does not exist", name.name);
        SqlError::new(SqlState::UNDEFINED_TABLE, message)
    })
}
