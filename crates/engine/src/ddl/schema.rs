//! CREATE SCHEMA.

use sqlparser::ast::{SchemaName, Statement as Ast};
use wharf_catalog::Command;
use wharf_values::SqlError;

use super::{propose, unsupported_clause};
use crate::bind::names::{fold, last_part};
use crate::session::Session;

pub(super) async fn create(session: &mut Session, statement: &Ast) -> Result<(), SqlError> {
    let Ast::CreateSchema { schema_name, if_not_exists, with, options, clone, .. } = statement else {
        return Err(SqlError::internal("not CREATE SCHEMA"));
    };
    if with.is_some() || options.is_some() || clone.is_some() {
        return Err(unsupported_clause("CREATE SCHEMA", "options"));
    }
    let (name, owner) = match schema_name {
        SchemaName::Simple(name) => (last_part(name), None),
        SchemaName::UnnamedAuthorization(role) => (fold(role), Some(fold(role))),
        SchemaName::NamedAuthorization(name, role) => (last_part(name), Some(fold(role))),
    };
    let owner = match owner {
        Some(role) if role != "current_user" => super::role::oid(session, &role).await?,
        _ => session.identity.role_oid,
    };
    let command =
        Command::CreateSchema { database: session.identity.database, name, owner, if_not_exists: *if_not_exists };
    propose(session, command).await.map(drop)
}
