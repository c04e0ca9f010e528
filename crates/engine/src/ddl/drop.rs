//! DROP of tables, views, schemas and roles.

use sqlparser::ast::{ObjectType, Statement as Ast};
use wharf_catalog::{Command, RelationKind, RelationName};
use wharf_values::{SqlError, SqlState};

use super::{propose, unsupported_clause};
use crate::bind::names::last_part;
use crate::names::existing_relation_name;
use crate::session::Session;
use crate::syntax::Clauses;

pub(super) async fn run(session: &mut Session, statement: &Ast, clauses: Clauses) -> Result<(), SqlError> {
    let Ast::Drop { object_type, if_exists, names, cascade, purge, .. } = statement else {
        return Err(SqlError::internal("not DROP"));
    };
    let (if_exists, cascade) = (*if_exists, *cascade);
    let purge = *purge || session.engine.options.dropped_retention.is_zero();
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let database = session.identity.database;
    let search_path = context.search_path.schemas().to_vec();
    let command = match object_type {
        ObjectType::Table | ObjectType::View => {
            let kind = match object_type {
                ObjectType::View => RelationKind::View,
                _ if clauses.foreign => RelationKind::Foreign,
                _ => RelationKind::Table,
            };
            let names =
                names.iter().map(|name| existing_relation_name(name, &context)).collect::<Result<Vec<_>, _>>()?;
            for RelationName { schema, name } in &names {
                if crate::pg_catalog::is_system_relation(schema, name) {
                    let message = format!("permission denied: \"{name}\" is a system catalog");
                    return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
                }
            }
            Command::DropRelations { database, kind, names, if_exists, cascade, search_path, purge }
        }
        ObjectType::Schema => Command::DropSchemas {
            database,
            names: names.iter().map(last_part).collect(),
            if_exists,
            cascade,
            search_path,
        },
        ObjectType::Role | ObjectType::User => {
            super::role::require_superuser(session, "drop role")?;
            Command::DropRoles { names: names.iter().map(last_part).collect(), if_exists, database, search_path }
        }
        ObjectType::Index => {
            let name = names.first().map(last_part).unwrap_or_default();
            let error = SqlError::new(SqlState::UNDEFINED_OBJECT, format!("index \"{name}\" does not exist"));
            if if_exists {
                session.notice("NOTICE", SqlError { message: format!("{}, skipping", error.message), ..error });
                return Ok(());
            }
            return Err(error);
        }
        other => return Err(unsupported_clause("DROP", &other.to_string())),
    };
    propose(session, command).await.map(drop)
}
