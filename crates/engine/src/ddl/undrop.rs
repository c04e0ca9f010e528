//! CREATE TABLE .. CLONE and UNDROP TABLE: tables made of what is there already.

use sqlparser::ast;
use uuid::Uuid;
use wharf_catalog::{Command, Constraint, Relation, Rule, Table};
use wharf_lake::commit::Uncommitted;
use wharf_lake::{LakeTable, NewClone};
use wharf_values::{SqlError, SqlState};

use super::table::{described, exists};
use super::{propose, propose_written};
use crate::bind::versions;
use crate::constraint_text;
use crate::error::from_lake;
use crate::names::{find_relation, new_relation_name, refused_of_foreign};
use crate::session::Session;

/// CREATE TABLE .. CLONE. It is made of a head of the source that must still be the head when the catalog takes it, so that no
/// file of it is removed meanwhile; outside of a transaction it is made anew when it is not.
pub(super) async fn clone(session: &mut Session, create: &ast::CreateTable) -> Result<(), SqlError> {
    let mut attempts = match session.transaction {
        Some(_) => 1,
        None => session.engine.options.commit_attempts.max(1),
    };
    loop {
        attempts -= 1;
        match clone_once(session, create).await {
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE && attempts > 0 => {}
            result => return result,
        }
    }
}

async fn clone_once(session: &mut Session, create: &ast::CreateTable) -> Result<(), SqlError> {
    let Some(source) = &create.clone else { return Err(SqlError::internal("not CLONE")) };
    if create.temporary || create.or_replace || !create.columns.is_empty() || !create.constraints.is_empty() {
        return Err(super::unsupported_clause("CREATE TABLE .. CLONE", "TEMPORARY, OR REPLACE or a list of columns"));
    }
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = new_relation_name(&create.name, &context)?;
    let source = match find_relation(source, &context)? {
        Relation::Table(table) => table,
        Relation::View(view) => {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", view.name)));
        }
        Relation::Foreign(table) => {
            return Err(refused_of_foreign(format!("cannot clone foreign table \"{}\"", table.name)));
        }
    };
    if exists(&name, create.if_not_exists, session, &context)? {
        return Ok(());
    }
    let reader = session.reader();
    let version = match &create.version {
        Some(version) => versions::evaluate(version, &[], &context, &reader).await?.0,
        None => None,
    };
    let opened = match &version {
        Some(version) => reader.open_at(&source, version).await?,
        None => reader.open(&source).await.map_err(|error| from_lake(&error))?,
    };
    let id = Uuid::now_v7();
    // What the catalog knows of the columns and the metadata does not, such as comments, the version shares by field id.
    let columns = opened.columns().to_vec();
    let constraints = constraints(&source, &name.name, &opened)?;
    let made = described(id, &name, &columns, &constraints);
    let text = |constraint: &Constraint| {
        (constraint.name.clone(), constraint_text::definition(constraint, &made, &context.catalog))
    };
    let texts = constraints.iter().map(text).collect();
    let database = context.catalog.database(context.database).map_or("", |database| database.name.as_str());
    let warehouse = &session.engine.warehouse;
    let clone = NewClone { id, namespace: database, name: &name.name, constraints: &texts };
    let metadata_location = warehouse.clone_table(&opened, clone).await.map_err(|error| from_lake(&error))?;
    let mut written = Uncommitted::new(warehouse);
    written.add_state(&metadata_location);
    let create = Command::CreateTable {
        database: session.identity.database,
        id,
        name,
        constraints,
        columns,
        metadata_location,
        owner: session.identity.role_oid,
        if_not_exists: create.if_not_exists,
    };
    let source_head = source.metadata_location.clone();
    let command = Command::CloneTable { create: Box::new(create), source: source.id, source_head };
    propose_written(session, command, written).await.map(drop)
}

/// The constraints of a clone: those of its source, but for what is about columns that the version has not. Names of keys are
/// those of relations, so where they begin with the source's name they begin with the clone's. A check that is younger than the version
/// need not hold of its rows: as one that is NOT VALID, it holds of those that come.
///
/// # Errors
/// `XX000` for the text of a check that is no expression.
fn constraints(source: &Table, clone: &str, opened: &LakeTable) -> Result<Vec<Constraint>, SqlError> {
    let columns = opened.columns();
    let younger = opened.younger_checks();
    let has = |id: &i32| columns.iter().any(|column| column.field_id == *id);
    let renamed = |name: &str| match name.strip_prefix(&format!("{}_", source.name)) {
        Some(rest) => format!("{clone}_{rest}"),
        None => name.to_owned(),
    };
    let names: Vec<(&str, &str)> = columns
        .iter()
        .filter_map(|column| {
            let now = source.columns.iter().find(|now| now.field_id == column.field_id)?;
            (now.name != column.name).then_some((now.name.as_str(), column.name.as_str()))
        })
        .collect();
    let may_be_null = |id: &i32| columns.iter().any(|column| column.field_id == *id && column.nullable);
    // A key that is younger than the version, too, may have come with NOT NULL.
    let fits = |constraint: &&Constraint| {
        let ids = constraint.columns();
        ids.iter().all(has) && !(constraint.is_primary() && ids.iter().any(may_be_null))
    };
    let kept = source.constraints.iter().filter(fits);
    let kept = kept.map(|constraint| {
        let mut constraint = Constraint { oid: 0, ..constraint.clone() };
        let is_key = constraint.is_key();
        match &mut constraint.rule {
            Rule::Key { index, .. } => *index = 0,
            Rule::Reference { table, key, .. } if *table == source.oid => {
                *table = 0;
                *key = renamed(key);
            }
            Rule::Check { expression, .. } => {
                constraint.validated &= !younger.contains_key(&constraint.name);
                if !names.is_empty() {
                    *expression = super::constraints::renamed(expression, &names)?;
                }
            }
            Rule::Reference { .. } => {}
        }
        if is_key {
            constraint.name = renamed(&constraint.name);
        }
        Ok(constraint)
    });
    let mut kept = kept.collect::<Result<Vec<Constraint>, SqlError>>()?;
    // A reference to a key of the clone itself that it has not got.
    let keys: Vec<String> = kept.iter().filter(|key| key.is_key()).map(|key| key.name.clone()).collect();
    kept.retain(|constraint| !matches!(&constraint.rule, Rule::Reference { table: 0, key, .. } if !keys.contains(key)));
    Ok(kept)
}

/// UNDROP TABLE.
pub(super) async fn undrop(session: &mut Session, alter: &ast::AlterTable) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = new_relation_name(&alter.name, &context)?;
    let (database, owner) = (session.identity.database, session.identity.role_oid);
    propose(session, Command::UndropTable { database, name, owner }).await.map(drop)
}
