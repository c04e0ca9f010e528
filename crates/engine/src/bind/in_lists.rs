//! Two lists of constants for one value, of which the second decides what the first leaves open.
//!
//! DataFusion takes `a IN (1) AND a IN (2)` for false and `a NOT IN (1) OR a NOT IN (2)` for true; for a NULL both are
//! NULL: <https://github.com/apache/datafusion/issues/24246>.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, Operator};

/// What `left op right` is, when it is the same for every value but NULL.
pub(super) fn decided(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    let (Expr::InList(left), Expr::InList(right)) = (left, right) else { return None };
    let constant =
        |list: &InList| list.list.iter().all(|item| matches!(item, Expr::Literal(value, _) if !value.is_null()));
    if left.expr != right.expr || !constant(left) || !constant(right) {
        return None;
    }
    let disjoint = || !left.list.iter().any(|item| right.list.contains(item));
    let within = |inner: &InList, outer: &InList| inner.list.iter().all(|item| outer.list.contains(item));
    let unknown = Expr::Literal(ScalarValue::Boolean(None), None);
    match (op, left.negated, right.negated) {
        (Operator::And, false, false) if disjoint() => Some(left.expr.as_ref().clone().is_null().and(unknown)),
        (Operator::And, false, true) if within(left, right) => Some(left.expr.as_ref().clone().is_null().and(unknown)),
        (Operator::And, true, false) if within(right, left) => Some(left.expr.as_ref().clone().is_null().and(unknown)),
        (Operator::Or, true, true) if disjoint() => Some(left.expr.as_ref().clone().is_not_null().or(unknown)),
        _ => None,
    }
}
