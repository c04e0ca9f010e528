//! Which system tables there are.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use wharf_catalog::{Relation, State};

use super::rows::Rows;
use super::{
    SystemContext, activity, constraints, information_schema, metadata, objects, queries, relations, session, system,
    types, wharf,
};

/// What a system table is made from.
pub(super) struct Source<'a> {
    pub(super) state: &'a State,
    pub(super) database: u32,
    /// What only the session knows.
    pub(super) session: Option<&'a SystemContext>,
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

/// The tables of `pg_catalog` that have rows when there is something to show.
const WITH_ROWS: &[&str] = &[
    "pg_am",
    "pg_attrdef",
    "pg_attribute",
    "pg_authid",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_database",
    "pg_description",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_indexes",
    "pg_namespace",
    "pg_prepared_statements",
    "pg_roles",
    "pg_settings",
    "pg_stat_activity",
    "pg_stat_all_tables",
    "pg_stat_user_tables",
    "pg_tables",
    "pg_tablespace",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// Is this a table about what Wharf does not have?
pub(super) fn is_always_empty(schema: &str, name: &str) -> bool {
    schema == "pg_catalog" && system::by_name(schema, name).is_some() && !WITH_ROWS.contains(&name)
}

/// The system table of a name.
pub(super) fn table(
    schema: &str,
    name: &str,
    state: &State,
    database: u32,
    session: Option<&SystemContext>,
) -> Option<Arc<dyn TableProvider>> {
    let source = Source { state, database, session };
    let made = match schema {
        "pg_catalog" => relations::table(name, &source)
            .or_else(|| objects::table(name, &source))
            .or_else(|| constraints::table(name, &source))
            .or_else(|| session::table(name, &source))
            .or_else(|| activity::table(name, &source))
            .or_else(|| types::table(name)),
        "information_schema" => information_schema::table(name, &source).or_else(|| constraints::view(name, &source)),
        // What other nodes have to be asked for is there when the query runs.
        "wharf" if name == "queries" => return queries::table(session?),
        "wharf" => wharf::table(name, &source),
        _ => return None,
    };
    debug_assert!(schema != "pg_catalog" || made.is_none() || WITH_ROWS.contains(&name), "{name} can have rows");
    let rows = match (made, system::by_name(schema, name)) {
        (Some(rows), Some(relation)) => rows.with_columns_of(relation),
        // What Wharf does not have: clients ask for it, and find no rows.
        (None, Some(relation)) => Rows::empty(relation),
        (Some(rows), None) => rows,
        (None, None) => return None,
    };
    match (schema, name) {
        ("pg_catalog", "pg_class") => metadata::table(rows, relations::OPTIONS, &source),
        ("wharf", "table_definitions") => metadata::table(rows, wharf::DEFINITIONS, &source),
        _ => rows.finish(),
    }
}
