//! What a planned statement runs with: the values of its parameters, and the rows that statements before it have returned.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{LogicalPlan, TableScan, TableSource};
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use crate::error::from_datafusion;
use crate::session::with_values;

/// Rows by the names that they have in plans.
#[derive(Default)]
pub(crate) struct Given(Vec<(String, Arc<dyn TableSource>)>);

impl Given {
    /// Adds rows.
    pub(super) fn add(&mut self, name: &str, source: Arc<dyn TableSource>) {
        self.0.push((name.to_owned(), source));
    }
}

/// What a planned statement runs with.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The values of its parameters; `None` is NULL.
    pub(crate) values: &'a [Option<ArrayRef>],
    /// Their types.
    pub(crate) types: &'a [SqlType],
    /// The rows that it reads beside those of tables.
    pub(crate) given: &'a Given,
}

impl Inputs<'_> {
    /// A plan with all of it in its place.
    ///
    /// # Errors
    /// `08P01` when there are more or fewer values than parameters.
    pub(super) fn put(&self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let plan = with_values(plan, self.values.to_vec(), self.types)?;
        if self.given.0.is_empty() {
            return Ok(plan);
        }
        let replaced = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
            Ok(match self.given.0.iter().find(|(name, _)| scan.table_name.table() == name) {
                Some((_, source)) => {
                    Transformed::yes(LogicalPlan::TableScan(TableScan { source: Arc::clone(source), ..scan }))
                }
                None => Transformed::no(LogicalPlan::TableScan(scan)),
            })
        });
        replaced.map(|plan| plan.data).map_err(from_datafusion)
    }
}
