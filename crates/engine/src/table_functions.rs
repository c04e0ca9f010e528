//! Functions in FROM: `generate_series`, and whatever `crate::functions` brings.

use std::sync::Arc;

use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, TableSource};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use wharf_values::{SqlError, SqlState};

use crate::error::to_datafusion;

/// The rows of a table function with constant arguments.
///
/// # Errors
/// `42883` for a function that does not exist, `0A000` for arguments that are not constant.
pub(crate) fn source(name: &str, args: Vec<Expr>, session: &SessionState) -> DfResult<Arc<dyn TableSource>> {
    let Some(function) = session.table_functions().get(name) else {
        return Err(to_datafusion(
            SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist")).with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ),
        ));
    };
    let simplifier = ExprSimplifier::new(
        SimplifyContext::builder().with_config_options(Arc::clone(session.config_options())).build(),
    );
    let schema = DFSchema::empty();
    let args = args
        .into_iter()
        .map(|arg| Ok(narrow(simplifier.simplify(simplifier.coerce(arg, &schema)?)?)))
        .collect::<DfResult<Vec<_>>>()?;
    let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, session))?;
    Ok(provider_as_source(provider))
}

/// An integer literal is `integer` where it has room, which DataFusion's planner does not know.
fn narrow(arg: Expr) -> Expr {
    match arg {
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), None),
        },
        other => other,
    }
}
