//! `LIKE` with any escape, and with a list of patterns, said in calls and in single patterns.

use sqlparser::ast::{BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan};

use super::names;
use super::normalize::{ARRAY, call};

/// `x LIKE p ESCAPE 'e'`: the escape may be empty, and is checked where the pattern is.
pub(super) fn like_with_escape(expr: Expr, pattern: Expr, escape: ValueWithSpan, function: &str) -> Expr {
    call(function, vec![expr, call("like_escape", vec![pattern, Expr::Value(escape)])])
}

/// The patterns of `LIKE ANY (ARRAY[..])` and whether one of them is enough; else the pattern.
pub(super) fn several_patterns(any: bool, pattern: Expr) -> Result<(Vec<Expr>, bool), Box<Expr>> {
    fn items(expr: Expr) -> Result<Vec<Expr>, Box<Expr>> {
        match expr {
            Expr::Function(function) if names::last_part(&function.name) == ARRAY => {
                let FunctionArguments::List(list) = function.args else { return Ok(Vec::new()) };
                let element = |argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(element)) => Some(element),
                    _ => None,
                };
                Ok(list.args.into_iter().filter_map(element).collect())
            }
            Expr::Nested(inner) => items(*inner),
            other => Err(Box::new(other)),
        }
    }
    if any {
        return items(pattern).map(|patterns| (patterns, true));
    }
    match pattern {
        Expr::Function(function) if names::last_part(&function.name) == "all" => match &function.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => {
                    items(array.clone()).map(|patterns| (patterns, false))
                }
                _ => Err(Box::new(Expr::Function(function))),
            },
            _ => Err(Box::new(Expr::Function(function))),
        },
        other => Err(Box::new(other)),
    }
}

pub(super) fn each_pattern(patterns: Vec<Expr>, any: bool, like: impl Fn(Box<Expr>) -> Expr) -> Expr {
    let op = if any { BinaryOperator::Or } else { BinaryOperator::And };
    let all = patterns.into_iter().map(|pattern| like(Box::new(pattern))).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    });
    // None is enough of none, and all of none are.
    Expr::Nested(Box::new(all.unwrap_or(Expr::Value(Value::Boolean(!any).with_empty_span()))))
}
