//! A pass over the parsed query that says in plain SQL what DataFusion's planner does not read as PostgreSQL does.
//!
//! Special syntax becomes function calls (`EXTRACT(f FROM x)` is `extract('f', x)`), `INTERVAL '1' DAY` a cast, unnamed
//! select items get PostgreSQL's names, and set-returning functions in a select list become `unnest`. What Wharf cannot
//! do right is refused here, before anything is planned.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Distinct, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement, Subscript, TrimWhereField,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use wharf_values::{SqlError, SqlState};

use super::like_lists::{each_pattern, like_with_escape, several_patterns};
use super::subqueries::ARRAY_OF_ROWS;
use super::temporal::{cast_by_name, interval_literal, round_seconds};
use super::{clauses, group_keys, grouping, json_records, misplaced, names, ordered_set, rows, set_functions, using};
use crate::functions::{COMPOSITE_FIELD, parameter_names};
use crate::operators::{ARRAY_BESIDE, UNTYPED};

/// Normalizes a statement in place.
///
/// # Errors
/// `0A000` for syntax that has no right plan yet, `42601`, `42803`, `42P19` and the like for what PostgreSQL refuses too.
pub(crate) fn normalize(statement: &mut Statement) -> Result<(), SqlError> {
    match VisitMut::visit(statement, &mut Normalizer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// What `ARRAY[a, b]` is once it is normalized: a call of this function.
pub(super) const ARRAY: &str = "make_array";

struct Normalizer;

impl VisitorMut for Normalizer {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            return refuse(
                "SELECT .. FOR UPDATE is not supported",
                "Wharf's reads take no locks; leave FOR UPDATE out.",
            );
        }
        let changes = |body: &SetExpr| {
            matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
        };
        if query.with.iter().flat_map(|with| &with.cte_tables).any(|cte| changes(&cte.query.body)) {
            return refuse(
                "WITH clause containing a data-modifying statement must be at the top level",
                "Put it before the SELECT, INSERT, UPDATE, DELETE or MERGE that is the statement.",
            );
        }
        flow(misplaced::recursion(query))?;
        if let SetExpr::Values(values) = query.body.as_mut() {
            hide_types(values);
        }
        flow(clauses::fetch_first(query).and_then(|()| clauses::order_by_columns(query)))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        flow(clauses::named_windows(query))?;
        group_keys::tell_apart(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        flow(clauses::check_from(select))?;
        flow(misplaced::keys(select))?;
        let bare = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
        if select.from.is_empty() && select.projection.iter().any(bare) {
            let error = SqlError::new(SqlState::SYNTAX_ERROR, "SELECT * with no tables specified is not valid");
            return ControlFlow::Break(Box::new(error));
        }
        if let Some(Distinct::On(_)) = &select.distinct
            && select.projection.iter().any(|item| matches!(item, SelectItem::ExprWithAliases { .. }))
        {
            return refuse("this form of DISTINCT ON is not supported", "Name each column once.");
        }
        for item in &select.projection {
            // PostgreSQL joins strings on successive lines; the parser takes the second for a name.
            if let SelectItem::ExprWithAlias { alias, .. } = item
                && alias.quote_style == Some('\'')
            {
                let message = format!("syntax error at or near \"'{}'\"", alias.value);
                return ControlFlow::Break(Box::new(SqlError::new(SqlState::SYNTAX_ERROR, message)));
            }
        }
        for table in &select.from {
            for join in &table.joins {
                if let JoinOperator::Join(JoinConstraint::None)
                | JoinOperator::Inner(JoinConstraint::None)
                | JoinOperator::Left(JoinConstraint::None)
                | JoinOperator::LeftOuter(JoinConstraint::None)
                | JoinOperator::Right(JoinConstraint::None)
                | JoinOperator::RightOuter(JoinConstraint::None)
                | JoinOperator::FullOuter(JoinConstraint::None) = &join.join_operator
                {
                    let error = SqlError::new(SqlState::SYNTAX_ERROR, "JOIN needs a condition: ON or USING");
                    return ControlFlow::Break(Box::new(
                        error.with_hint("Write CROSS JOIN to join every row with every row."),
                    ));
                }
            }
        }
        clauses::having_alone(select);
        clauses::group_by_nothing(select);
        using::write_out(select);
        using::complete_wildcards(select);
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let JoinOperator::FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) = &join.join_operator {
                return refuse(
                    "this FULL JOIN with USING or NATURAL is not supported",
                    "Write FULL JOIN .. ON a.k = b.k and coalesce(a.k, b.k).",
                );
            }
        }
        flow(grouping::write_out(select))?;
        rows::in_where(select);
        names::name_select_items(select);
        set_functions::rewrite_select_list(select);
        match set_functions::rewrite_from(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        // A float literal may have digits that no numeric has.
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) = inner.as_ref()
            && text.contains(['e', 'E'])
            && is_float(data_type)
        {
            **inner = string(text.clone());
        }
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && is_typed_empty_array(inner, data_type)
        {
            **inner = string("{}");
        }
        // `INTERVAL '1' DAY` must be seen before its inner literal is.
        if let Expr::Interval(interval) = expr {
            match interval_literal(interval) {
                Ok(rewritten) => *expr = rewritten,
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let taken = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
        match rewrite(taken) {
            Ok(rewritten) => {
                *expr = rewritten;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn flow(result: Result<(), SqlError>) -> ControlFlow<Box<SqlError>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

fn refuse(message: &str, hint: &str) -> ControlFlow<Box<SqlError>> {
    ControlFlow::Break(Box::new(SqlError::unsupported(message).with_hint(hint)))
}

/// One expression whose parts are normalized.
fn rewrite(expr: Expr) -> Result<Expr, SqlError> {
    Ok(match expr {
        Expr::Extract { field, expr, .. } => call("extract", vec![string(field_name(&field)), *expr]),
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("ceil", vec![*expr])
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("floor", vec![*expr])
        }
        Expr::Position { expr, r#in } => call("position", vec![*r#in, *expr]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let mut arguments = vec![*expr];
            match (substring_from, substring_for) {
                (Some(from), Some(length)) => arguments.extend([*from, *length]),
                (Some(from), None) => arguments.push(*from),
                (None, Some(length)) => arguments.extend([number("1"), *length]),
                (None, None) => {}
            }
            call("substring", arguments)
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut arguments = vec![*expr, *overlay_what, *overlay_from];
            arguments.extend(overlay_for.map(|length| *length));
            call("overlay", arguments)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                Some(TrimWhereField::Both) | None => "btrim",
            };
            let mut arguments = vec![*expr];
            arguments.extend(trim_what.map(|what| *what));
            arguments.extend(trim_characters.into_iter().flatten());
            call(name, arguments)
        }
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let mut arguments = vec![*pattern];
            if let Some(escape) = escape_char {
                arguments.push(Expr::Value(escape));
            }
            Expr::BinaryOp {
                left: expr,
                op: if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch },
                right: Box::new(call("similar_to_escape", arguments)),
            }
        }
        Expr::Collate { expr, collation } => {
            crate::syntax::check_collation(&names::last_part(&collation))?;
            *expr
        }
        // Words that are calls; quoted they would be names.
        Expr::Identifier(ident) if ident.quote_style.is_none() => match ident.value.to_lowercase().as_str() {
            word @ ("current_schema" | "current_role") => call(word, Vec::new()),
            _ => Expr::Identifier(ident),
        },
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => call("sqrt", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => call("cbrt", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => call("abs", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => call("bitwise_not", vec![*expr]),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => negate(*expr),
        Expr::IsDistinctFrom(left, right) => distinct_from(*left, *right, false),
        Expr::IsNotDistinctFrom(left, right) => distinct_from(*left, *right, true),
        Expr::IsNull(inner) if matches!(*inner, Expr::Tuple(_)) => match *inner {
            Expr::Tuple(row) => row_null(row, false),
            other => Expr::IsNull(Box::new(other)),
        },
        Expr::IsNotNull(inner) if matches!(*inner, Expr::Tuple(_)) => match *inner {
            Expr::Tuple(row) => row_null(row, true),
            other => Expr::IsNotNull(Box::new(other)),
        },
        // `OPERATOR(pg_catalog.~)`, as psql writes them.
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right } => {
            match parts.last().and_then(|symbol| named_operator(symbol)) {
                Some(op) => Expr::BinaryOp { left, op, right },
                None => {
                    return Err(SqlError::unsupported(format!("operator {} is not supported", parts.join("."))));
                }
            }
        }
        Expr::BinaryOp { left, op, right } if matches!((&*left, &*right), (Expr::Tuple(_), Expr::Tuple(_))) => {
            match (*left, *right) {
                (Expr::Tuple(left), Expr::Tuple(right))
                    if op == BinaryOperator::Overlaps && left.len() == 2 && right.len() == 2 =>
                {
                    call("overlaps", left.into_iter().chain(right).collect())
                }
                (Expr::Tuple(left), Expr::Tuple(right)) => compare_rows(left, op, right)?,
                (left, right) => Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) },
            }
        }
        Expr::InList { expr, list, negated } if matches!(*expr, Expr::Tuple(_)) => {
            let Expr::Tuple(row) = *expr else {
                return Err(SqlError::internal("a row that is none"));
            };
            let mut any: Option<Expr> = None;
            for item in list {
                let Expr::Tuple(item) = item else {
                    return Err(SqlError::unsupported("a row can only be compared with rows")
                        .with_hint("Write every item of the list as a row: (a, b) IN ((1, 2), (3, 4))."));
                };
                let equal = compare_rows(row.clone(), BinaryOperator::Eq, item)?;
                any = Some(match any {
                    None => equal,
                    Some(any) => Expr::BinaryOp { left: Box::new(any), op: BinaryOperator::Or, right: Box::new(equal) },
                });
            }
            let any = Expr::Nested(Box::new(any.unwrap_or(Expr::Value(Value::Boolean(false).with_empty_span()))));
            if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) } } else { any }
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: Some(escape) } => {
            like_with_escape(*expr, *pattern, escape, if negated { "notlike" } else { "like" })
        }
        Expr::ILike { negated, any: false, expr, pattern, escape_char: Some(escape) } => {
            like_with_escape(*expr, *pattern, escape, if negated { "texticnlike" } else { "texticlike" })
        }
        Expr::Like { negated, any, expr, pattern, escape_char: None } => match several_patterns(any, *pattern) {
            Ok((patterns, any)) => each_pattern(patterns, any, |pattern| Expr::Like {
                negated,
                any: false,
                expr: expr.clone(),
                pattern,
                escape_char: None,
            }),
            Err(pattern) => Expr::Like { negated, any, expr, pattern, escape_char: None },
        },
        Expr::ILike { negated, any, expr, pattern, escape_char: None } => match several_patterns(any, *pattern) {
            Ok((patterns, any)) => each_pattern(patterns, any, |pattern| Expr::ILike {
                negated,
                any: false,
                expr: expr.clone(),
                pattern,
                escape_char: None,
            }),
            Err(pattern) => Expr::ILike { negated, any, expr, pattern, escape_char: None },
        },
        Expr::InSubquery { expr, subquery, negated } if matches!(*expr, Expr::Tuple(_)) => {
            rows::in_subquery(*expr, *subquery, negated)?
        }
        Expr::IsNormalized { .. } => {
            return Err(SqlError::unsupported("IS NORMALIZED is not supported")
                .with_hint("Call is_normalized(text), or is_normalized(text, 'NFD')."));
        }
        Expr::Between { expr, negated, low, high } => between(*expr, negated, *low, *high),
        Expr::Value(ValueWithSpan { value: Value::NationalStringLiteral(text), span }) => {
            let literal = Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span });
            let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("bpchar"))]);
            cast(literal, DataType::Custom(name, Vec::new()))
        }
        Expr::Value(ValueWithSpan { value: Value::Number(text, long), span }) => match super::number::literal(&text)? {
            Some(expr) => expr,
            None => Expr::Value(ValueWithSpan { value: Value::Number(text, long), span }),
        },
        Expr::Function(function) if names::last_part(&function.name) == "row" => as_row(Expr::Function(function)),
        Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. })
            if names::last_part(&name) == "array" =>
        {
            call(ARRAY_OF_ROWS, vec![Expr::Subquery(query)])
        }
        Expr::Function(function) => match (cast_by_name(&function), function.args) {
            (Some(data_type), FunctionArguments::List(mut list)) => match list.args.pop() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => cast(expr, data_type),
                _ => return Err(SqlError::internal("a cast without its argument")),
            },
            (_, args) => rewrite_function(Function { args, ..function })?,
        },
        cast @ Expr::Cast { .. } => round_seconds(cast),
        Expr::TypedString(typed)
            if matches!(
                typed.data_type,
                DataType::Timestamp(Some(_), _) | DataType::Time(Some(_), _) | DataType::Custom(..)
            ) =>
        {
            let text = Expr::Value(typed.value);
            round_seconds(cast(text, typed.data_type))
        }
        Expr::CompoundFieldAccess { root, access_chain } => subscripts(*root, access_chain)?,
        Expr::Array(array) if array.elem.is_empty() => {
            let error = SqlError::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array");
            return Err(error.with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        // DataFusion plans the elements of ARRAY[..] without the outer query's columns and without WITH.
        Expr::Array(array) => call(ARRAY, array.elem),
        Expr::AnyOp { left, compare_op, right, is_some } => {
            let right = Box::new(array_beside(&left, *right));
            match opposite(&compare_op).filter(|_| !matches!(*right, Expr::Subquery(_))) {
                // DataFusion's ANY over an array is false where PostgreSQL's is NULL for a NULL in the array. Its ALL is right.
                Some(opposite) => {
                    let all = Expr::AllOp { left, compare_op: opposite, right };
                    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(all) }
                }
                None => Expr::AnyOp { left, compare_op, right, is_some },
            }
        }
        Expr::AllOp { left, compare_op, right } => {
            let right = Box::new(array_beside(&left, *right));
            Expr::AllOp { left, compare_op, right }
        }
        other => other,
    })
}

