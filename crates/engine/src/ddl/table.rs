//! CREATE TABLE and CREATE TABLE AS.

use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::ast::{self, ColumnOption};
use uuid::Uuid;
use wharf_catalog::{Column, Command, Constraint, RelationName, SqlType, Table};
use wharf_lake::NewTable;
use wharf_lake::commit::{self, Uncommitted};
use wharf_values::{SqlError, SqlState, mapping};

use super::constraints::{self, Place, Wanted};
use super::like::{self, Copied};
use super::{propose_written, unsupported_clause};
use crate::bind::BindContext;
use crate::bind::names::{display_name, fold};
use crate::bind::types::sql_type_of_ast;
use crate::constraint_text;
use crate::dml::write::Target;
use crate::dml::{constants, defaults};
use crate::error::{from_datafusion, from_lake};
use crate::names::new_relation_name;
use crate::session::Session;
use crate::syntax::{Clauses, LikeOptions, NO_TYPE, TableClauses};

/// CREATE TABLE.
pub(super) async fn create(
    session: &mut Session,
    create: &ast::CreateTable,
    options: LikeOptions,
    layout: Option<&TableClauses>,
) -> Result<(), SqlError> {
    refuse_clauses(create)?;
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = new_relation_name(&create.name, &context)?;
    let Copied { mut columns, constraints: mut wanted } = match &create.like {
        Some(like) => like::copied(like, options, &context)?,
        None => Copied::default(),
    };
    for definition in &create.columns {
        columns.push(column(definition)?);
    }
    check_names(&columns)?;
    for definition in &create.columns {
        wanted.extend(constraints::of_column(definition)?);
    }
    for constraint in &create.constraints {
        wanted.push(constraints::of_table(constraint, "CREATE TABLE")?);
    }
    for name in wanted.iter().flat_map(Wanted::primary_columns) {
        columns.iter_mut().filter(|column| column.name == *name).for_each(|column| column.nullable = false);
    }
    check_defaults(session, &columns, &context).await?;
    number(&mut columns);
    if exists(&name, create.if_not_exists, session, &context)? {
        return Ok(());
    }
    let not_enforced = wanted.iter().any(Wanted::is_not_enforced);
    let constraints = new_constraints(session, &name, &columns, wanted, &context).await?;
    if not_enforced {
        notice_of_keys(session);
    }
    let (id, metadata_location, written) = new_metadata(session, &name, &columns, &constraints, layout).await?;
    let command = Command::CreateTable {
        database: session.identity.database,
        id,
        name,
        columns,
        metadata_location,
        owner: session.identity.role_oid,
        if_not_exists: create.if_not_exists,
        constraints,
    };
    propose_written(session, command, written).await.map(drop)
}

/// The constraints of a new table.
async fn new_constraints(
    session: &Session,
    name: &RelationName,
    columns: &[Column],
    mut wanted: Vec<Wanted>,
    context: &BindContext,
) -> Result<Vec<Constraint>, SqlError> {
    wanted.sort_by_key(Wanted::order);
    let namespace = context.catalog.namespace_by_name(context.database, &name.schema).map_or(0, |schema| schema.oid);
    let place = Place { session, context, table: &name.name, schema: &name.schema, namespace, oid: 0, columns };
    let mut constraints = Vec::new();
    for wanted in wanted {
        place.add(wanted, &mut constraints).await?;
    }
    Ok(constraints)
}

/// Says what becomes of keys.
pub(super) fn notice_of_keys(session: &mut Session) {
    session.notice(
        "NOTICE",
        SqlError::new(SqlState::SUCCESSFUL_COMPLETION, "keys are not enforced")
            .with_detail("NOT NULL of a primary key is; uniqueness and references are not checked."),
    );
}

/// Looks before files are written; the catalog checks again.
pub(super) fn exists(
    name: &RelationName,
    if_not_exists: bool,
    session: &mut Session,
    context: &BindContext,
) -> Result<bool, SqlError> {
    let Some(namespace) = context.catalog.namespace_by_name(context.database, &name.schema) else {
        return Err(SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{}\" does not exist", name.schema)));
    };
    if context.catalog.relation(namespace.oid, &name.name).is_none() {
        return Ok(false);
    }
    let message = format!("relation \"{}\" already exists", name.name);
    if !if_not_exists {
        return Err(SqlError::new(SqlState::DUPLICATE_TABLE, message));
    }
    session.notice("NOTICE", SqlError::new(SqlState::DUPLICATE_TABLE, format!("{message}, skipping")));
    Ok(true)
}

