//! `(a, b) IN (SELECT ..)`, said with comparisons of the columns.

use sqlparser::ast::{BinaryOperator, Expr, Select, Statement};
use wharf_values::SqlError;

/// In the conditions of WHERE, where NULL and false are the same, it is `EXISTS`, of which a join can be made.
pub(super) fn in_where(select: &mut Select) {
    if let Some(condition) = &mut select.selection {
        conjuncts(condition);
    }
}

fn conjuncts(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left);
            conjuncts(right);
        }
        Expr::Nested(inner) => conjuncts(inner),
        Expr::InSubquery { expr: row, subquery, negated: false } => {
            if let Expr::Tuple(row) = row.as_ref()
                && let Some(exists) = parsed(&format!(
                    "SELECT EXISTS (SELECT 1 FROM ({subquery}) AS {TABLE}({}) WHERE {})",
                    columns(row),
                    equal(row)
                ))
            {
                *expr = exists;
            }
        }
        _ => {}
    }
}

/// The name of the subquery's rows, which nobody else uses.
const TABLE: &str = "\"\u{1}rows\"";

fn columns(row: &[Expr]) -> String {
    let names: Vec<String> = (0..row.len()).map(|index| format!("\"\u{1}row{index}\"")).collect();
    names.join(", ")
}

fn equal(row: &[Expr]) -> String {
    let pairs: Vec<String> =
        row.iter().enumerate().map(|(index, expr)| format!("({expr}) = {TABLE}.\"\u{1}row{index}\"")).collect();
    pairs.join(" AND ")
}

/// The expression that `SELECT expr` selects.
fn parsed(text: &str) -> Option<Expr> {
    use sqlparser::ast::{SelectItem, SetExpr};
    let Some(Statement::Query(query)) = crate::statement::parse(text).ok()?.pop() else { return None };
    let SetExpr::Select(select) = *query.body else { return None };
    match select.projection.into_iter().next()? {
        SelectItem::UnnamedExpr(expr) => Some(expr),
        _ => None,
    }
}

/// Elsewhere it is true, false or NULL by what the comparisons with all rows give.
pub(super) fn in_subquery(row: Expr, subquery: sqlparser::ast::Query, negated: bool) -> Result<Expr, SqlError> {
    let Expr::Tuple(row) = row else { return Err(SqlError::internal("a row that is none")) };
    let not = if negated { "NOT " } else { "" };
    let text = format!(
        "SELECT {not}(SELECT CASE WHEN bool_or(m) THEN true WHEN count(*) > count(m) THEN NULL ELSE false END AS found \
         FROM (SELECT {} AS m FROM ({subquery}) AS {TABLE}({})) AS matches)",
        equal(&row),
        columns(&row)
    );
    parsed(&text).ok_or_else(|| {
        SqlError::unsupported("this row comparison is not supported")
            .with_hint("Compare the columns in the WHERE of an EXISTS (SELECT ..).")
    })
}