/// The comparison that holds where an order or inequality does not.
fn opposite(operator: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match operator {
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        _ => return None,
    })
}

/// The array of `x = ANY ('{1,2}')`: a literal is one of the type of `x`, which the binder knows.
fn array_beside(item: &Expr, array: Expr) -> Expr {
    let mut plain = &array;
    while let Expr::Nested(inner) = plain {
        plain = inner;
    }
    let is_literal = matches!(
        plain,
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::DollarQuotedString(_),
            ..
        })
    );
    if is_literal { call(ARRAY_BESIDE, vec![item.clone(), plain.clone()]) } else { array }
}

/// `ARRAY[]::integer[]`, the only place where an array without elements has a type.
fn is_typed_empty_array(expr: &Expr, data_type: &DataType) -> bool {
    matches!(expr, Expr::Array(array) if array.elem.is_empty())
        && matches!(super::types::sql_type_of_ast(data_type), Ok(wharf_catalog::SqlType::Array(_)))
}

fn is_float(data_type: &DataType) -> bool {
    matches!(
        super::types::sql_type_of_ast(data_type),
        Ok(wharf_catalog::SqlType::Real | wharf_catalog::SqlType::Double)
    )
}

/// `x BETWEEN SYMMETRIC a AND b`, which parsing marked by an operator before `a` (see [`crate::statement`]), is a
/// comparison with the smaller and the greater of the two.
fn between(expr: Expr, negated: bool, mut low: Expr, high: Expr) -> Expr {
    if !take_mark(&mut low) {
        return Expr::Between { expr: Box::new(expr), negated, low: Box::new(low), high: Box::new(high) };
    }
    let within = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(Expr::Nested(Box::new(expr.clone()))),
        negated: false,
        low: Box::new(Expr::Nested(Box::new(low.clone()))),
        high: Box::new(Expr::Nested(Box::new(high.clone()))),
    };
    let either = Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(within(&low, &high)),
        op: BinaryOperator::Or,
        right: Box::new(within(&high, &low)),
    }));
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) } } else { either }
}