fn refuse_clauses(create: &ast::CreateTable) -> Result<(), SqlError> {
    let refuse = |clause: &str| Err(unsupported_clause("CREATE TABLE", clause));
    if create.temporary {
        return refuse("TEMPORARY");
    }
    if create.external {
        return refuse("EXTERNAL");
    }
    if create.or_replace {
        return refuse("OR REPLACE");
    }
    if create.partition_by.is_some() || create.order_by.is_some() || create.cluster_by.is_some() {
        return refuse("a second PARTITION BY or ORDER BY");
    }
    if create.inherits.is_some() || create.partition_of.is_some() {
        return refuse("INHERITS or PARTITION OF");
    }
    if create.clone.is_some() || create.version.is_some() {
        return refuse("CLONE");
    }
    if create.on_commit.is_some() {
        return refuse("ON COMMIT");
    }
    if !matches!(create.table_options, ast::CreateTableOptions::None) {
        return refuse("WITH");
    }
    Ok(())
}

/// A column definition; its field id comes later.
pub(super) fn column(definition: &ast::ColumnDef) -> Result<Column, SqlError> {
    let ty = sql_type_of_ast(&definition.data_type)?;
    let mut column =
        Column { name: fold(&definition.name), ty, nullable: true, field_id: 0, comment: None, default: None };
    check_storable(&column)?;
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null | ColumnOption::Unique(_) | ColumnOption::ForeignKey(_) | ColumnOption::Check(_) => {}
            ColumnOption::NotNull | ColumnOption::PrimaryKey(_) => column.nullable = false,
            ColumnOption::Default(expr) => {
                let mut expr = expr.clone();
                crate::syntax::make_printable(&mut expr);
                column.default = Some(expr.to_string());
            }
            ColumnOption::Collation(name)
                if matches!(crate::bind::names::last_part(name).as_str(), "C" | "default") => {}
            other => return Err(unsupported_clause("CREATE TABLE", &other.to_string())),
        }
    }
    Ok(column)
}

pub(super) fn check_names(columns: &[Column]) -> Result<(), SqlError> {
    let mut names = HashSet::new();
    match columns.iter().find(|column| !names.insert(column.name.as_str())) {
        None => Ok(()),
        Some(column) => Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{}\" specified more than once", column.name),
        )),
    }
}

pub(super) fn check_storable(column: &Column) -> Result<(), SqlError> {
    wharf_lake::schema::check_storable(&column.ty).map_err(|_| {
        SqlError::unsupported(format!("column \"{}\" cannot be of type {}", column.name, column.ty))
            .with_hint("Iceberg tables cannot store this type; use it in expressions, and store text or numbers.")
    })
}

/// A default that cannot be bound, or is not of the column's type, is refused now rather than at the first INSERT.
async fn check_defaults(session: &Session, columns: &[Column], context: &BindContext) -> Result<(), SqlError> {
    for column in columns {
        if let Some(text) = &column.default {
            defaults::bind(session, constants::parse(text)?, column, context).await?;
        }
    }
    Ok(())
}

/// Gives each column its Iceberg field id; the elements of arrays take theirs after all columns.
pub(super) fn number(columns: &mut [Column]) {
    for (index, column) in columns.iter_mut().enumerate() {
        column.field_id = index as i32 + 1;
    }
}

/// A table that the catalog does not have yet.
pub(super) fn described(id: Uuid, name: &RelationName, columns: &[Column], constraints: &[Constraint]) -> Table {
    Table {
        id,
        oid: 0,
        name: name.name.clone(),
        namespace: 0,
        owner: 0,
        columns: columns.to_vec(),
        metadata_location: String::new(),
        version: 0,
        comment: None,
        created_ms: 0,
        changed_ms: 0,
        constraints: constraints.to_vec(),
        borrows: Default::default(),
    }
}

