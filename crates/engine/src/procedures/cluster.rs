//! The procedures that change which nodes there are, and which one leads.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use wharf_values::{SqlError, SqlState};

use super::arguments::Arguments;
use crate::error::from_consensus;
use crate::session::Session;

/// `wharf.remove_node`
pub(super) async fn remove_node(session: &Session, arguments: &Arguments) -> Result<Vec<ArrayRef>, SqlError> {
    let node = node(session, arguments, "remove nodes")?;
    session.engine.group.remove(node).await.map_err(|error| from_consensus(&error))?;
    Ok(answer(node))
}

/// `wharf.transfer_leader`
pub(super) async fn transfer_leader(session: &Session, arguments: &Arguments) -> Result<Vec<ArrayRef>, SqlError> {
    let node = node(session, arguments, "choose the leader")?;
    session.engine.group.transfer_leader(node).await.map_err(|error| from_consensus(&error))?;
    Ok(answer(node))
}

/// The node that a call names.
///
/// # Errors
/// `42501` for those who may not do `what`, `22004` and `22023` for what is no number of a node.
fn node(session: &Session, arguments: &Arguments, what: &str) -> Result<u64, SqlError> {
    if !session.identity.superuser {
        let message = format!("permission denied to {what}");
        return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message).with_hint("Only superusers may do this."));
    }
    let given = arguments
        .integer("node_id")?
        .ok_or_else(|| SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "the number of the node must not be null"))?;
    u64::try_from(given).ok().filter(|node| *node > 0).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("there is no node {given}"))
            .with_hint("SELECT * FROM wharf.nodes shows the nodes.")
    })
}

fn answer(node: u64) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(vec![i64::try_from(node).unwrap_or(i64::MAX)]))]
}