/// Takes the mark of SYMMETRIC off the first operand of an expression.
fn take_mark(expr: &mut Expr) -> bool {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::PGPrefixFactorial, expr: inner } => {
            let inner = std::mem::replace(inner.as_mut(), Expr::Value(Value::Null.with_empty_span()));
            *expr = inner;
            true
        }
        Expr::BinaryOp { left, .. } => take_mark(left),
        Expr::Cast { expr, .. } | Expr::Collate { expr, .. } => take_mark(expr),
        _ => false,
    }
}

/// `t.a[1]`, `a[1][2]`, `a[2:3]`, `(c).field`: a column, then subscripts and fields one after the other.
fn subscripts(root: Expr, access_chain: Vec<AccessExpr>) -> Result<Expr, SqlError> {
    let integer = |expr: Expr| cast(expr, DataType::Int4(None));
    let mut value = root;
    for access in access_chain {
        value = match (value, access) {
            (Expr::Identifier(table), AccessExpr::Dot(Expr::Identifier(column))) => {
                Expr::CompoundIdentifier(vec![table, column])
            }
            (Expr::CompoundIdentifier(mut parts), AccessExpr::Dot(Expr::Identifier(column))) => {
                parts.push(column);
                Expr::CompoundIdentifier(parts)
            }
            (value, AccessExpr::Dot(Expr::Identifier(field))) => {
                call(COMPOSITE_FIELD, vec![value, string(names::fold(&field))])
            }
            (_, AccessExpr::Dot(_)) => {
                return Err(SqlError::unsupported("this form of a field of a composite value is not supported")
                    .with_hint("Write (value).field, with the field's name."));
            }
            // Whether it is an array's or a document's the binder knows.
            (value, AccessExpr::Subscript(Subscript::Index { index })) => call("array_subscript", vec![value, index]),
            (value, AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None })) => {
                let first = lower_bound.unwrap_or_else(|| number("1"));
                let last = upper_bound.unwrap_or_else(|| number("2147483647"));
                call("array_subrange", vec![value, integer(first), integer(last)])
            }
            (_, AccessExpr::Subscript(Subscript::Slice { .. })) => {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \":\""));
            }
        };
    }
    Ok(value)
}

