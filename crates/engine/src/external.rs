//! Tables as other engines make and change them, through the Iceberg REST catalog.
//!
//! What always holds: a commit of another engine is the same command as one of ours, a compare-and-swap of the heads of all
//! its tables at once, so both may write one table; and the columns of the catalog's row follow the Iceberg schema in that
//! same command. A lost race is tried again as long as the other engine's requirements hold of the new head. What was
//! written for a commit that is refused is removed: metadata files, never the manifests and data files, which the other
//! engine may use again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use wharf_catalog::{CatalogError, Column, Command, RelationName, Rule, State, Table, TableChange};
use wharf_lake::commit::{self, RequestError, Requested, StagedTable, Uncommitted};
use wharf_lake::{LakeTable, TableCredentials};
use wharf_values::{SqlError, SqlState};

use crate::engine::Engine;
use crate::error::{from_catalog, from_lake};

/// For whom something is done: a role, in a database.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The oid of the role.
    pub role: u32,
    /// May do everything.
    pub superuser: bool,
    /// The oid of the database.
    pub database: u32,
    /// Its name.
    pub database_name: String,
}

/// What is asked for of one table.
#[derive(Clone, Debug)]
pub struct TableRequest {
    /// The table.
    pub name: RelationName,
    /// Requirements and updates.
    pub request: Requested,
}

/// Why it was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExternalError {
    /// It makes no sense, whatever the state of the table.
    #[error("{0}")]
    Invalid(String),
    /// The table is not what the other engine thought: it may look again and try again.
    #[error("{0}")]
    Conflict(String),
    /// There is no such schema.
    #[error("schema \"{0}\" does not exist")]
    NoSchema(String),
    /// There is no such table.
    #[error("table \"{0}\" does not exist")]
    NoTable(String),
    /// There is such a table or view.
    #[error("relation \"{0}\" already exists")]
    Exists(String),
    /// Nobody knows whether it was done.
    #[error("{0}")]
    InDoubt(SqlError),
    /// Anything else.
    #[error("{0}")]
    Sql(SqlError),
}

impl From<SqlError> for ExternalError {
    fn from(error: SqlError) -> ExternalError {
        ExternalError::Sql(error)
    }
}

impl From<RequestError> for ExternalError {
    fn from(error: RequestError) -> ExternalError {
        match error {
            RequestError::Invalid(message) => ExternalError::Invalid(message),
            RequestError::Conflict(message) => ExternalError::Conflict(message),
            RequestError::Lake(error) => ExternalError::Sql(from_lake(&error)),
        }
    }
}

/// A table by its name.
///
/// # Errors
/// [`ExternalError::NoSchema`], [`ExternalError::NoTable`].
pub fn find<'a>(state: &'a State, database: u32, name: &RelationName) -> Result<&'a Arc<Table>, ExternalError> {
    let schema = state.namespace_by_name(database, &name.schema).filter(|schema| schema.database == database);
    let schema = schema.ok_or_else(|| ExternalError::NoSchema(name.schema.clone()))?;
    let relation = state.relation(schema.oid, &name.name);
    relation.and_then(|relation| relation.as_table()).ok_or_else(|| ExternalError::NoTable(qualified(name)))
}

/// The state of a table that the catalog points at.
///
/// # Errors
/// What is wrong with the metadata file.
pub async fn load(engine: &Engine, table: &Table) -> Result<Arc<LakeTable>, ExternalError> {
    engine.warehouse.load(&table.metadata_location).await.map_err(|error| ExternalError::Sql(from_lake(&error)))
}

/// Credentials with which a client can reach the files of a table: those in its folder, and, to read them, those in the folders of the
/// tables that it was cloned from. None when the warehouse gives none.
///
/// # Errors
/// What the store's token service says, and what is wrong with the metadata of a table it was cloned from.
pub async fn credentials(
    engine: &Engine,
    state: &State,
    table: &Table,
    location: &str,
) -> Result<Option<TableCredentials>, ExternalError> {
    let mut borrowed = Vec::with_capacity(table.borrows.len());
    for id in &table.borrows {
        let dropped = || state.dropped_by_id(*id).map(|dropped| &dropped.table);
        if let Some(lender) = state.table_by_id(*id).map(AsRef::as_ref).or_else(dropped) {
            borrowed.push(load(engine, lender).await?.location().to_owned());
        }
    }
    folder_credentials(engine, location, &borrowed).await
}

/// The same for a table that is being made.
///
/// # Errors
/// What the store's token service says.
pub async fn folder_credentials(
    engine: &Engine,
    location: &str,
    borrowed: &[String],
) -> Result<Option<TableCredentials>, ExternalError> {
    let given = engine.warehouse.table_credentials(location, borrowed).await;
    given.map_err(|error| ExternalError::Sql(from_lake(&error)))
}

/// Makes a table whose metadata is ready.
///
/// # Errors
/// A name that is taken, a schema that does not exist, and whatever the store says.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    name: &RelationName,
    staged: &StagedTable,
) -> Result<Arc<LakeTable>, ExternalError> {
    check_name(name)?;
    let state = engine.catalog().await?;
    check_free(&state, caller, name)?;
    let mut written = Uncommitted::new(&engine.warehouse);
    let table = staged.write(&engine.warehouse).await?;
    written.add_metadata(table.metadata_location());
    propose(engine, create_command(caller, name, &table), &mut written)
        .await?
        .map_err(|error| refused(&error, name))?;
    Ok(table)
}

