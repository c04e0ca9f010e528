//! `-0` and `0` of the float types, which are equal: where DataFusion takes values by their bits, in a list of `IN` of more than a
//! few, in CASE with an operand, in NULLIF, in windows, in orders and in groups of several keys.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use wharf_catalog::SqlType;

use crate::operators::{Arithmetic, float_operator};

/// Has the type a zero of either sign?
pub(super) fn has_two_zeros(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Real | SqlType::Double)
}

/// Values of one float type of which any may equal the first: with one zero, if another than the first may be a zero.
pub(super) fn with_one_zero(values: Vec<Expr>, ty: &DataType) -> Vec<Expr> {
    let Ok(zero) = ScalarValue::new_zero(ty) else { return values };
    if !values.iter().skip(1).any(may_be_zero) {
        return values;
    }
    values.into_iter().map(|value| if may_be_zero(&value) { plus(value, &zero) } else { value }).collect()
}

/// A value with one zero; the value itself where its type is no float.
pub(super) fn one_zero(value: Expr, ty: &DataType) -> Expr {
    match ScalarValue::new_zero(ty) {
        Ok(zero) if ty.is_floating() && may_be_zero(&value) => plus(value, &zero),
        _ => value,
    }
}

/// Minus zero and zero is zero.
fn plus(value: Expr, zero: &ScalarValue) -> Expr {
    float_operator(Arithmetic::Add, value, Expr::Literal(zero.clone(), None))
}

fn may_be_zero(value: &Expr) -> bool {
    match value {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(number)) => number == Some(0.0),
            _ => true,
        },
        Expr::Cast(cast) => may_be_zero(&cast.expr),
        _ => true,
    }
}
