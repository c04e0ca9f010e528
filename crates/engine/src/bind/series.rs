//! `generate_series` where a query is normalized: in a select list it is an array of rows to be, in FROM a table.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Statement, TableFactor, Value, ValueWithSpan, visit_expressions};

use super::names;
use super::normalize::call;

/// `SELECT generate_series(1, 3)` makes rows: the list version of the function, unnested.
pub(super) fn unnest(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && names::last_part(&function.name) == "generate_series"
        && function.over.is_none()
    {
        let inner = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
        *expr = call("unnest", vec![inner]);
    }
}

/// A function in FROM makes its rows while the query is planned, when parameters have no values yet; in a select list it
/// makes them while it runs.
pub(super) fn of_parameters(factor: &TableFactor) -> Option<Query> {
    let TableFactor::Table { name, args: Some(arguments), .. } = factor else { return None };
    let has_parameter = arguments.args.iter().any(|argument| {
        let found = visit_expressions(argument, |expr| match expr {
            Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    });
    if !has_parameter || names::last_part(name) != "generate_series" {
        return None;
    }
    let arguments: Vec<_> = arguments.args.iter().map(ToString::to_string).collect();
    let text = format!("SELECT {name}({})", arguments.join(", "));
    match crate::statement::parse(&text).ok()?.pop()? {
        Statement::Query(query) => Some(*query),
        _ => None,
    }
}
