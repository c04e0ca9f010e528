//! Settings and expressions that travel by themselves, for work on other nodes that is no query.
//!
//! What always holds: as with plans, an expression is sent only after it was written down and read back without a difference. Other
//! than in plans it may have volatile functions: who is sent it computes each row's value, and nobody else does.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::prelude::SessionConfig;

use crate::fanout::Fanout;
use crate::format;

impl Fanout {
    /// The name of the format of all that nodes send each other; those whose names differ give each other no work.
    pub fn format() -> &'static str {
        format::name()
    }

    /// What of a session's configuration its functions look at.
    ///
    /// # Errors
    /// A configuration without it.
    pub fn write_settings(&self, config: &SessionConfig) -> Result<String> {
        self.codec().vocabulary().write_session(config)
    }

    /// A configuration with what was written of another.
    ///
    /// # Errors
    /// What no node of this format has written.
    pub fn read_settings(&self, text: &str, config: SessionConfig) -> Result<SessionConfig> {
        self.codec().vocabulary().read_session(text, config)
    }

    /// Expressions over rows of a schema as bytes.
    ///
    /// # Errors
    /// What cannot travel: functions that look at the session or the catalog.
    pub fn write_expressions(
        &self,
        expressions: &[Arc<dyn PhysicalExpr>],
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Vec<u8>> {
        let numbered = expressions.iter().enumerate();
        let exprs = numbered.map(|(index, expr)| ProjectionExpr { expr: Arc::clone(expr), alias: format!("e{index}") });
        let exprs: Vec<ProjectionExpr> = exprs.collect();
        // What the codec writes is plans; these are the columns of one.
        let plan: Arc<dyn ExecutionPlan> =
            Arc::new(ProjectionExec::try_new(exprs, Arc::new(EmptyExec::new(schema)) as Arc<dyn ExecutionPlan>)?);
        let codec = self.codec().with_volatile();
        codec.try_out(&plan, context)?;
        codec.write(plan)
    }

    /// The expressions that were written so.
    ///
    /// # Errors
    /// What no node of this format has written.
    pub fn read_expressions(&self, bytes: &[u8], context: &TaskContext) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let plan = self.codec().read(bytes, context)?;
        match plan.downcast_ref::<ProjectionExec>() {
            Some(projection) => Ok(projection.expr().iter().map(|projected| Arc::clone(&projected.expr)).collect()),
            None => internal_err!("expressions that are none"),
        }
    }
}
