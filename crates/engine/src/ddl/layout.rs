//! Partitioning, order and properties of tables: clauses of CREATE TABLE and forms of ALTER TABLE.
//!
//! Properties are Iceberg's, under its names. PostgreSQL's storage parameters are checked and change nothing: there are no pages
//! to leave room in and nothing to vacuum.

use std::collections::HashMap;

use sqlparser::ast;
use wharf_catalog::Relation;
use wharf_lake::commit::{Edit, Step};
use wharf_lake::partition::Layout;
use wharf_values::{SqlError, SqlState};

use crate::error::from_lake;
use crate::names::{existing_relation_name, find_relation, refused_of_foreign};
use crate::session::Session;
use crate::syntax::{LayoutChange, TableClauses};

/// What the clauses of CREATE TABLE come to: the layout, and the properties that are Iceberg's.
///
/// # Errors
/// `22023` for storage parameters that PostgreSQL would refuse.
pub(super) fn of_new_table(
    session: &Session,
    clauses: Option<&TableClauses>,
) -> Result<(Layout, HashMap<String, String>), SqlError> {
    let Some(TableClauses { layout, properties }) = clauses else { return Ok(Default::default()) };
    let mut kept = HashMap::new();
    for (name, value) in iceberg_only(properties)? {
        session.engine.warehouse.check_property(&name, &value).map_err(|error| from_lake(&error))?;
        if kept.insert(name.clone(), value).is_some() {
            return Err(specified_twice(&name));
        }
    }
    Ok((layout.clone(), kept))
}

/// ALTER TABLE in a form that changes the layout of a table.
pub(super) async fn alter(
    session: &mut Session,
    alter: &ast::AlterTable,
    change: &LayoutChange,
) -> Result<(), SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let name = existing_relation_name(&alter.name, &context)?;
    let table = match find_relation(&alter.name, &context) {
        Ok(Relation::Table(table)) => table,
        Ok(Relation::View(_)) => {
            let message = format!("ALTER action cannot be performed on relation \"{}\"", name.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_detail("This operation is not supported for views."));
        }
        Ok(Relation::Foreign(table)) => {
            let message = format!("ALTER action cannot be performed on relation \"{}\"", table.name);
            return Err(refused_of_foreign(message).with_detail("This operation is not supported for foreign tables."));
        }
        Err(error) if error.code == SqlState::UNDEFINED_TABLE && alter.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", name.name);
            session.notice("NOTICE", SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let edit = match change {
        LayoutChange::Partition(change) => Edit::Partition(change.clone()),
        LayoutChange::Sort(terms) => Edit::Sort(terms.clone()),
        LayoutChange::Properties { set, removed } => {
            let set = iceberg_only(set)?;
            let removed: Vec<String> = removed.iter().filter(|name| !is_storage_parameter(name)).cloned().collect();
            if set.is_empty() && removed.is_empty() {
                return Ok(());
            }
            Edit::Properties { set, removed }
        }
    };
    session.step(table.id, &table.metadata_location, Step::Edit(edit)).await
}

fn specified_twice(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" specified more than once"))
}

