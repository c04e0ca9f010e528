//! Which system tables there are.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use wharf_catalog::{Relation, State};

use super::{empty, information_schema, objects, relations, types, wharf};

/// Oids of the catalogs that clients name in `regclass` casts, as PostgreSQL has them.
pub(super) const CATALOG_OIDS: &[(&str, u32)] = &[
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", 1259),
    ("pg_authid", 1260),
    ("pg_database", 1262),
    ("pg_constraint", 2606),
    ("pg_description", 2609),
    ("pg_namespace", 2615),
];

/// The oid of a system table.
pub(super) fn system_oid(schema: &str, name: &str) -> Option<u32> {
    if schema != "pg_catalog" {
        return None;
    }
    CATALOG_OIDS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// What a system table is made from.
pub(super) struct Source<'a> {
    pub(super) state: &'a State,
    pub(super) database: u32,
}

impl Source<'_> {
    /// The session's database by name.
    pub(super) fn database_name(&self) -> String {
        self.state.database(self.database).map(|database| database.name.clone()).unwrap_or_default()
    }

    /// A role's name.
    pub(super) fn role_name(&self, oid: u32) -> String {
        self.state.role(oid).map(|role| role.name.clone()).unwrap_or_default()
    }

    /// All tables and views of the database with their schemas' names.
    pub(super) fn relations(&self) -> Vec<(String, Relation)> {
        self.state
            .namespaces(self.database)
            .flat_map(|namespace| {
                self.state.relations_in(namespace.oid).map(|relation| (namespace.name.clone(), relation.clone()))
            })
            .collect()
    }
}

/// The system table of a name.
pub(super) fn table(schema: &str, name: &str, state: &Arc<State>, database: u32) -> Option<Arc<dyn TableProvider>> {
    let source = Source { state, database };
    match schema {
        "pg_catalog" => relations::table(name, &source)
            .or_else(|| objects::table(name, &source))
            .or_else(|| types::table(name))
            .or_else(|| empty::table(name)),
        "information_schema" => information_schema::table(name, &source),
        "wharf" => wharf::table(name, &source),
        _ => None,
    }
    .and_then(super::rows::Rows::finish)
}
