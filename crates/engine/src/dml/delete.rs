//! DELETE.

use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::rewrite::{RewritePlan, Rows};
use crate::bind::BindContext;
use crate::session::Session;

/// Plans a DELETE.
///
/// # Errors
/// `42P01`, `55000` for a view, and all that planning the condition refuses.
pub(crate) async fn plan(
    session: &Session,
    delete: &ast::Delete,
    parameters: &[Option<SqlType>],
    mut context: BindContext,
) -> Result<(RewritePlan, BindContext), SqlError> {
    if delete.returning.is_some() {
        return Err(SqlError::unsupported("DELETE .. RETURNING is not supported yet"));
    }
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() || delete.output.is_some() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error in DELETE"));
    }
    let ast::FromTable::WithFromKeyword(tables) = &delete.from else {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error: DELETE without FROM"));
    };
    let [table] = tables.as_slice() else {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \",\""));
    };
    let others = delete.using.clone().unwrap_or_default();
    let rows = Rows::new(session, table, others, delete.selection.clone(), "delete from", &mut context).await?;
    let plan = RewritePlan::new(session, &rows, None, parameters, &context).await?;
    Ok((plan, context))
}