/// A sign binds tighter than `^`: `-2 ^ 2` is 4.
fn negate(expr: Expr) -> Expr {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
            Expr::BinaryOp { left: Box::new(negate(*left)), op: BinaryOperator::PGExp, right }
        }
        other => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(other) },
    }
}

/// `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`; the parser takes all of `b AND c` for the right side.
fn distinct_from(left: Expr, right: Expr, not: bool) -> Expr {
    match right {
        Expr::BinaryOp { left: first, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            Expr::BinaryOp { left: Box::new(distinct_from(left, *first, not)), op, right }
        }
        right if not => Expr::IsNotDistinctFrom(Box::new(left), Box::new(right)),
        right => Expr::IsDistinctFrom(Box::new(left), Box::new(right)),
    }
}

/// `row(a, b)` is `(a, b)`.
fn as_row(expr: Expr) -> Expr {
    match expr {
        Expr::Function(function) if names::last_part(&function.name) == "row" => match function.args {
            FunctionArguments::List(list) => Expr::Tuple(
                list.args
                    .into_iter()
                    .filter_map(|argument| match argument {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => Expr::Tuple(Vec::new()),
        },
        other => other,
    }
}

/// A row is NULL when all its values are, and not NULL when none is.
fn row_null(row: Vec<Expr>, not: bool) -> Expr {
    let test = |expr: Expr| if not { Expr::IsNotNull(Box::new(expr)) } else { Expr::IsNull(Box::new(expr)) };
    let all = row.into_iter().map(test).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    Expr::Nested(Box::new(all.unwrap_or(Expr::Value(Value::Boolean(!not).with_empty_span()))))
}

fn named_operator(symbol: &str) -> Option<BinaryOperator> {
    Some(match symbol {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// Function calls by their unqualified name; `pg_catalog.` in front of a function is dropped.
fn rewrite_function(mut function: Function) -> Result<Expr, SqlError> {
    if function.name.0.len() > 1 {
        let schema = function.name.0[0].as_ident().map(names::fold).unwrap_or_default();
        if schema != "pg_catalog" && schema != "information_schema" && schema != "wharf" {
            return Err(SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("function {} does not exist", function.name.to_string().to_lowercase()),
            ));
        }
        let name = names::last_part(&function.name);
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
    }
    place_named_arguments(&mut function)?;
    check_call(&function)?;
    if let Some(gathered) = json_aggregate(&function) {
        return Ok(gathered);
    }
    match names::last_part(&function.name).as_str() {
        "percentile_disc" => return ordered_set::percentile(function, false),
        "percentile_cont" => return ordered_set::percentile(function, true),
        "jsonb_set_lax" => {
            if let Some(written) = json_records::set_lax(&function)? {
                return Ok(written);
            }
        }
        "setseed" => {
            return Err(SqlError::unsupported("setseed is not supported").with_hint("random() cannot be repeated."));
        }
        "pg_postmaster_start_time" => {
            return Err(SqlError::unsupported("pg_postmaster_start_time is not supported")
                .with_hint("docs/monitoring.md says what can be asked of a server."));
        }
        _ => {}
    }
    ordered_set::tell_casts_apart(&mut function);
    let renamed = match names::last_part(&function.name).as_str() {
        // Names DataFusion gives to the same thing.
        "every" => Some("bool_and"),
        "char_length" | "character_length" => Some("length"),
        "substr" => Some("substring"),
        "pow" => Some("power"),
        "ceiling" => Some("ceil"),
        "stddev" => Some("stddev_samp"),
        "variance" => Some("var_samp"),
        _ => None,
    };
    if let Some(name) = renamed {
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
    }
    Ok(Expr::Function(function))
}

/// `json_agg(x ORDER BY y)` is a document made of `array_agg(to_json(x) ORDER BY y)`.
fn json_aggregate(function: &Function) -> Option<Expr> {
    let (document, objects) = match names::last_part(&function.name).as_str() {
        "json_agg" => ("json_of_array", false),
        "jsonb_agg" => ("jsonb_of_array", false),
        "json_object_agg" => ("json_object_of_arrays", true),
        "jsonb_object_agg" => ("jsonb_object_of_arrays", true),
        _ => return None,
    };
    let FunctionArguments::List(list) = &function.args else { return None };
    let gathered = |argument: Expr| {
        let mut inner = function.clone();
        inner.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("array_agg"))]);
        inner.args = FunctionArguments::List(FunctionArgumentList {
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            ..list.clone()
        });
        Expr::Function(inner)
    };
    match (list.args.as_slice(), objects) {
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(value))], false) => {
            Some(call(document, vec![gathered(call("to_json", vec![value.clone()]))]))
        }
        (
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(key)), FunctionArg::Unnamed(FunctionArgExpr::Expr(value))],
            true,
        ) => {
            let key = gathered(cast(key.clone(), DataType::Text));
            Some(call(document, vec![key, gathered(call("to_json", vec![value.clone()]))]))
        }
        _ => None,
    }
}

