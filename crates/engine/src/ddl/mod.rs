//! Statements that change the catalog: schemas, tables, views, names, comments, roles.
//!
//! What always holds: a statement is one command to the catalog, so it takes effect whole or not at all; files written
//! for a table that is not created in the end are orphans that nobody refers to.

mod alter;
mod comment;
mod drop;
mod rename;
mod role;
mod schema;
mod table;
mod view;

use sqlparser::ast::Statement as Ast;
use wharf_catalog::{Answer, Command};
use wharf_values::{SqlError, SqlState};

use crate::session::{Outcome, Session};
use crate::statement::Statement;

/// The command tag of a statement of this chapter; none when it is of another.
pub(crate) fn tag(statement: &Statement) -> Option<&'static str> {
    use sqlparser::ast::ObjectType;
    Some(match &*statement.ast {
        Ast::CreateSchema { .. } => "CREATE SCHEMA",
        Ast::CreateTable(create) if create.query.is_some() => "CREATE TABLE AS",
        Ast::CreateTable(_) => "CREATE TABLE",
        Ast::CreateView(_) => "CREATE VIEW",
        Ast::Drop { object_type, .. } => match object_type {
            ObjectType::Table => "DROP TABLE",
            ObjectType::View => "DROP VIEW",
            ObjectType::Schema => "DROP SCHEMA",
            ObjectType::Role | ObjectType::User => "DROP ROLE",
            ObjectType::Index => "DROP INDEX",
            _ => return None,
        },
        Ast::AlterTable(_) if statement.clauses.alter_view => "ALTER VIEW",
        Ast::AlterTable(_) => "ALTER TABLE",
        Ast::AlterSchema(_) => "ALTER SCHEMA",
        Ast::AlterRole { .. } => "ALTER ROLE",
        Ast::AlterUser(_) => "ALTER ROLE",
        Ast::CreateRole(_) => "CREATE ROLE",
        Ast::CreateUser(_) => "CREATE ROLE",
        Ast::Comment { .. } => "COMMENT",
        Ast::CreateIndex(_) => "CREATE INDEX",
        _ => return None,
    })
}

/// Runs a statement of this chapter.
///
/// # Errors
/// What the catalog answers, in PostgreSQL's words.
pub(crate) async fn run(session: &mut Session, statement: &Statement) -> Result<Outcome, SqlError> {
    let complete = |tag: &str| Ok(Outcome::Complete(tag.to_owned()));
    let ast = &*statement.ast;
    match ast {
        Ast::CreateSchema { .. } => schema::create(session, ast).await?,
        Ast::CreateTable(create) if create.query.is_some() => {
            let rows = table::create_as(session, create, statement.clauses).await?;
            return Ok(Outcome::Complete(format!("SELECT {rows}")));
        }
        Ast::CreateTable(create) => table::create(session, create).await?,
        Ast::CreateView(create) => view::create(session, create).await?,
        Ast::Drop { .. } => drop::run(session, ast).await?,
        Ast::AlterTable(alter) => alter::table(session, alter, statement.clauses).await?,
        Ast::AlterSchema(alter) => alter::schema(session, alter).await?,
        Ast::AlterRole { .. } | Ast::CreateRole(_) | Ast::CreateUser(_) | Ast::AlterUser(_) => {
            role::run(session, ast).await?;
        }
        Ast::Comment { .. } => comment::run(session, ast).await?,
        Ast::CreateIndex(_) => session.notice(
            "NOTICE",
            SqlError::new(SqlState::SUCCESSFUL_COMPLETION, "Wharf has no indexes; the statement changed nothing")
                .with_detail("Tables are pruned by the statistics of their data files."),
        ),
        other => return Err(SqlError::internal(format!("not a DDL statement: {other}"))),
    }
    complete(tag(statement).unwrap_or_default())
}

/// Proposes a command and passes its notices on.
async fn propose(session: &mut Session, command: Command) -> Result<Answer, SqlError> {
    let answer = session.engine.propose(command).await?;
    announce(session, &answer);
    Ok(answer)
}

/// Passes an answer's notices on, and lets later statements of the same text see what was done.
fn announce(session: &mut Session, answer: &Answer) {
    for notice in &answer.notices {
        let code = SqlState::parse(&notice.sqlstate).unwrap_or(SqlState::SUCCESSFUL_COMPLETION);
        let mut error = SqlError::new(code, notice.message.clone());
        error.detail.clone_from(&notice.detail);
        session.notice("NOTICE", error);
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.catalog = None;
    }
}

/// `0A000` for a clause that is not there.
fn unsupported_clause(statement: &str, clause: &str) -> SqlError {
    SqlError::unsupported(format!("{clause} of {statement} is not supported"))
        .with_hint("Leave the clause out; docs/postgres-compatibility.md lists what there is.")
}
