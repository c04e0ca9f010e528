//! DELETE.

use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::change::{Action, ChangePlan};
use super::found::{Clauses, Found};
use super::target::Changed;
use super::{Command, syntax_error};
use crate::bind::BindContext;
use crate::session::Session;

/// Plans a DELETE.
///
/// # Errors
/// `42P01`, `55000` for a view, and all that planning the clauses refuses.
pub(super) async fn plan(
    session: &Session,
    delete: &ast::Delete,
    with: Option<&ast::With>,
    parameters: &[Option<SqlType>],
    context: &mut BindContext,
) -> Result<ChangePlan, SqlError> {
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() || delete.output.is_some() {
        return Err(syntax_error("DELETE"));
    }
    let ast::FromTable::WithFromKeyword(tables) = &delete.from else { return Err(syntax_error("DELETE")) };
    let [ast::TableWithJoins { relation, joins }] = tables.as_slice() else { return Err(syntax_error("DELETE")) };
    if !joins.is_empty() {
        return Err(syntax_error("DELETE"));
    }
    let target = Changed::of_factor(session, relation, "delete from", context).await?;
    let clauses = Clauses {
        with: with.cloned(),
        others: delete.using.clone().unwrap_or_default(),
        condition: delete.selection.clone(),
        returning: delete.returning.clone(),
    };
    let found = Found::plan(session, &target, None, clauses, parameters, context).await?;
    Ok(found.into_plan(Command::Delete, Action::Delete, target))
}
