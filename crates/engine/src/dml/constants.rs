//! Expressions without rows: EXECUTE's arguments, column defaults.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::physical_plan::collect;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use crate::bind::{BindContext, analyze, coerce_columns, planner};
use crate::error::from_datafusion;
use crate::session::{Session, task_context};

/// Evaluates a list of expressions at the given types; one row comes back.
///
/// # Errors
/// Whatever the expressions raise.
pub(crate) async fn evaluate(
    session: &Session,
    list: &str,
    types: &[SqlType],
    context: &BindContext,
) -> Result<RecordBatch, SqlError> {
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&format!("SELECT {list}"))?.pop() else {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "expected a list of expressions"));
    };
    let planned = planner::plan_query(&query, &[], context, &session.reader()).await?;
    let plan = analyze(planned.plan, context)
        .and_then(|plan| coerce_columns(plan, types, context))
        .map_err(from_datafusion)?;
    let state = &context.session;
    let optimized = state.optimize(&plan).map_err(from_datafusion)?;
    let physical =
        state.query_planner().create_physical_plan(&optimized, state.as_ref()).await.map_err(from_datafusion)?;
    let schema = physical.schema();
    let batches = collect(physical, task_context(state)).await.map_err(from_datafusion)?;
    concat_batches(&schema, &batches).map_err(|error| SqlError::internal(error.to_string()))
}
