//! UPDATE.

use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::change::{Action, ChangePlan};
use super::found::{Clauses, Found};
use super::target::Changed;
use super::{Command, columns, syntax_error};
use crate::bind::BindContext;
use crate::session::Session;

/// Plans an UPDATE.
///
/// # Errors
/// `42P01`, `42703`, `42601` for a column that is set twice, `42804` for types that do not fit, `55000` for a view.
pub(super) async fn plan(
    session: &Session,
    update: &ast::Update,
    with: Option<&ast::With>,
    parameters: &[Option<SqlType>],
    context: &mut BindContext,
) -> Result<ChangePlan, SqlError> {
    let others = match &update.from {
        None => Vec::new(),
        Some(ast::UpdateTableFromKind::AfterSet(others)) => others.clone(),
        Some(ast::UpdateTableFromKind::BeforeSet(_)) => return Err(syntax_error("UPDATE")),
    };
    if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() || update.output.is_some() {
        return Err(syntax_error("UPDATE"));
    }
    if !update.table.joins.is_empty() {
        return Err(syntax_error("UPDATE"));
    }
    let target = Changed::of_factor(session, &update.table.relation, "update", context).await?;
    let set = columns::assignments(&update.assignments, &target.table)?;
    let clauses = Clauses {
        with: with.cloned(),
        others,
        condition: update.selection.clone(),
        returning: update.returning.clone(),
    };
    let found = Found::plan(session, &target, Some(set), clauses, parameters, context).await?;
    Ok(found.into_plan(Command::Update, Action::Update, target))
}
