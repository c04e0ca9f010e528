//! Roles and their passwords.

use sqlparser::ast::{self, Statement as Ast};
use wharf_catalog::Command;
use wharf_values::{SqlError, SqlState};

use super::{propose, unsupported_clause};
use crate::bind::names::{fold, last_part};
use crate::scram;
use crate::session::Session;

/// Refuses what only a superuser may do.
pub(super) fn require_superuser(session: &Session, action: &str) -> Result<(), SqlError> {
    if session.identity.superuser {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied to {action}")))
}

/// The oid of a role.
pub(super) async fn oid(session: &mut Session, name: &str) -> Result<u32, SqlError> {
    let catalog = session.catalog().await?;
    catalog
        .role_by_name(name)
        .map(|role| role.oid)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
}

pub(super) async fn run(session: &mut Session, statement: &Ast) -> Result<(), SqlError> {
    match statement {
        Ast::CreateRole(create) => {
            require_superuser(session, "create role")?;
            let password = match &create.password {
                Some(ast::Password::Password(expr)) => Some(password_text(expr)?),
                Some(ast::Password::NullPassword) | None => None,
            };
            for name in &create.names {
                let command = Command::CreateRole {
                    name: last_part(name),
                    superuser: create.superuser.unwrap_or(false),
                    login: create.login.unwrap_or(false),
                    verifier: password.as_deref().map(scram::verifier).transpose()?,
                };
                propose(session, command).await?;
            }
            Ok(())
        }
        Ast::AlterRole { name, operation: ast::AlterRoleOperation::WithOptions { options } } => {
            let name = fold(name);
            if name != session.identity.role {
                require_superuser(session, "alter role")?;
            }
            let [ast::RoleOption::Password(password)] = options.as_slice() else {
                return Err(unsupported_clause("ALTER ROLE", "everything but PASSWORD"));
            };
            let verifier = match password {
                ast::Password::Password(expr) => Some(scram::verifier(&password_text(expr)?)?),
                ast::Password::NullPassword => None,
            };
            propose(session, Command::AlterRolePassword { name, verifier }).await.map(drop)
        }
        other => {
            let words: Vec<String> = other.to_string().split_whitespace().take(2).map(str::to_owned).collect();
            Err(SqlError::unsupported(format!("this form of {} is not supported", words.join(" ")))
                .with_hint("Use CREATE ROLE name LOGIN PASSWORD '..' and ALTER ROLE name PASSWORD '..'."))
        }
    }
}

fn password_text(expr: &ast::Expr) -> Result<String, SqlError> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Ok(text.clone()),
            _ => Err(SqlError::new(SqlState::SYNTAX_ERROR, "a password must be a string")),
        },
        _ => Err(SqlError::new(SqlState::SYNTAX_ERROR, "a password must be a string")),
    }
}
