//! Rows on their way into a table as a step of a plan: brought to the types that are stored, and held against the table's rules.
//!
//! What always holds: it does what `Target::write` does before it writes, with the same errors, on whichever node it runs.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use wharf_fanout::WrittenOperator;
use wharf_values::{SqlError, TextFormat};

use super::checks::{Checks, Condition};
use crate::cast::as_stored;
use crate::error::to_datafusion;

/// Rows of a table as they are stored, of which none contradicts its rules.
pub(crate) struct CheckRowsExec {
    input: Arc<dyn ExecutionPlan>,
    checks: Arc<Checks>,
    properties: Arc<PlanProperties>,
}

impl CheckRowsExec {
    /// Over rows that have the table's columns in their order.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, checks: Arc<Checks>) -> CheckRowsExec {
        let below = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(checks.schema())),
            Partitioning::UnknownPartitioning(below.partitioning.partition_count()),
            below.emission_type,
            below.boundedness,
        );
        CheckRowsExec { input, checks, properties: Arc::new(properties) }
    }

    /// The operator without its input, for another node. The conditions travel as the columns of a query without rows, and with them
    /// the columns that they are about.
    ///
    /// # Errors
    /// A condition that is not of the table's columns.
    pub(crate) fn written(&self) -> Result<WrittenOperator> {
        let columns: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::clone(self.checks.schema())));
        let conditions = self.checks.conditions();
        let expressions: Arc<dyn ExecutionPlan> = match conditions.is_empty() {
            true => columns,
            false => {
                let conditions = conditions.iter().map(|(name, condition)| (Arc::clone(condition), name.clone()));
                Arc::new(ProjectionExec::try_new(conditions, columns)?)
            }
        };
        let bytes = serde_json::to_vec(self.checks.about());
        let bytes = bytes.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(WrittenOperator { bytes, expressions })
    }

    /// The operator that was written so, over an input; `format` is how values look in errors.
    ///
    /// # Errors
    /// What no node of this version has written.
    pub(crate) fn read(
        written: &WrittenOperator,
        input: &Arc<dyn ExecutionPlan>,
        format: TextFormat,
    ) -> Result<CheckRowsExec> {
        let about = serde_json::from_slice(&written.bytes);
        let about = about.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let (schema, conditions) = match written.expressions.downcast_ref::<ProjectionExec>() {
            Some(projection) => {
                let conditions = projection.expr().iter();
                let conditions = conditions.map(|condition| (condition.alias.clone(), Arc::clone(&condition.expr)));
                (projection.input().schema(), conditions.collect::<Vec<Condition>>())
            }
            None => (written.expressions.schema(), Vec::new()),
        };
        let checks = Checks::arrived(about, schema, conditions, format);
        Ok(CheckRowsExec::new(Arc::clone(input), Arc::new(checks)))
    }
}

impl fmt::Debug for CheckRowsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckRowsExec")
            .field("about", self.checks.about())
            .field("conditions", &self.checks.conditions())
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for CheckRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckRowsExec: {:?}", self.checks.about())?;
        self.checks.conditions().iter().try_for_each(|(name, condition)| write!(f, ", {name}: {condition}"))
    }
}

impl ExecutionPlan for CheckRowsExec {
    fn name(&self) -> &'static str {
        "CheckRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else { return internal_err!("rows are checked of one input") };
        Ok(Arc::new(CheckRowsExec::new(input, Arc::clone(&self.checks))))
    }

    /// The conditions are about its own columns and not about those of its input, so nobody else is to look at them.
    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let checks = Arc::clone(&self.checks);
        let checked = rows.map(move |batch| checked(&checks, &batch?).map_err(to_datafusion));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), checked)))
    }
}

fn checked(checks: &Checks, batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
    let columns = batch.columns().iter().zip(checks.schema().fields());
    let columns = columns.map(|(column, field)| as_stored(column, field.data_type()));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    checks.check(&columns)?;
    RecordBatch::try_new(Arc::clone(checks.schema()), columns).map_err(|error| SqlError::internal(error.to_string()))
}
