//! The system catalogs as tables: `pg_catalog`, `information_schema` and Wharf's own schema `wharf`.
//!
//! What always holds: a system table is made from the one snapshot of the catalog the statement reads, when the statement
//! names it; nothing is stored. Columns have PostgreSQL's names and types.

mod context;
mod empty;
mod functions;
mod information_schema;
mod objects;
mod relations;
mod rows;
mod tables;
mod types;
mod wharf;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use wharf_catalog::State;
use wharf_values::{SqlError, SqlState};

use crate::search_path::SearchPath;

pub(crate) use context::SystemContext;
pub(crate) use functions::functions;

/// The system table of a name; none when there is none.
pub(crate) fn table(schema: &str, name: &str, state: &Arc<State>, database: u32) -> Option<Arc<dyn TableProvider>> {
    tables::table(schema, name, state, database)
}

/// The oid of a relation by the text of a `regclass`.
///
/// # Errors
/// `42P01`.
pub(crate) fn relation_oid(
    state: &State,
    database: u32,
    search_path: &SearchPath,
    text: &str,
) -> Result<u32, SqlError> {
    let unquote = |part: &str| match part.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => part.to_lowercase(),
    };
    let found = match text.split_once('.') {
        Some((schema, name)) => {
            let (schema, name) = (unquote(schema.trim()), unquote(name.trim()));
            tables::system_oid(&schema, &name).or_else(|| {
                let namespace = state.namespace_by_name(database, &schema)?;
                Some(state.relation(namespace.oid, &name)?.oid())
            })
        }
        None => {
            let name = unquote(text.trim());
            tables::system_oid("pg_catalog", &name)
                .or_else(|| search_path.find(state, database, &name).map(|relation| relation.oid()))
        }
    };
    found
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", text.trim())))
}
