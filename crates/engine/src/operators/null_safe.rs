//! `IS NOT DISTINCT FROM` as equalities of values that are never NULL.
//!
//! DataFusion makes a join on `IS NOT DISTINCT FROM` a hash join in which NULL equals NULL, and then moves ordinary
//! equalities into that join too, for which NULL must not equal NULL. Equalities without NULLs mean the same either way.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, ExprSchemable};

/// `left IS NOT DISTINCT FROM right`, for two expressions of one type over `schema`.
///
/// # Errors
/// When the type has no value that could stand for NULL.
pub(crate) fn null_safe_equal(left: Expr, right: Expr, schema: &DFSchema) -> DfResult<Expr> {
    if !left.nullable(schema)? && !right.nullable(schema)? {
        return Ok(left.eq(right));
    }
    let stand_in = |expr: &Expr| -> DfResult<Expr> {
        let value = ScalarValue::new_default(&expr.get_type(schema)?)?;
        Ok(coalesce(vec![expr.clone(), Expr::Literal(value, None)]))
    };
    let values = stand_in(&left)?.eq(stand_in(&right)?);
    Ok(values.and(left.is_null().eq(right.is_null())))
}
