//! Statements that change rows: INSERT, UPDATE, DELETE, MERGE, TRUNCATE.
//!
//! `insert` adds rows; `update`, `delete`, `merge` and `conflict` (INSERT .. ON CONFLICT) plan changes, which `change` makes.
//! `with` has those that
//! stand in WITH. `write` is the one way rows get into a table, on this node; `fill` has other nodes go the same way with what they compute
//! of a query (`checked_rows`).

mod append;
mod change;
pub(crate) mod checked_rows;
pub(crate) mod checks;
mod clauses;
mod columns;
mod conflict;
pub(crate) mod constants;
pub(crate) mod defaults;
mod delete;
mod fill;
mod found;
mod inputs;
mod insert;
mod kept;
mod keys;
mod merge;
mod mode;
mod pairs;
mod query;
mod returning;
mod rewrite;
mod scope;
mod target;
pub(crate) mod truncate;
mod update;
mod with;
pub(crate) mod write;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;
use uuid::Uuid;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use crate::bind::BindContext;
use crate::session::{ResultColumn, Session};
use change::{ChangePlan, second_time};
use insert::InsertPlan;

pub(crate) use change::Changes;
pub(crate) use inputs::{Given, Inputs};
pub(crate) use with::{WithOutcome, WithPlan};

/// The statement that changes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Insert,
    /// INSERT .. ON CONFLICT DO NOTHING
    InsertOrNothing,
    /// INSERT .. ON CONFLICT DO UPDATE
    InsertOrUpdate,
    Update,
    Delete,
    Merge,
}

impl Command {
    /// The words of the command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Command::Insert | Command::InsertOrNothing | Command::InsertOrUpdate => "INSERT",
            Command::Update => "UPDATE",
            Command::Delete => "DELETE",
            Command::Merge => "MERGE",
        }
    }

    /// The command tag.
    pub(crate) fn tag(self, count: u64) -> String {
        match self {
            Command::Insert | Command::InsertOrNothing | Command::InsertOrUpdate => format!("INSERT 0 {count}"),
            other => format!("{} {count}", other.name()),
        }
    }

    /// Of several changes of one row, is the first made and the others left out? They are refused otherwise.
    fn takes_first(self) -> bool {
        match self {
            Command::Insert | Command::InsertOrNothing | Command::Update | Command::Delete => true,
            Command::InsertOrUpdate | Command::Merge => false,
        }
    }

    /// `21000`, in PostgreSQL's words.
    fn second_time(self) -> SqlError {
        match self {
            Command::Merge => {
                second_time("MERGE", "Ensure that not more than one source row matches any one target row.")
            }
            _ => second_time(
                "ON CONFLICT DO UPDATE",
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ),
        }
    }
}

/// A planned statement.
pub(crate) enum Write {
    Insert(InsertPlan),
    Change(ChangePlan),
}

impl Write {
    /// Plans a statement; none for one that is not of these.
    ///
    /// # Errors
    /// All that planning refuses.
    pub(crate) async fn plan(
        session: &Session,
        statement: &ast::Statement,
        parameters: &[Option<SqlType>],
        context: &mut BindContext,
    ) -> Result<Option<Write>, SqlError> {
        let (with, statement) = parts(statement);
        let plan = match statement {
            ast::Statement::Insert(insert) => {
                return Box::pin(insert::plan(session, insert, with, parameters, context)).await.map(Some);
            }
            ast::Statement::Update(update) => {
                Box::pin(update::plan(session, update, with, parameters, context)).await?
            }
            ast::Statement::Delete(delete) => {
                Box::pin(delete::plan(session, delete, with, parameters, context)).await?
            }
            ast::Statement::Merge(merge) => Box::pin(merge::plan(session, merge, with, parameters, context)).await?,
            _ => return Ok(None),
        };
        Ok(Some(Write::Change(plan)))
    }

    /// The command.
    pub(crate) fn command(&self) -> Command {
        match self {
            Write::Insert(_) => Command::Insert,
            Write::Change(plan) => plan.command,
        }
    }

    /// The query that gives the rows.
    pub(crate) fn rows(&self) -> &LogicalPlan {
        match self {
            Write::Insert(plan) => &plan.plan,
            Write::Change(plan) => &plan.found,
        }
    }

    /// The columns of RETURNING.
    pub(crate) fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        let returning = match self {
            Write::Insert(plan) => &plan.returning,
            Write::Change(plan) => &plan.returning,
        };
        returning.as_ref().map(|returning| &returning.columns)
    }

    /// Must it be the only one that writes to its table?
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Write::Change(plan) if plan.keys.is_some())
    }

    /// The table that it changes.
    pub(crate) fn table(&self) -> Uuid {
        match self {
            Write::Insert(plan) => plan.table.id,
            Write::Change(plan) => plan.table.id,
        }
    }

    /// Runs the statement.
    ///
    /// # Errors
    /// Whatever it raises.
    pub(crate) async fn run(&self, session: &mut Session, inputs: Inputs<'_>) -> Result<Changes, SqlError> {
        match self {
            Write::Insert(plan) => plan.run(session, inputs).await,
            Write::Change(plan) => plan.run(session, inputs).await,
        }
    }
}

/// Is it a statement that changes rows?
pub(crate) fn is_write(statement: &ast::Statement) -> bool {
    matches!(
        parts(statement).1,
        ast::Statement::Insert(_) | ast::Statement::Update(_) | ast::Statement::Delete(_) | ast::Statement::Merge(_)
    )
}

/// Does a statement change rows, by itself or by what is in its WITH?
pub(crate) fn changes_rows(statement: &ast::Statement) -> bool {
    is_write(statement) || with::changes_rows(statement)
}

/// The WITH clause before a statement that changes rows, and the statement.
fn parts(statement: &ast::Statement) -> (Option<&ast::With>, &ast::Statement) {
    if let ast::Statement::Query(query) = statement
        && let ast::SetExpr::Insert(inner)
        | ast::SetExpr::Update(inner)
        | ast::SetExpr::Delete(inner)
        | ast::SetExpr::Merge(inner) = query.body.as_ref()
    {
        return (query.with.as_ref(), inner);
    }
    (None, statement)
}

fn syntax_error(statement: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error in {statement}"))
}
