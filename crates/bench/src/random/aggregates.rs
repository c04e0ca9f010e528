//! Random aggregates and window functions.
//!
//! None of them depends on the order in which a server reads rows: lists are ordered by what they list, and the order of a
//! window has no ties.

use super::expressions::{expression, filter};
use super::generator::{Generator, Scope};
use super::syntax::{Expression, Group, Grouping, Node, Window};
use super::types::SqlType;

/// No keys and no HAVING: all rows are one group.
pub(super) fn whole() -> Group {
    Group { grouping: Grouping::Plain, keys: Vec::new(), having: None }
}

/// An aggregate function of this type. `None`: there is none.
pub(super) fn aggregate(generator: &mut Generator, scope: &Scope<'_>, ty: SqlType) -> Option<Expression> {
    let mut choices: Vec<(&'static str, Option<SqlType>)> = match ty {
        SqlType::Big => {
            let any = generator.any_type();
            vec![
                ("count(*)$f", None),
                ("count($0)$f", Some(any)),
                ("count(DISTINCT $0)$f", Some(any)),
                ("sum($0)$f", Some(SqlType::Int)),
                ("sum($0)$f", Some(SqlType::Small)),
                ("sum(DISTINCT $0)$f", Some(SqlType::Int)),
            ]
        }
        SqlType::Numeric => vec![
            ("sum($0)$f", Some(SqlType::Numeric)),
            ("sum($0)$f", Some(SqlType::Big)),
            ("sum(DISTINCT $0)$f", Some(SqlType::Numeric)),
            ("round(avg($0)$f, 4)", Some(SqlType::Int)),
            ("round(avg($0)$f, 4)", Some(SqlType::Numeric)),
        ],
        SqlType::Bool => vec![("bool_and($0)$f", Some(ty)), ("bool_or($0)$f", Some(ty)), ("every($0)$f", Some(ty))],
        SqlType::Int => vec![("bit_and($0)$f", Some(ty)), ("bit_or($0)$f", Some(ty))],
        SqlType::Text => vec![
            ("string_agg($0, ',' ORDER BY $0)$f", Some(ty)),
            ("string_agg(DISTINCT $0, ',' ORDER BY $0)$f", Some(ty)),
        ],
        SqlType::IntArray => vec![
            ("array_agg($0 ORDER BY $0)$f", Some(SqlType::Int)),
            ("array_agg($0 ORDER BY $0 DESC NULLS LAST)$f", Some(SqlType::Int)),
            ("array_agg(DISTINCT $0 ORDER BY $0)$f", Some(SqlType::Int)),
        ],
        _ => Vec::new(),
    };
    if ty.has_extremes() {
        choices.extend([(Extreme::Least.template(ty), Some(ty)), (Extreme::Greatest.template(ty), Some(ty))]);
    }
    if choices.is_empty() {
        return None;
    }
    let (template, argument) = generator.pick(&choices);
    // Without the query around: an aggregate of its columns alone would be one of that query.
    let scope = &Scope::new(scope.columns.clone(), None);
    // Aggregates of constants are a case of their own for planners; they come of expressions without columns.
    let depth = u32::from(generator.percent(60));
    let arguments = argument.map(|argument| expression(generator, scope, argument, depth)).into_iter().collect();
    let filter = filter(generator, scope, 15, 1).map(Box::new);
    Some(Expression::new(ty, Node::Aggregate { template, arguments, filter }))
}

#[derive(Clone, Copy)]
enum Extreme {
    Least,
    Greatest,
}

impl Extreme {
    /// Of equal values that look different, any may be the answer; so they are made to look the same.
    fn template(self, ty: SqlType) -> &'static str {
        match (self, ty) {
            (Extreme::Least, SqlType::Interval) => "justify_interval(min($0)$f)",
            (Extreme::Greatest, SqlType::Interval) => "justify_interval(max($0)$f)",
            (Extreme::Least, _) => "min($0)$f",
            (Extreme::Greatest, _) => "max($0)$f",
        }
    }
}

const FRAMES: &[&str] = &[
    "",
    "",
    " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
    " ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING",
    " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
];

/// A window function over the rows of a SELECT.
pub(super) fn window(generator: &mut Generator, scope: &Scope<'_>) -> Expression {
    let value = generator.any_type();
    let extreme = generator.pick(&[SqlType::Int, SqlType::Text, SqlType::Numeric, SqlType::Date, SqlType::Float]);
    // Template, result, argument, whether it takes a frame.
    let (template, ty, argument, framed) = generator.pick(&[
        ("row_number()", SqlType::Big, None, false),
        ("rank()", SqlType::Big, None, false),
        ("dense_rank()", SqlType::Big, None, false),
        ("percent_rank()", SqlType::Float, None, false),
        ("cume_dist()", SqlType::Float, None, false),
        ("ntile(3)", SqlType::Int, None, false),
        ("sum($0)", SqlType::Big, Some(SqlType::Int), true),
        ("sum($0)", SqlType::Numeric, Some(SqlType::Numeric), true),
        ("count($0)", SqlType::Big, Some(value), true),
        ("count(*)", SqlType::Big, None, true),
        ("max($0)", extreme, Some(extreme), true),
        ("min($0)", extreme, Some(extreme), true),
        ("lag($0)", value, Some(value), false),
        ("lag($0, 2)", value, Some(value), false),
        ("lead($0)", value, Some(value), false),
        ("lead($0, 0)", value, Some(value), false),
        ("first_value($0)", value, Some(value), true),
        ("last_value($0)", value, Some(value), true),
        ("nth_value($0, 2)", value, Some(value), true),
    ]);
    let depth = u32::from(generator.percent(25));
    let arguments = argument.map(|ty| expression(generator, scope, ty, depth));
    let partition = match generator.percent(50) {
        true => {
            let ty = generator.any_type();
            Some(expression(generator, scope, ty, depth))
        }
        false => None,
    };
    let key = match generator.percent(60) {
        true => {
            let ty = generator.pick(&[SqlType::Int, SqlType::Text, SqlType::Date]);
            Some(expression(generator, scope, ty, 0))
        }
        false => None,
    };
    // Without an order, aggregates see the whole partition.
    let aggregate = framed && !template.ends_with(", 2)") && !template.contains("_value");
    let ordered = !aggregate || generator.percent(70);
    let frame = if framed && ordered { generator.pick(FRAMES) } else { "" };
    let arguments = arguments.into_iter().collect();
    Expression::new(ty, Node::Window(Box::new(Window { template, arguments, partition, key, ordered, frame })))
}