/// Makes a table of a metadata file that another catalog has written.
///
/// # Errors
/// As [`create`], and what is wrong with the file.
pub async fn register(
    engine: &Engine,
    caller: &Caller,
    name: &RelationName,
    metadata_location: &str,
) -> Result<Arc<LakeTable>, ExternalError> {
    check_name(name)?;
    let state = engine.catalog().await?;
    check_free(&state, caller, name)?;
    let table = commit::register(&engine.warehouse, metadata_location, caller.superuser).await?;
    if let Some(known) = state.table_by_id(table.id()) {
        return Err(ExternalError::Conflict(format!("the table is registered already, as \"{}\"", known.name)));
    }
    let mut nothing = Uncommitted::new(&engine.warehouse);
    propose(engine, create_command(caller, name, &table), &mut nothing)
        .await?
        .map_err(|error| refused(&error, name))?;
    Ok(table)
}

/// Does what is asked for of several tables, of all or of none; returns their new states in the same order.
///
/// # Errors
/// As [`ExternalError`] says.
pub async fn commit(
    engine: &Engine,
    caller: &Caller,
    requests: &[TableRequest],
) -> Result<Vec<Arc<LakeTable>>, ExternalError> {
    let result = commit_all(engine, caller, requests).await;
    match &result {
        Ok(tables) => tables.iter().for_each(|table| engine.external_turns.written(table.id())),
        Err(ExternalError::Conflict(_)) => {
            // That there is no turn when the catalog cannot be read is no reason to say anything else than that it was too late.
            if let Ok(state) = engine.catalog().await {
                let tables = requests.iter().filter_map(|request| find(&state, caller.database, &request.name).ok());
                tables.for_each(|table| engine.external_turns.too_late(table.id));
            }
        }
        Err(_) => {}
    }
    result
}

async fn commit_all(
    engine: &Engine,
    caller: &Caller,
    requests: &[TableRequest],
) -> Result<Vec<Arc<LakeTable>>, ExternalError> {
    let mut names = HashSet::new();
    if let Some(twice) = requests.iter().find(|request| !names.insert(&request.name)) {
        return Err(ExternalError::Invalid(format!("table \"{}\" is named twice", qualified(&twice.name))));
    }
    for attempt in 0..engine.options.commit_attempts.max(1) {
        if attempt > 2 {
            // Spread writers that keep meeting; bounded, and different for each.
            let spread = (Uuid::new_v4().as_u128() % 20) as u64;
            tokio::time::sleep(Duration::from_millis(spread)).await;
        }
        let state = engine.instant().await?;
        let mut attempted = Attempt::new(engine);
        for request in requests {
            attempted.apply(engine, caller, &state, request).await?;
        }
        let Some(command) = attempted.command() else { return Ok(attempted.tables) };
        match propose(engine, command, &mut attempted.written).await? {
            Ok(()) => return Ok(attempted.tables),
            // Another writer was faster: look whether the requirements still hold.
            Err(
                CatalogError::CommitConflict { .. }
                | CatalogError::TableDropped { .. }
                | CatalogError::DuplicateRelation { .. },
            ) => {}
            Err(other) => return Err(ExternalError::Sql(from_catalog(&other))),
        }
    }
    Err(ExternalError::Conflict("other writers kept changing the same table".to_owned()))
}

/// One try to commit: the new states over one instant of the catalog.
struct Attempt {
    tables: Vec<Arc<LakeTable>>,
    created: Vec<Command>,
    changes: Vec<TableChange>,
    written: Uncommitted,
}

impl Attempt {
    fn new(engine: &Engine) -> Attempt {
        let written = Uncommitted::new(&engine.warehouse);
        Attempt { tables: Vec::new(), created: Vec::new(), changes: Vec::new(), written }
    }

    async fn apply(
        &mut self,
        engine: &Engine,
        caller: &Caller,
        state: &State,
        TableRequest { name, request }: &TableRequest,
    ) -> Result<(), ExternalError> {
        let warehouse = &engine.warehouse;
        if request.creates() {
            check_name(name)?;
            check_free(state, caller, name)?;
            let staged = commit::requested_table_of(warehouse, &caller.database_name, request)?;
            let table = staged.write(warehouse).await?;
            self.written.add_metadata(table.metadata_location());
            if state.table_by_id(table.id()).is_some() {
                return Err(ExternalError::Invalid(format!("there is a table with the uuid {}", table.id())));
            }
            self.created.push(create_command(caller, name, &table));
            self.tables.push(table);
            return Ok(());
        }
        let known = find(state, caller.database, name)?;
        let base = load(engine, known).await?;
        let table = commit::requested(warehouse, &base, request).await?;
        if !Arc::ptr_eq(&base, &table) {
            self.written.add_metadata(table.metadata_location());
            check_uses(state, known, &table)?;
            self.changes.push(TableChange {
                id: known.id,
                expected: known.metadata_location.clone(),
                new: table.metadata_location().to_owned(),
                columns: changed_columns(known, &base, &table),
            });
        }
        self.tables.push(table);
        Ok(())
    }

