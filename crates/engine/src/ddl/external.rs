//! CREATE EXTERNAL TABLE: a row of the catalog over files that stay where they are.

use sqlparser::ast;
use wharf_catalog::{Column, Command, ForeignSource};
use wharf_values::{SqlError, SqlState};

use super::table::{check_names, column, exists, number};
use super::{propose, unsupported_clause};
use crate::copy::OptionItem;
use crate::files::described::Described;
use crate::files::options::names_secret;
use crate::files::{external, infer};
use crate::names::new_relation_name;
use crate::session::Session;
use crate::syntax::FilesClause;

/// Options of COPY that are about loading, which an external table does not.
const OF_LOADS: [&str; 9] = [
    "file_size",
    "force",
    "freeze",
    "log_verbosity",
    "on_error",
    "reject_limit",
    "rejects_table",
    "partition_by",
    "append",
];

/// Creates the row. The files are looked at, so that a table that cannot be read is not made.
pub(super) async fn create(
    session: &mut Session,
    create: &ast::CreateTable,
    files: &FilesClause,
) -> Result<(), SqlError> {
    require_superuser(session)?;
    for item in &files.options {
        check_option(item)?;
    }
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = new_relation_name(&create.name, &context)?;
    if exists(&name, create.if_not_exists, session, &context)? {
        return Ok(());
    }
    let mut columns = create.columns.iter().map(declared).collect::<Result<Vec<_>, _>>()?;
    let described = Described::find(&session.engine, &files.locations, &files.options, columns.is_empty()).await?;
    if columns.is_empty() {
        columns = infer::columns(&session.engine, &described, &context).await?;
    }
    check_names(&columns)?;
    number(&mut columns);
    let format = described.options.format.name().to_owned();
    let options = described.items.iter().map(external::option).collect();
    let source = ForeignSource { locations: files.locations.clone(), format, options };
    let command = Command::CreateForeignTable {
        database: session.identity.database,
        name,
        columns,
        source,
        owner: session.identity.role_oid,
        if_not_exists: create.if_not_exists,
    };
    propose(session, command).await.map(drop)
}

/// Whoever may read an external table reads its files, so naming them is for superusers, as it is with COPY.
fn require_superuser(session: &Session) -> Result<(), SqlError> {
    if session.identity.superuser {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to create an external table")
        .with_detail("Only superusers may name files."))
}

fn check_option(item: &OptionItem) -> Result<(), SqlError> {
    let name = item.name.to_ascii_uppercase();
    if OF_LOADS.contains(&item.name.as_str()) {
        let message = format!("{name} cannot be used with CREATE EXTERNAL TABLE");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("It is about loading files, which COPY does."));
    }
    // The catalog keeps the options, and shows them.
    if names_secret(&item.name) {
        let message = format!("{name} cannot be an option of an external table, because it would be stored");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("Give credentials to the server: by its configuration or environment."));
    }
    Ok(())
}

/// A column as it is declared: nobody holds the files against its rules, so it has none.
fn declared(definition: &ast::ColumnDef) -> Result<Column, SqlError> {
    if let Some(option) = definition.options.iter().find(|option| !matches!(option.option, ast::ColumnOption::Null)) {
        return Err(unsupported_clause("CREATE EXTERNAL TABLE", &option.option.to_string()));
    }
    column(definition)
}