/// Arguments by name go to their places; what is left out between them is 0, the default of all such parameters.
fn place_named_arguments(function: &mut Function) -> Result<(), SqlError> {
    let name = names::last_part(&function.name);
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let is_named = |argument: &FunctionArg| !matches!(argument, FunctionArg::Unnamed(_));
    if !list.args.iter().any(is_named) {
        return Ok(());
    }
    let undefined = || {
        SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist with these arguments"))
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
    };
    let parameters = parameter_names(&name).ok_or_else(undefined)?;
    let mut placed: Vec<Option<FunctionArg>> = Vec::new();
    for argument in list.args.drain(..) {
        let (place, arg) = match argument {
            FunctionArg::Named { name, arg, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                let name = names::fold(&name);
                (parameters.iter().position(|parameter| *parameter == name).ok_or_else(undefined)?, arg)
            }
            FunctionArg::Unnamed(arg) if placed.iter().all(Option::is_some) => (placed.len(), arg),
            _ => {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "positional argument cannot follow named argument"));
            }
        };
        if placed.len() <= place {
            placed.resize(place + 1, None);
        }
        if placed[place].replace(FunctionArg::Unnamed(arg)).is_some() {
            let message = format!("argument name \"{}\" used more than once", parameters.get(place).unwrap_or(&""));
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
        }
    }
    let zero = || FunctionArg::Unnamed(FunctionArgExpr::Expr(number("0")));
    list.args = placed.into_iter().map(|argument| argument.unwrap_or_else(zero)).collect();
    Ok(())
}

