//! A plan that is written down already.

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};

/// The bytes of a plan as an operator without inputs.
#[derive(Debug)]
pub(crate) struct Envelope {
    contents: Vec<u8>,
    properties: Arc<PlanProperties>,
}

impl Envelope {
    pub(crate) fn new(contents: Vec<u8>, plan: &Arc<dyn ExecutionPlan>) -> Envelope {
        Envelope { contents, properties: Arc::clone(plan.properties()) }
    }

    pub(super) fn contents(&self) -> &[u8] {
        &self.contents
    }
}

impl DisplayAs for Envelope {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope: {} bytes", self.contents.len())
    }
}

impl ExecutionPlan for Envelope {
    fn name(&self) -> &'static str {
        "Envelope"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("an envelope was not opened")
    }
}
