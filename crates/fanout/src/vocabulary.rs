//! What plans speak of that this crate does not know: functions, settings, and what an error means to a client.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;
use wharf_values::SqlError;

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

    /// What a client is told of an error.
    fn sql_error(&self, error: DataFusionError) -> SqlError;
}
