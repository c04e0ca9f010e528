//! The system catalogs as tables: `pg_catalog`, `information_schema` and Wharf's own schema `wharf`.
//!
//! What always holds: a system table is made from the one snapshot of the catalog the statement reads, when the statement
//! names it; nothing is stored. What of a table is in its metadata alone is read when the query runs (`metadata`). Columns have
//! PostgreSQL's names and types.

mod activity;
mod constraints;
mod context;
mod definitions;
mod functions;
mod information_schema;
mod metadata;
mod names;
mod objects;
mod queries;
mod relations;
mod rows;
mod session;
mod signals;
mod simplify;
mod sleep;
mod system;
mod tables;
mod types;
mod wharf;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use wharf_catalog::State;

pub(crate) use context::{SettingChange, SystemContext};
pub(crate) use functions::{functions, reads_session, without_limits};
pub(crate) use names::{name_of, named_oid, oid_of};
pub(crate) use session::PreparedInfo;
pub(crate) use simplify::simplify;

/// The system table of a name; none when there is none.
pub(crate) fn table(
    schema: &str,
    name: &str,
    state: &State,
    database: u32,
    session: Option<&SystemContext>,
) -> Option<Arc<dyn TableProvider>> {
    tables::table(schema, name, state, database, session)
}

/// Whether the rows of a system table change without the catalog or a setting changing, so that no plan with them may be kept.
pub(crate) fn changes_by_itself(schema: &str, name: &str) -> bool {
    match schema {
        "wharf" => wharf::CHANGING.contains(&name),
        "pg_catalog" => name == "pg_stat_activity",
        _ => false,
    }
}

/// The oid of a system table.
pub(crate) fn system_oid(schema: &str, name: &str) -> Option<u32> {
    system::oid(schema, name)
}

/// Is this the name of a table or view of the system?
pub(crate) fn is_system_relation(schema: &str, name: &str) -> bool {
    system::by_name(schema, name).is_some() || (schema == "wharf" && wharf::NAMES.contains(&name))
}
