//! The procedure that backs the catalog up.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use wharf_values::{SqlError, SqlState};

use crate::session::Session;

/// `wharf.backup`
pub(super) async fn backup(session: &Session) -> Result<Vec<ArrayRef>, SqlError> {
    if !session.identity.superuser {
        let message = "permission denied to back up the catalog";
        return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message).with_hint("Only superusers may do this."));
    }
    let written = session.engine.write_backup().await?;
    let number = |number: u64| Arc::new(Int64Array::from(vec![i64::try_from(number).unwrap_or(i64::MAX)])) as ArrayRef;
    let location: ArrayRef = Arc::new(StringViewArray::from_iter_values([written.location]));
    Ok(vec![location, number(written.log_index), number(written.bytes as u64)])
}
