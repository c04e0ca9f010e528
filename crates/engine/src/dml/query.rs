//! Queries made for statements that change rows: syntax trees over the table to be changed and over rows with names.

use sqlparser::ast;
use wharf_values::SqlError;

use crate::names::quoted;

/// A query in parts.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) with: Option<ast::With>,
    pub(super) items: Vec<ast::SelectItem>,
    pub(super) from: Vec<ast::TableWithJoins>,
    pub(super) condition: Option<ast::Expr>,
}

impl Parts {
    /// The query.
    ///
    /// # Errors
    /// None but for a bug.
    pub(super) fn query(self) -> Result<ast::Query, SqlError> {
        let Some(ast::Statement::Query(mut query)) = crate::statement::parse("SELECT 1")?.pop() else {
            return Err(SqlError::internal("SELECT is not a query"));
        };
        query.with = self.with;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.projection = self.items;
            select.from = self.from;
            select.selection = self.condition;
        }
        Ok(*query)
    }
}

/// Expressions as a select list with names of their own.
pub(super) fn numbered(exprs: impl IntoIterator<Item = ast::Expr>) -> Vec<ast::SelectItem> {
    let item = |(index, expr)| ast::SelectItem::ExprWithAlias { expr, alias: quoted(&format!("\0item{index}")) };
    exprs.into_iter().enumerate().map(item).collect()
}

/// A relation of the statement's own, by another name.
///
/// # Errors
/// None but for a bug.
pub(super) fn local(name: &str, alias: &str) -> Result<ast::TableFactor, SqlError> {
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&format!("SELECT 1 FROM \"{name}\" AS t"))?.pop()
    else {
        return Err(SqlError::internal("SELECT is not a query"));
    };
    let ast::SetExpr::Select(select) = *query.body else { return Err(SqlError::internal("SELECT is not a query")) };
    let mut factor = select.from.into_iter().next().map(|from| from.relation);
    if let Some(ast::TableFactor::Table { alias: Some(given), .. }) = &mut factor {
        given.name = quoted(alias);
    }
    factor.ok_or_else(|| SqlError::internal("a query without FROM"))
}

/// An item of FROM without joins.
pub(super) fn alone(relation: ast::TableFactor) -> ast::TableWithJoins {
    ast::TableWithJoins { relation, joins: Vec::new() }
}

/// `relation.column`.
pub(super) fn column(relation: &str, name: &str) -> ast::Expr {
    ast::Expr::CompoundIdentifier(vec![quoted(relation), quoted(name)])
}

/// An integer.
pub(super) fn number(value: usize) -> ast::Expr {
    ast::Expr::Value(ast::Value::Number(value.to_string(), false).with_empty_span())
}

/// `left AND right`.
pub(super) fn and(left: ast::Expr, right: ast::Expr) -> ast::Expr {
    let nested = |expr| Box::new(ast::Expr::Nested(Box::new(expr)));
    ast::Expr::BinaryOp { left: nested(left), op: ast::BinaryOperator::And, right: nested(right) }
}

/// `CASE WHEN condition THEN result .. ELSE otherwise END`.
pub(super) fn case(branches: Vec<(ast::Expr, ast::Expr)>, otherwise: Option<ast::Expr>) -> ast::Expr {
    let conditions = branches.into_iter().map(|(condition, result)| ast::CaseWhen { condition, result });
    ast::Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: otherwise.map(Box::new),
    }
}
