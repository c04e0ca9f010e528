//! What a planned statement runs with: the values of its parameters.

use arrow::array::ArrayRef;
use datafusion::logical_expr::LogicalPlan;
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use crate::session::with_values;

/// What a planned statement runs with.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The values of its parameters; `None` is NULL.
    pub(crate) values: &'a [Option<ArrayRef>],
    /// Their types.
    pub(crate) types: &'a [SqlType],
}

impl Inputs<'_> {
    /// A plan with all of it in its place.
    ///
    /// # Errors
    /// `08P01` when there are more or fewer values than parameters.
    pub(super) fn put(&self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        with_values(plan, self.values.to_vec(), self.types)
    }
}
