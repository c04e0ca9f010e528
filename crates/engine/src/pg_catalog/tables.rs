//! Which system tables there are, and their rows.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use wharf_catalog::{Relation, SqlType, State};

use super::rows::{Cell, Rows};

/// Oids of the catalogs that clients name in `regclass` casts, as PostgreSQL has them.
const CATALOG_OIDS: &[(&str, u32)] = &[
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", 1259),
    ("pg_authid", 1260),
    ("pg_database", 1262),
    ("pg_namespace", 2615),
    ("pg_constraint", 2606),
    ("pg_description", 2609),
];

/// The oid of a system table.
pub(super) fn system_oid(schema: &str, name: &str) -> Option<u32> {
    (schema == "pg_catalog").then(|| CATALOG_OIDS.iter().find(|(n, _)| *n == name).map(|(_, oid)| *oid))?
}

/// The system table of a name.
pub(super) fn table(schema: &str, name: &str, state: &Arc<State>, database: u32) -> Option<Arc<dyn TableProvider>> {
    match (schema, name) {
        ("pg_catalog", "pg_namespace") => namespaces(state, database),
        ("wharf", "tables") => wharf_tables(state, database),
        ("information_schema", "tables") => information_tables(state, database),
        _ => None,
    }
}

fn relations(state: &State, database: u32) -> Vec<(String, Relation)> {
    state
        .namespaces(database)
        .flat_map(|namespace| {
            state.relations_in(namespace.oid).map(|relation| (namespace.name.clone(), relation.clone()))
        })
        .collect()
}

fn namespaces(state: &State, database: u32) -> Option<Arc<dyn TableProvider>> {
    let mut rows =
        Rows::new(&[("oid", SqlType::Oid), ("nspname", SqlType::Name), ("nspowner", SqlType::Oid)]);
    for namespace in state.namespaces(database) {
        rows.push(vec![namespace.oid.into(), namespace.name.as_str().into(), namespace.owner.into()]);
    }
    rows.finish()
}

fn wharf_tables(state: &State, database: u32) -> Option<Arc<dyn TableProvider>> {
    let mut rows = Rows::new(&[
        ("schema_name", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_oid", SqlType::Oid),
        ("table_id", SqlType::Uuid),
        ("metadata_location", SqlType::Text),
        ("version", SqlType::BigInt),
    ]);
    for (schema, relation) in relations(state, database) {
        if let Relation::Table(table) = relation {
            rows.push(vec![
                schema.into(),
                table.name.as_str().into(),
                table.oid.into(),
                table.id.to_string().into(),
                table.metadata_location.as_str().into(),
                Cell::Int(table.version as i64),
            ]);
        }
    }
    rows.finish()
}

fn information_tables(state: &State, database: u32) -> Option<Arc<dyn TableProvider>> {
    let mut rows = Rows::new(&[
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_type", SqlType::Text),
    ]);
    let catalog = state.database(database).map(|database| database.name.clone()).unwrap_or_default();
    for (schema, relation) in relations(state, database) {
        let kind = if matches!(relation, Relation::Table(_)) { "BASE TABLE" } else { "VIEW" };
        rows.push(vec![catalog.as_str().into(), schema.into(), relation.name().into(), kind.into()]);
    }
    rows.finish()
}