/// Calls of aggregates and window functions that PostgreSQL refuses.
fn check_call(function: &Function) -> Result<(), SqlError> {
    let name = names::last_part(&function.name);
    let wrong = |message: String| Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let star = |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    let row = |argument: &&FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)));
    if let Some(argument) = list.args.iter().find(row) {
        // DataFusion would count the rows that an outer join left empty, too.
        return Err(SqlError::unsupported(format!("{name}({argument}) is not supported"))
            .with_hint("Name a column; to count the rows that a join found, one that is NOT NULL."));
    }
    match name.as_str() {
        "count" if list.args.is_empty() => {
            return wrong("count(*) must be used to call a parameterless aggregate function".to_owned());
        }
        "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "ntile" | "lag" | "lead"
        | "first_value" | "last_value" | "nth_value"
            if function.over.is_none() && function.within_group.is_empty() =>
        {
            return wrong(format!("window function {name} requires an OVER clause"));
        }
        "count" => {}
        _ if list.args.iter().any(star) => {
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}() does not exist"))
                .with_hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                ));
        }
        _ => {}
    }
    if function.over.is_some() {
        if crate::functions::resolve(&name, &[]).is_some() {
            return wrong(format!("OVER specified, but {name} is not a window function nor an aggregate function"));
        }
        if list.duplicate_treatment == Some(sqlparser::ast::DuplicateTreatment::Distinct) {
            return Err(SqlError::unsupported("DISTINCT is not implemented for window functions")
                .with_hint("Have SELECT DISTINCT in a subquery, and the window function around it."));
        }
    }
    Ok(())
}

