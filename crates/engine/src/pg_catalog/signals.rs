//! `pg_cancel_backend(pid)` and `pg_terminate_backend(pid)`: one session stops another of this node.
//!
//! Who may do it is PostgreSQL's rule without its role for others: the same role, and superusers, who alone may stop superusers.

use std::sync::Arc;

use wharf_values::{SqlError, SqlState};

use super::functions::{Row, Value};
use crate::queries::Client;

/// Stops the statement that a process runs; false when there is no such process.
pub(super) fn cancel(row: &Row<'_>) -> Result<Value, SqlError> {
    signal(row, ["cancel superuser query", "query is being canceled"], |client| client.canceller.cancel())
}

/// Ends the session of a process; false when there is no such process.
pub(super) fn terminate(row: &Row<'_>) -> Result<Value, SqlError> {
    signal(row, ["terminate superuser process", "process is being terminated"], |client| client.canceller.end())
}

/// `what` is what a superuser alone may do to superusers, and what happens to others.
fn signal(row: &Row<'_>, what: [&str; 2], send: fn(&Arc<Client>)) -> Result<Value, SqlError> {
    let [of_superusers, of_others] = what;
    let Some(process) = row.numbers.first().copied().flatten() else { return Ok(Value::Null) };
    let client = u32::try_from(process).ok().and_then(|process| row.context.queries.client(process));
    let Some(client) = client else { return Ok(Value::Bool(false)) };
    let own = &row.context.identity;
    if !own.superuser && own.role_oid != client.role {
        // One whose role is gone was no superuser to be asked about.
        let superuser = row.context.catalog.role(client.role).is_some_and(|role| role.superuser);
        let message = match superuser {
            true => format!("must be a superuser to {of_superusers}"),
            false => format!("must be a member of the role whose {of_others}"),
        };
        return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
            .with_hint("A superuser may stop the sessions of others."));
    }
    send(&client);
    Ok(Value::Bool(true))
}