/// What a storage parameter of PostgreSQL's takes.
enum Takes {
    Boolean,
    /// A whole number between these.
    Integer(i64, i64),
    /// A number between these.
    Real(f64, f64),
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// PostgreSQL's storage parameters of tables. All but the first few may have `toast.` before them, too.
const STORAGE_PARAMETERS: &[(&str, Takes)] = &[
    ("fillfactor", Takes::Integer(10, 100)),
    ("toast_tuple_target", Takes::Integer(128, 8160)),
    ("parallel_workers", Takes::Integer(0, 1024)),
    ("user_catalog_table", Takes::Boolean),
    ("autovacuum_enabled", Takes::Boolean),
    ("vacuum_index_cleanup", Takes::OneOf(&["auto", "on", "off", "true", "false", "yes", "no", "1", "0"])),
    ("vacuum_truncate", Takes::Boolean),
    ("autovacuum_vacuum_threshold", Takes::Integer(0, i32::MAX as i64)),
    ("autovacuum_vacuum_insert_threshold", Takes::Integer(-1, i32::MAX as i64)),
    ("autovacuum_analyze_threshold", Takes::Integer(0, i32::MAX as i64)),
    ("autovacuum_vacuum_scale_factor", Takes::Real(0.0, 100.0)),
    ("autovacuum_vacuum_insert_scale_factor", Takes::Real(0.0, 100.0)),
    ("autovacuum_analyze_scale_factor", Takes::Real(0.0, 100.0)),
    ("autovacuum_vacuum_cost_delay", Takes::Real(0.0, 100.0)),
    ("autovacuum_vacuum_cost_limit", Takes::Integer(1, 10_000)),
    ("autovacuum_freeze_min_age", Takes::Integer(0, 1_000_000_000)),
    ("autovacuum_freeze_max_age", Takes::Integer(100_000, 2_000_000_000)),
    ("autovacuum_freeze_table_age", Takes::Integer(0, 2_000_000_000)),
    ("autovacuum_multixact_freeze_min_age", Takes::Integer(0, 1_000_000_000)),
    ("autovacuum_multixact_freeze_max_age", Takes::Integer(10_000, 2_000_000_000)),
    ("autovacuum_multixact_freeze_table_age", Takes::Integer(0, 2_000_000_000)),
    ("log_autovacuum_min_duration", Takes::Integer(-1, i32::MAX as i64)),
];

fn storage_parameter(name: &str) -> Option<&'static Takes> {
    let (plain, of_toast) = match name.strip_prefix("toast.") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let found = STORAGE_PARAMETERS.iter().find(|(known, _)| *known == plain);
    found.filter(|(known, _)| !of_toast || known.contains("vacuum")).map(|(_, takes)| takes)
}

fn is_storage_parameter(name: &str) -> bool {
    storage_parameter(name).is_some() || name == "oids"
}

/// The properties that are not PostgreSQL's storage parameters; those are checked, in PostgreSQL's words.
fn iceberg_only(properties: &[(String, String)]) -> Result<Vec<(String, String)>, SqlError> {
    let mut kept = Vec::new();
    for (name, value) in properties {
        if name == "oids" {
            if matches!(value.to_lowercase().as_str(), "false" | "off" | "0" | "no") {
                continue;
            }
            return Err(SqlError::unsupported("tables declared WITH OIDS are not supported")
                .with_hint("Leave the parameter out: rows have no oids."));
        }
        match storage_parameter(name) {
            Some(takes) => check(name, value, takes)?,
            None => kept.push((name.clone(), value.clone())),
        }
    }
    Ok(kept)
}

fn check(name: &str, value: &str, takes: &Takes) -> Result<(), SqlError> {
    let invalid = |kind: &str| {
        let message = format!("invalid value for {kind} option \"{name}\": {value}");
        Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message))
    };
    let out_of_bounds = |low: String, high: String| {
        let message = format!("value {value} out of bounds for option \"{name}\"");
        Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_detail(format!("Valid values are between \"{low}\" and \"{high}\".")))
    };
    match takes {
        Takes::Boolean => match value.to_lowercase().as_str() {
            "true" | "false" | "on" | "off" | "yes" | "no" | "1" | "0" => Ok(()),
            _ => invalid("boolean"),
        },
        Takes::Integer(low, high) => match value.parse::<i64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(_) => out_of_bounds(low.to_string(), high.to_string()),
            Err(_) => invalid("integer"),
        },
        Takes::Real(low, high) => match value.parse::<f64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(_) => out_of_bounds(format!("{low:.6}"), format!("{high:.6}")),
            Err(_) => invalid("floating point"),
        },
        Takes::OneOf(values) if values.contains(&value.to_lowercase().as_str()) => Ok(()),
        Takes::OneOf(_) => invalid("enum"),
    }
}