    /// None when nothing changes.
    fn command(&mut self) -> Option<Command> {
        let mut commands = std::mem::take(&mut self.created);
        if !self.changes.is_empty() {
            commands.push(Command::CommitTables { changes: std::mem::take(&mut self.changes) });
        }
        match commands.len() {
            0 | 1 => commands.pop(),
            _ => Some(Command::Batch(commands)),
        }
    }
}

/// Refuses to take columns away from under what SQL has made of them: a constraint, or a view, whose text names them.
fn check_uses(state: &State, known: &Table, table: &LakeTable) -> Result<(), ExternalError> {
    let new = |old: &Column| table.columns().iter().find(|column| column.field_id == old.field_id);
    let same = |old: &Column| new(old).is_some_and(|column| column.name == old.name && column.ty == old.ty);
    for old in known.columns.iter().filter(|old| !same(old)) {
        let gone = new(old).is_none();
        let own = known.constraints.iter().find(|constraint| match &constraint.rule {
            Rule::Check { columns, .. } => columns.contains(&old.field_id),
            Rule::Key { columns, .. } | Rule::Reference { columns, .. } => gone && columns.contains(&old.field_id),
        });
        let view = || state.dependents(known.oid).find_map(|oid| state.relation_by_oid(oid)?.as_view());
        let user = match own {
            Some(constraint) => Some(format!("constraint \"{}\"", constraint.name)),
            None => view().map(|view| format!("view \"{}\", which reads the table,", view.name)),
        };
        if let Some(user) = user {
            let message = format!("column \"{}\" cannot be changed because of {user}: change it in SQL", old.name);
            return Err(ExternalError::Invalid(message));
        }
    }
    Ok(())
}

/// The columns of the new state, if they are others. Comments that only the catalog knows stay.
fn changed_columns(known: &Table, base: &LakeTable, table: &LakeTable) -> Option<Vec<Column>> {
    if base.columns() == table.columns() {
        return None;
    }
    let with_comment = |column: &Column| {
        let comment = || known.columns.iter().find(|old| old.field_id == column.field_id)?.comment.clone();
        Column { comment: column.comment.clone().or_else(comment), ..column.clone() }
    };
    Some(table.columns().iter().map(with_comment).collect())
}

fn create_command(caller: &Caller, name: &RelationName, table: &LakeTable) -> Command {
    Command::CreateTable {
        database: caller.database,
        id: table.id(),
        name: name.clone(),
        columns: table.columns().to_vec(),
        constraints: Vec::new(),
        metadata_location: table.metadata_location().to_owned(),
        owner: caller.role,
        if_not_exists: false,
    }
}

/// Proposes a command; what was written for it is in doubt when nobody knows what came of it.
async fn propose(
    engine: &Engine,
    command: Command,
    written: &mut Uncommitted,
) -> Result<Result<(), CatalogError>, ExternalError> {
    written.set_in_doubt(true);
    match engine.try_propose(command).await {
        Ok(Ok(_)) => Ok(Ok(())),
        Ok(Err(refused)) => {
            written.set_in_doubt(false);
            Ok(Err(refused))
        }
        // It was too large or there were too many: it never reached the log.
        Err(error)
            if matches!(error.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED | SqlState::PROGRAM_LIMIT_EXCEEDED) =>
        {
            written.set_in_doubt(false);
            Err(ExternalError::Sql(error))
        }
        Err(error) => Err(ExternalError::InDoubt(error)),
    }
}

fn refused(error: &CatalogError, name: &RelationName) -> ExternalError {
    match error {
        CatalogError::DuplicateRelation { .. } => ExternalError::Exists(qualified(name)),
        CatalogError::UndefinedSchema { name } => ExternalError::NoSchema(name.clone()),
        other => ExternalError::Sql(from_catalog(other)),
    }
}

/// Looks before files are written; the catalog checks again.
fn check_free(state: &State, caller: &Caller, name: &RelationName) -> Result<(), ExternalError> {
    let schema = state.namespace_by_name(caller.database, &name.schema);
    let schema = schema.filter(|schema| schema.database == caller.database);
    let schema = schema.ok_or_else(|| ExternalError::NoSchema(name.schema.clone()))?;
    match state.relation(schema.oid, &name.name) {
        Some(_) => Err(ExternalError::Exists(qualified(name))),
        None => Ok(()),
    }
}

/// A name that SQL could not say would make a table that nobody here can reach.
fn check_name(name: &RelationName) -> Result<(), ExternalError> {
    const MAX_BYTES: usize = 63;
    let text = &name.name;
    if text.is_empty() || text.contains('\0') || text.len() > MAX_BYTES {
        let message = format!("a table's name has 1 to {MAX_BYTES} bytes and no zero byte");
        return Err(ExternalError::Invalid(message));
    }
    Ok(())
}

fn qualified(name: &RelationName) -> String {
    format!("{}.{}", name.schema, name.name)
}