/// DataFusion's planner refuses a VALUES list whose column has strings and, say, timestamps, or casts beside NULLs, before
/// the binder can give the column one type: there the values hide in a call that has no type, which the binder takes off.
fn hide_types(values: &mut sqlparser::ast::Values) {
    let kind = |cell: &Expr| match cell {
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => Some(0),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) => Some(1),
        Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => Some(2),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(**expr, Expr::Value(_)) => Some(2),
        Expr::Value(ValueWithSpan { value: Value::Boolean(_), .. }) => Some(3),
        _ => None,
    };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    if values.rows.len() < 2 {
        return;
    }
    for column in 0..width {
        let mut kinds =
            values.rows.iter().filter_map(|row| row.content.get(column)).map(kind).filter(|k| *k != Some(0));
        let first = kinds.next();
        let plain = first.is_none_or(|first| first.is_some() && kinds.all(|kind| kind == first));
        if plain {
            continue;
        }
        for cell in values.rows.iter_mut().filter_map(|row| row.content.get_mut(column)) {
            if kind(cell) != Some(0) {
                let hidden = std::mem::replace(cell, Expr::Value(Value::Null.with_empty_span()));
                *cell = call(UNTYPED, vec![hidden]);
            }
        }
    }
}

/// Row values compare column by column: `(a, b) < (c, d)` is `a < c OR (a = c AND b < d)`.
fn compare_rows(left: Vec<Expr>, op: BinaryOperator, right: Vec<Expr>) -> Result<Expr, SqlError> {
    if left.len() != right.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"));
    }
    let binary = |left: Expr, op: BinaryOperator, right: Expr| {
        Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
    };
    let mut pairs = left.into_iter().zip(right).rev();
    let Some((left, right)) = pairs.next() else {
        return Err(SqlError::unsupported("cannot compare rows of zero length")
            .with_hint("Write at least one column in each row."));
    };
    let strict = match op {
        BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::Gt,
        ref other => other.clone(),
    };
    let mut result = binary(left, op.clone(), right);
    for (left, right) in pairs {
        result = match op {
            BinaryOperator::Eq => binary(binary(left, BinaryOperator::Eq, right), BinaryOperator::And, result),
            BinaryOperator::NotEq => binary(binary(left, BinaryOperator::NotEq, right), BinaryOperator::Or, result),
            BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
                let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
                let rest = binary(equal, BinaryOperator::And, result);
                binary(binary(left, strict.clone(), right), BinaryOperator::Or, rest)
            }
            BinaryOperator::Overlaps => {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "wrong number of parameters on left side of OVERLAPS expression",
                ));
            }
            _ => {
                return Err(SqlError::unsupported(format!("operator {op} is not supported for rows"))
                    .with_hint("Compare the columns of the rows one by one."));
            }
        };
    }
    Ok(result)
}

pub(super) fn field_name(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Custom(ident) => ident.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
    .trim_matches(['\'', '"'])
    .to_owned()
}

/// A string literal.
pub(crate) fn string(text: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).with_empty_span())
}

pub(super) fn number(text: &str) -> Expr {
    Expr::Value(Value::Number(text.to_owned(), false).with_empty_span())
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A plain function call.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Is this a query of constants only: VALUES, or a SELECT without FROM? PostgreSQL types an INSERT's constants by the
/// columns they go to.
pub(crate) fn is_constant_source(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Values(_) => true,
        SetExpr::Select(select) => select.from.is_empty(),
        SetExpr::Query(inner) => is_constant_source(inner),
        _ => false,
    }
}