/// Writes the metadata of a new table: its id, where that is, and how it is removed again.
pub(super) async fn new_metadata(
    session: &Session,
    name: &RelationName,
    columns: &[Column],
    constraints: &[Constraint],
    layout: Option<&TableClauses>,
) -> Result<(Uuid, String, Uncommitted), SqlError> {
    let (layout, properties) = super::layout::of_new_table(session, layout)?;
    let id = Uuid::now_v7();
    let catalog = session.engine.group.local();
    let database = catalog.database(session.identity.database).map_or("", |database| database.name.as_str());
    let key = constraints.iter().find(|constraint| constraint.is_primary());
    let made = described(id, name, columns, constraints);
    let text = |constraint: &Constraint| {
        let property = format!("{}{}", wharf_lake::schema::CONSTRAINT_PROPERTY, constraint.name);
        (property, constraint_text::definition(constraint, &made, &catalog))
    };
    let new = NewTable {
        id,
        namespace: database,
        name: &name.name,
        columns,
        layout,
        identifier: key.map(|key| key.columns().to_vec()).unwrap_or_default(),
        properties: properties.into_iter().chain(constraints.iter().map(text)).collect(),
    };
    let location = session.engine.warehouse.create_table(new).await.map_err(|error| from_lake(&error))?;
    let mut written = Uncommitted::new(&session.engine.warehouse);
    written.add_state(&location);
    Ok((id, location, written))
}

/// CREATE TABLE AS: the rows are written before the table exists, and one command makes both visible.
pub(super) async fn create_as(
    session: &mut Session,
    create: &ast::CreateTable,
    clauses: Clauses,
    layout: Option<&TableClauses>,
) -> Result<Option<u64>, SqlError> {
    refuse_clauses(create)?;
    let typed = create.columns.iter().find(|column| column.data_type.to_string().trim_matches('"') != NO_TYPE);
    if let Some(column) = typed {
        let message = format!("syntax error at or near \"{}\"", column.data_type);
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    let Some(query) = &create.query else { return Err(SqlError::internal("CREATE TABLE AS without a query")) };
    let catalog = session.catalog().await?;
    let context = session.bind_context(Arc::clone(&catalog));
    let name = new_relation_name(&create.name, &context)?;
    if exists(&name, create.if_not_exists, session, &context)? {
        return Ok(None);
    }
    let plan = session.plan_query(query, &[], &context).await?;
    let mut columns = Vec::new();
    for (index, field) in plan.schema().fields().iter().enumerate() {
        let ty = match mapping::sql_type(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        };
        let given = create.columns.get(index).map(|column| fold(&column.name));
        let column = Column {
            name: given.unwrap_or_else(|| display_name(field.name()).to_owned()),
            ty: storable_numeric(ty),
            nullable: true,
            field_id: 0,
            comment: None,
            default: None,
        };
        check_storable(&column)?;
        columns.push(column);
    }
    check_names(&columns)?;
    if create.columns.len() > columns.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    number(&mut columns);
    let targets: Vec<&Column> = columns.iter().collect();
    let plan = crate::bind::assign_columns(plan, &targets, true, &context).map_err(from_datafusion)?;
    let (id, location, mut made) = new_metadata(session, &name, &columns, &[], layout).await?;
    let table = Table { metadata_location: location.clone(), ..described(id, &name, &columns, &[]) };
    let table = Arc::new(table);
    let mut target = Target::open(session, &table).await?;
    let written = match clauses.no_data {
        true => Ok(()),
        false => session.fill(&mut target, &plan, &context.session).await,
    };
    if let Err(error) = written {
        target.abort().await;
        return Err(error);
    }
    let (rows, files) = target.into_files().await?;
    let location = if files.is_empty() {
        location
    } else {
        made.add_files(&files);
        let warehouse = &session.engine.warehouse;
        let base = warehouse.load(&location).await.map_err(|error| from_lake(&error))?;
        let location = commit::append(warehouse, &base, files).await.map_err(|error| from_lake(&error))?;
        made.add_state(&location);
        location
    };
    let command = Command::CreateTable {
        database: session.identity.database,
        id,
        name,
        columns,
        metadata_location: location,
        owner: session.identity.role_oid,
        if_not_exists: create.if_not_exists,
        constraints: Vec::new(),
    };
    propose_written(session, command, made).await?;
    Ok((!clauses.no_data).then_some(rows))
}

/// Computed numerics can be wider than Iceberg's decimal; their column keeps 38 digits, and what does not fit raises.
fn storable_numeric(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Numeric(Some((precision, scale))) if precision > 38 => {
            SqlType::Numeric(Some((38, scale.clamp(0, 20))))
        }
        ty => ty,
    }
}
