//! Expressions without rows: EXECUTE's arguments, column defaults.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::physical_plan::collect;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use crate::bind::{BindContext, analyze, coerce_columns, planner};
use crate::error::from_datafusion;
use crate::optimize::physical_plan;
use crate::session::{Session, task_context};

/// Evaluates a list of expressions at the given types; one row comes back.
///
/// # Errors
/// Whatever the expressions raise.
pub(crate) async fn evaluate(
    session: &Session,
    list: Vec<ast::Expr>,
    types: &[SqlType],
    context: &BindContext,
) -> Result<RecordBatch, SqlError> {
    let query = select(list)?;
    let planned = planner::plan_query(&query, &[], context, &session.reader()).await?;
    let plan = analyze(planned.plan, context)
        .and_then(|plan| coerce_columns(plan, types, context))
        .map_err(from_datafusion)?;
    let state = &context.session;
    let physical = physical_plan(&plan, state).await?;
    let schema = physical.schema();
    let batches = collect(physical, task_context(state)).await.map_err(from_datafusion)?;
    concat_batches(&schema, &batches).map_err(|error| SqlError::internal(error.to_string()))
}

/// `SELECT` of these expressions.
pub(crate) fn select(list: Vec<ast::Expr>) -> Result<ast::Query, SqlError> {
    let Some(ast::Statement::Query(mut query)) = crate::statement::parse("SELECT NULL")?.pop() else {
        return Err(SqlError::internal("SELECT is not a query"));
    };
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = list.into_iter().map(ast::SelectItem::UnnamedExpr).collect();
    }
    Ok(*query)
}

/// An expression kept as text: a column's default.
///
/// # Errors
/// `42601` for a text that is none.
pub(crate) fn parse(text: &str) -> Result<ast::Expr, SqlError> {
    let invalid = || SqlError::internal(format!("\"{text}\" is not an expression"));
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&format!("SELECT {text}"))?.pop() else {
        return Err(invalid());
    };
    let ast::SetExpr::Select(select) = *query.body else { return Err(invalid()) };
    match select.projection.into_iter().next() {
        Some(ast::SelectItem::UnnamedExpr(expr)) => Ok(expr),
        _ => Err(invalid()),
    }
}
