//! Statements that change the catalog: schemas, tables, views, names, comments, roles.
//!
//! What always holds: a statement is one command to the catalog, so it takes effect whole or not at all. In a transaction it is
//! applied to the transaction's own catalog, and to the real one by its commit. Files written for a table that is not created
//! in the end are removed.

mod alter;
mod alter_table;
mod comment;
mod constraints;
mod drop;
mod external;
mod from_files;
mod layout;
mod like;
mod refs;
mod rename;
mod role;
mod schema;
mod table;
mod undrop;
mod view;

use sqlparser::ast::Statement as Ast;
use uuid::Uuid;
use wharf_catalog::{Answer, Command, State};
use wharf_lake::commit::{Step, Uncommitted};
use wharf_values::{SqlError, SqlState};

use crate::session::{Outcome, Session};
use crate::statement::Statement;
use crate::syntax::Own;

/// The command tag of a statement of this chapter; none when it is of another.
pub(crate) fn tag(statement: &Statement) -> Option<&'static str> {
    use sqlparser::ast::ObjectType;
    match statement.own.as_deref() {
        Some(Own::Undrop) => return Some("UNDROP TABLE"),
        Some(Own::External(_)) => return Some("CREATE FOREIGN TABLE"),
        _ => {}
    }
    Some(match &*statement.ast {
        Ast::CreateSchema { .. } => "CREATE SCHEMA",
        Ast::CreateTable(create) if create.query.is_some() => "CREATE TABLE AS",
        Ast::CreateTable(_) => "CREATE TABLE",
        Ast::CreateView(_) => "CREATE VIEW",
        Ast::Drop { object_type, .. } => match object_type {
            ObjectType::Table if statement.clauses.foreign => "DROP FOREIGN TABLE",
            ObjectType::Table => "DROP TABLE",
            ObjectType::View => "DROP VIEW",
            ObjectType::Schema => "DROP SCHEMA",
            ObjectType::Role | ObjectType::User => "DROP ROLE",
            ObjectType::Index => "DROP INDEX",
            _ => return None,
        },
        Ast::AlterTable(_) if statement.clauses.alter_view => "ALTER VIEW",
        Ast::AlterTable(_) if statement.clauses.foreign => "ALTER FOREIGN TABLE",
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
    let clauses = statement.layout.as_deref();
    match ast {
        Ast::CreateSchema { .. } => schema::create(session, ast).await?,
        Ast::CreateTable(create) if let Some(Own::External(files)) = statement.own.as_deref() => {
            external::create(session, create, files).await?;
        }
        Ast::CreateTable(create) if let Some(Own::FromFiles(files)) = statement.own.as_deref() => {
            if let Some(rows) = from_files::create(session, create, files, clauses).await? {
                return Ok(Outcome::Complete(format!("COPY {rows}")));
            }
        }
        Ast::CreateTable(create) if create.query.is_some() => {
            let rows = table::create_as(session, create, statement.clauses, clauses).await?;
            let tag = rows.map_or_else(|| "CREATE TABLE AS".to_owned(), |rows| format!("SELECT {rows}"));
            return Ok(Outcome::Complete(tag));
        }
        Ast::CreateTable(create) if create.clone.is_some() => undrop::clone(session, create).await?,
        Ast::CreateTable(create) => table::create(session, create, statement.clauses.like, clauses).await?,
        Ast::CreateView(create) => view::create(session, create).await?,
        Ast::Drop { .. } => drop::run(session, ast, statement.clauses).await?,
        Ast::AlterTable(alter) => match statement.own.as_deref() {
            None => alter::table(session, alter, statement.clauses).await?,
            Some(Own::Undrop) => undrop::undrop(session, alter).await?,
            Some(Own::Layout(change)) => layout::alter(session, alter, change).await?,
            Some(own) => refs::run(session, alter, own).await?,
        },
        Ast::AlterSchema(alter) => alter::schema(session, alter).await?,
        Ast::AlterRole { .. } | Ast::CreateRole(_) | Ast::CreateUser(_) | Ast::AlterUser(_) => {
            role::run(session, ast).await?;
        }
        Ast::Comment { .. } => comment::run(session, ast, statement.clauses).await?,
        Ast::CreateIndex(create) => session.notice("NOTICE", no_index(create.unique)),
        other => return Err(SqlError::internal(format!("not a DDL statement: {other}"))),
    }
    complete(tag(statement).unwrap_or_default())
}

/// What becomes of an index.
fn no_index(unique: bool) -> SqlError {
    if !unique {
        let message = "Wharf has no indexes; the statement changed nothing";
        return SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message)
            .with_detail("Tables are pruned by the statistics of their data files.");
    }
    let message = "Wharf has no indexes; the statement changed nothing, and uniqueness is not enforced";
    SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message)
        .with_detail("Rows with equal values are accepted, by this table as by every other.")
        .with_hint("INSERT .. ON CONFLICT goes by a PRIMARY KEY or UNIQUE constraint of the table, which is not enforced either.")
}

/// Has a command applied and passes its notices on.
async fn propose(session: &mut Session, command: Command) -> Result<Answer, SqlError> {
    let written = Uncommitted::new(&session.engine.warehouse);
    propose_written(session, command, written).await
}

/// The same for a command that leads to files that were written for it; they go when it comes to nothing.
async fn propose_written(session: &mut Session, command: Command, written: Uncommitted) -> Result<Answer, SqlError> {
    let answer = session.define(command, None, written).await?;
    announce(session, &answer);
    Ok(answer)
}

/// Has a command applied together with a step of a table's metadata. Both are made of the catalog as it is; outside of a
/// transaction they are made anew when another transaction was faster.
async fn propose_change(
    session: &mut Session,
    make: impl Fn(&State) -> Result<(Command, Option<(Uuid, Step)>), SqlError>,
) -> Result<Answer, SqlError> {
    let mut attempts = match session.transaction {
        Some(_) => 1,
        None => session.engine.options.commit_attempts.max(1),
    };
    loop {
        let catalog = session.catalog().await?;
        let (command, step) = make(&catalog)?;
        let written = Uncommitted::new(&session.engine.warehouse);
        attempts -= 1;
        match session.define(command, step, written).await {
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE && attempts > 0 => {}
            answer => {
                let answer = answer?;
                announce(session, &answer);
                return Ok(answer);
            }
        }
    }
}

/// Passes an answer's notices on.
fn announce(session: &mut Session, answer: &Answer) {
    for notice in &answer.notices {
        let code = SqlState::parse(&notice.sqlstate).unwrap_or(SqlState::SUCCESSFUL_COMPLETION);
        let mut error = SqlError::new(code, notice.message.clone());
        error.detail.clone_from(&notice.detail);
        session.notice("NOTICE", error);
    }
}

/// `0A000` for a clause that is not there.
fn unsupported_clause(statement: &str, clause: &str) -> SqlError {
    SqlError::unsupported(format!("{clause} of {statement} is not supported"))
        .with_hint("Leave the clause out; docs/postgres-compatibility.md lists what there is.")
}
