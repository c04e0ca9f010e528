//! What plans speak of that this crate does not know: functions, operators, settings, and what an error means to a client.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use wharf_values::SqlError;

/// An operator of the engine's with one input, on its way.
#[derive(Debug)]
pub struct WrittenOperator {
    /// What there is to know of it beside its expressions.
    pub bytes: Vec<u8>,
    /// A plan without rows that has its expressions, for somebody who knows how to write plans.
    pub expressions: Arc<dyn ExecutionPlan>,
}

/// The engine's part of what travels. All nodes have the same version of it.
pub trait Vocabulary: Debug + Send + Sync + 'static {
    /// A scalar function as bytes; with its name they say all of it.
    ///
    /// # Errors
    /// A function that only the node of the session can compute.
    fn write_scalar(&self, function: &ScalarUDF) -> Result<Vec<u8>>;

    /// The function that was written so.
    ///
    /// # Errors
    /// What no node of this version has written.
    fn read_scalar(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>>;

    /// The aggregate function of a name.
    ///
    /// # Errors
    /// A name that there is not.
    fn aggregate(&self, name: &str) -> Result<Arc<AggregateUDF>>;

    /// The window function of a name.
    ///
    /// # Errors
    /// A name that there is not.
    fn window(&self, name: &str) -> Result<Arc<WindowUDF>>;

    /// An operator without its input; none for one that is not the engine's.
    ///
    /// # Errors
    /// An operator that only the node of the session can run.
    fn write_operator(&self, operator: &Arc<dyn ExecutionPlan>) -> Result<Option<WrittenOperator>>;

    /// The operator that was written so, over an input, in a session of this configuration.
    ///
    /// # Errors
    /// What no node of this version has written.
    fn read_operator(
        &self,
        written: &WrittenOperator,
        input: &Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<Arc<dyn ExecutionPlan>>;

    /// What of a session's configuration its functions and operators look at.
    ///
    /// # Errors
    /// A configuration without it.
    fn write_session(&self, config: &SessionConfig) -> Result<String>;

    /// A configuration with what was written of another.
    ///
    /// # Errors
    /// What no node of this version has written.
    fn read_session(&self, text: &str, config: SessionConfig) -> Result<SessionConfig>;

    /// A part of a plan that has arrived, with what the engine makes of every plan at last and what does not travel; the same rows
    /// come of it.
    ///
    /// # Errors
    /// What DataFusion says of operators that cannot be made anew.
    fn finish(&self, part: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(part)
    }

    /// What a client is told of an error.
    fn sql_error(&self, error: DataFusionError) -> SqlError;
}
