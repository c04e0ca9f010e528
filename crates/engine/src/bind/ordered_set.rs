//! Aggregates that DataFusion lacks or does not compute exactly (`percentile_disc`, `percentile_cont`), and calls that differ
//! by a cast alone.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Query, SelectItem, SetExpr, Subscript, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use wharf_values::{SqlError, SqlState};

use super::names;
use super::normalize::{call, cast, number, string};
use crate::operators::UNTYPED;

/// `percentile_disc(p) WITHIN GROUP (ORDER BY x)` is the element at `ceil(p * n)` of the ordered values, `percentile_cont`
/// lies between the two elements around `p * (n - 1)`.
pub(super) fn percentile(function: Function, continuous: bool) -> Result<Expr, SqlError> {
    let refused = || {
        SqlError::unsupported("this form of percentile_cont or percentile_disc is not supported")
            .with_hint("Write percentile_cont(fraction) WITHIN GROUP (ORDER BY value), with a number for the fraction.")
    };
    let FunctionArguments::List(list) = &function.args else { return Err(refused()) };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction))] = list.args.as_slice() else { return Err(refused()) };
    let literal = match fraction {
        Expr::Cast { expr, .. } => expr,
        other => other,
    };
    let Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) = literal else { return Err(refused()) };
    let ([key], None) = (function.within_group.as_slice(), &function.over) else { return Err(refused()) };
    if !text.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)) {
        return Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("percentile value {text} is not between 0 and 1"),
        ));
    }
    let present = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(key.expr.clone()))));
    let filter = match function.filter {
        Some(filter) => binary(Expr::Nested(filter), BinaryOperator::And, present),
        None => present,
    };
    let value = if continuous { cast(key.expr.clone(), DataType::DoublePrecision) } else { key.expr.clone() };
    let Expr::Function(mut values) = call("array_agg", vec![value]) else { return Err(refused()) };
    if let FunctionArguments::List(list) = &mut values.args {
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![key.clone()]));
    }
    values.filter = Some(Box::new(filter));
    tell_casts_apart(&mut values);
    let values = Expr::Function(values);
    let count = call("cardinality", vec![values.clone()]);
    if !continuous {
        let place = call("ceil", vec![binary(fraction.clone(), BinaryOperator::Multiply, count)]);
        return Ok(element(&values, call("greatest", vec![number("1"), place])));
    }
    let last = Expr::Nested(Box::new(binary(count, BinaryOperator::Minus, number("1"))));
    let place = binary(cast(literal.clone(), DataType::DoublePrecision), BinaryOperator::Multiply, last);
    let next = |name: &str| binary(call(name, vec![place.clone()]), BinaryOperator::Plus, number("1"));
    let (low, high) = (element(&values, next("floor")), element(&values, next("ceil")));
    let part = binary(place.clone(), BinaryOperator::Minus, call("floor", vec![place.clone()]));
    let distance = Expr::Nested(Box::new(binary(high, BinaryOperator::Minus, low.clone())));
    let part = binary(Expr::Nested(Box::new(part)), BinaryOperator::Multiply, distance);
    Ok(Expr::Nested(Box::new(binary(low, BinaryOperator::Plus, part))))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// The element of an array at a place from 1.
fn element(array: &Expr, place: Expr) -> Expr {
    Expr::CompoundFieldAccess {
        root: Box::new(array.clone()),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index { index: cast(place, DataType::BigInt(None)) })],
    }
}

/// DataFusion names an aggregate by its arguments without their casts, so that `sum(x)` and `sum(x::numeric)` would be one
/// column. A cast there goes into a call that names its type, which the binder takes off.
pub(super) fn tell_casts_apart(function: &mut Function) {
    let aggregate = matches!(
        names::last_part(&function.name).as_str(),
        "sum"
            | "avg"
            | "min"
            | "max"
            | "count"
            | "array_agg"
            | "bool_and"
            | "bool_or"
            | "every"
            | "stddev"
            | "variance"
            | "stddev_samp"
            | "stddev_pop"
            | "var_samp"
            | "var_pop"
    );
    if aggregate {
        // The visitor never breaks off.
        let _ = function.args.visit(&mut NamedCasts);
    }
}

/// Has a subquery one column?
fn is_value(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select)
        if matches!(select.projection[..], [SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }]))
}

/// Gives a subquery that got a name back as it was.
fn take_name_off(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if names::last_part(&function.name) != UNTYPED {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(inner @ Expr::Subquery(_)))) = list.args.first() {
        *expr = inner.clone();
    }
}

/// Has each cast say its type in its name, which to DataFusion is that of what is cast, and each subquery its text: that is named after
/// its column.
pub(super) struct NamedCasts;

impl VisitorMut for NamedCasts {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Cast { data_type, .. } => data_type.to_string(),
            Expr::Subquery(query) if is_value(query) => query.to_string(),
            // Those of ANY and ALL are no values.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                take_name_off(right);
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let inner = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
        *expr = call(UNTYPED, vec![inner, string(name)]);
        ControlFlow::Continue(())
    }
}
