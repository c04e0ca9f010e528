//! Functions about the session and the catalog: `current_schema()`, `version()`, `format_type()`, ...

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// All functions of this chapter.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    Vec::new()
}
