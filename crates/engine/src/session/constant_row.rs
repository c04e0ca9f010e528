//! The row of a query that reads nothing and computes nothing.
//!
//! `SELECT 1` is what pools and load balancers ask all day long. Once its plan is made, all that is left of it are literals: it is
//! answered from them, without running a plan. What always holds: the plan was made of nothing that could change, neither tables
//! nor the clock nor chance; who keeps the row keeps it with that plan.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;

/// The one row that a plan gives; none when it does more than to name literals.
pub(super) fn constant_row(plan: &Arc<dyn ExecutionPlan>) -> Option<RecordBatch> {
    let projection = plan.downcast_ref::<ProjectionExec>()?;
    projection.input().downcast_ref::<PlaceholderRowExec>()?;
    let columns: Option<Vec<ArrayRef>> =
        projection.expr().iter().map(|column| column.expr.downcast_ref::<Literal>()?.value().to_array().ok()).collect();
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(projection.schema(), columns?, &one_row).ok()
}
