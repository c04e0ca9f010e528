//! COMMENT ON.

use sqlparser::ast::{CommentObject, ObjectName, Statement as Ast};
use wharf_catalog::{Command, CommentTarget, RelationKind};
use wharf_values::{SqlError, SqlState};

use super::{propose, unsupported_clause};
use crate::bind::names::{fold, last_part};
use crate::names::existing_relation_name;
use crate::session::Session;
use crate::syntax::Clauses;

pub(super) async fn run(session: &mut Session, statement: &Ast, clauses: Clauses) -> Result<(), SqlError> {
    let Ast::Comment { object_type, object_name, comment, .. } = statement else {
        return Err(SqlError::internal("not COMMENT"));
    };
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    let on = match object_type {
        CommentObject::Table => {
            let kind = if clauses.foreign { RelationKind::Foreign } else { RelationKind::Table };
            CommentTarget::Relation { kind, name: existing_relation_name(object_name, &context)? }
        }
        CommentObject::View => {
            CommentTarget::Relation { kind: RelationKind::View, name: existing_relation_name(object_name, &context)? }
        }
        CommentObject::Column => {
            let mut parts = object_name.0.clone();
            let column = parts.pop().and_then(|part| part.as_ident().map(fold)).unwrap_or_default();
            if parts.is_empty() {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "column name must be qualified"));
            }
            CommentTarget::Column { relation: existing_relation_name(&ObjectName(parts), &context)?, column }
        }
        CommentObject::Schema => CommentTarget::Schema(last_part(object_name)),
        CommentObject::Database => CommentTarget::Database(last_part(object_name)),
        CommentObject::Role | CommentObject::User => CommentTarget::Role(last_part(object_name)),
        other => return Err(unsupported_clause("COMMENT", &format!("ON {other}"))),
    };
    let command = Command::Comment { database: session.identity.database, on, text: comment.clone() };
    propose(session, command).await.map(drop)
}
