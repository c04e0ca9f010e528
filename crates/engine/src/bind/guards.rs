//! What is computed only for the rows that ask for it: the right side of `AND` and `OR`, the branches of a boolean `CASE`.
//!
//! PostgreSQL evaluates `a <> 0 AND 1 / a > 0` from left to right for each row. DataFusion evaluates both sides for all rows of
//! a batch, and turns a boolean `CASE` back into `AND` and `OR`, so that the division fails for rows that the left side
//! was written to keep away. `CASE` over numbers it leaves alone, and that one computes each branch for its rows only:
//! `l AND r` becomes `l AND (CASE WHEN l IS FALSE THEN 0 ELSE r::int END)::boolean`, which is the same for NULL, too.
//!
//! Only for a right side that can raise an error: the left side is evaluated twice. Of the left side only what looks at the
//! same relations counts, so that conditions of one table stay such and joins keep their keys.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{BinaryExpr, Case, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, disjunction, split_binary, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast};

use super::in_lists;

/// Functions that PostgreSQL's users guard against: not all of them take every argument.
const PARTIAL: [&str; 12] = [
    "int_divide",
    "int_modulo",
    "numeric_divide",
    "float_divide",
    "float_modulo",
    "sqrt",
    "ln",
    "log",
    "log10",
    "to_date",
    "to_timestamp",
    "to_number",
];

/// `left AND right` or `left OR right`, the right side computed only where the left one does not decide.
pub(super) fn connect(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> DfResult<Expr> {
    if let Some(decided) = in_lists::decided(&left, op, &right) {
        return Ok(decided);
    }
    let right = match can_raise(&right, schema)? {
        true => guarded(&left, op, right),
        false => right,
    };
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
}

fn guarded(left: &Expr, op: Operator, right: Expr) -> Expr {
    let relations = relations(&right);
    if compares_relations(&right) || has_subquery(&right) {
        return right;
    }
    let parts = match op {
        Operator::And => split_conjunction(left),
        _ => split_binary(left, op),
    };
    let guards = parts
        .into_iter()
        .filter(|part| !part.is_volatile() && !has_subquery(part) && self::relations(part).is_subset(&relations));
    let guards: Vec<Expr> = guards.cloned().collect();
    let decided = match op {
        Operator::And => conjunction(guards).map(|guard| (Expr::IsFalse(Box::new(guard)), 0)),
        _ => disjunction(guards).map(|guard| (Expr::IsTrue(Box::new(guard)), 1)),
    };
    match decided {
        Some((decided, value)) => {
            let pairs = vec![(Box::new(decided), Box::new(Expr::Literal(ScalarValue::Int8(Some(value)), None)))];
            let rest = Box::new(cast(right, DataType::Int8));
            cast(Expr::Case(Case::new(None, pairs, Some(rest))), DataType::Boolean)
        }
        None => right,
    }
}

/// A `CASE`, in a form that keeps its branches apart when one of them can raise an error.
pub(super) fn keep_branches(case: Case, schema: &DFSchema) -> DfResult<Expr> {
    let results = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    let mut raises = false;
    for result in results() {
        raises |= can_raise(result, schema)?;
    }
    let first = results().next().map(|result| result.get_type(schema)).transpose()?;
    if !raises || first != Some(DataType::Boolean) {
        return Ok(Expr::Case(case));
    }
    let number = |result: Box<Expr>| Box::new(cast(*result, DataType::Int8));
    let pairs = case.when_then_expr.into_iter().map(|(when, then)| (when, number(then))).collect();
    Ok(cast(Expr::Case(Case::new(case.expr, pairs, case.else_expr.map(number))), DataType::Boolean))
}

/// Whether a value of a row can make the expression fail.
fn can_raise(expr: &Expr, schema: &DFSchema) -> DfResult<bool> {
    let mut raises = false;
    expr.apply(|expr| {
        raises |= match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
                "cast" => match args.as_slice() {
                    [Expr::Literal(..)] => false,
                    [value] => {
                        matches!(value.get_type(schema)?, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                    }
                    _ => false,
                },
                name => PARTIAL.contains(&name) && !is_divisor(args.last()),
            },
            Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => {
                !is_divisor(Some(right))
            }
            _ => false,
        };
        Ok(if raises { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(raises)
}

/// A constant other than zero, through casts between numbers.
fn is_divisor(expr: Option<&Expr>) -> bool {
    match expr {
        Some(Expr::Literal(value, _)) => {
            let zero = ScalarValue::new_zero(&value.data_type());
            !value.is_null() && zero.is_ok_and(|zero| zero != *value)
        }
        Some(Expr::Cast(cast)) => is_divisor(Some(&cast.expr)),
        _ => false,
    }
}

fn relations(expr: &Expr) -> BTreeSet<Option<TableReference>> {
    expr.column_refs().into_iter().map(|column| column.relation.clone()).collect()
}

/// An equality of two relations, which joins them.
fn compares_relations(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (left, right) = (relations(left), relations(right));
            !left.is_empty() && !right.is_empty() && left.is_disjoint(&right)
        }
        _ => false,
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |expr: &Expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    };
    // The closure cannot fail.
    expr.exists(is_subquery).unwrap_or(true)
}
