//! The columns that a statement names to store something in, and what it stores there.

use sqlparser::ast;
use wharf_catalog::{Column, Table};
use wharf_values::{SqlError, SqlState};

use super::constants;
use crate::bind::names::{fold, last_part};

/// The place of a column in its table.
///
/// # Errors
/// `42703`.
pub(super) fn place(table: &Table, name: &str) -> Result<usize, SqlError> {
    table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// The places of the columns of an INSERT's list; without a list all of them.
///
/// # Errors
/// `42703`, `42701` for a column that is named twice.
pub(super) fn list(table: &Table, names: &[ast::ObjectName]) -> Result<Vec<usize>, SqlError> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let name = last_part(name);
        let index = place(table, &name)?;
        if places.contains(&index) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        places.push(index);
    }
    Ok(places)
}

/// The columns that a SET clause sets, by their places, and their values.
///
/// # Errors
/// `42703`, `42601` for a column that is set twice and for lists that do not match.
pub(super) fn assignments(list: &[ast::Assignment], table: &Table) -> Result<Vec<(usize, ast::Expr)>, SqlError> {
    let mut found: Vec<(usize, ast::Expr)> = Vec::with_capacity(list.len());
    for assignment in list {
        for (name, value) in pairs(assignment)? {
            let name = last_part(name);
            let index = place(table, &name)?;
            if found.iter().any(|(other, _)| *other == index) {
                let message = format!("multiple assignments to same column \"{name}\"");
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            found.push((index, typed(&value, &table.columns[index])?));
        }
    }
    Ok(found)
}

/// `(a, b) = (1, 2)` is `a = 1, b = 2`; `(a, b) = (SELECT ..)` takes a column of the subquery for each.
fn pairs(assignment: &ast::Assignment) -> Result<Vec<(&ast::ObjectName, ast::Expr)>, SqlError> {
    let names = match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => return Ok(vec![(name, assignment.value.clone())]),
        ast::AssignmentTarget::Tuple(names) => names,
    };
    let values = match &assignment.value {
        ast::Expr::Tuple(values) => values.clone(),
        ast::Expr::Nested(value) if names.len() == 1 => vec![(**value).clone()],
        ast::Expr::Subquery(query) => columns_of(query, names.len())?,
        ast::Expr::Function(call) => arguments_of_row(call)?,
        _ => return Err(no_row()),
    };
    if names.len() != values.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    Ok(names.iter().zip(values).collect())
}

/// The columns of a subquery as subqueries of their own, which say the same as long as the rows are the same each time.
fn columns_of(query: &ast::Query, count: usize) -> Result<Vec<ast::Expr>, SqlError> {
    let select = match query.body.as_ref() {
        ast::SetExpr::Select(select) if select.distinct.is_none() => select,
        _ => return Err(several_columns()),
    };
    // Which rows are first is open where the order is, and could be another each time.
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(several_columns());
    }
    let plain = |item: &ast::SelectItem| {
        matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
    };
    if !select.projection.iter().all(plain) {
        return Err(several_columns());
    }
    if select.projection.len() != count {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    let column = |item: &ast::SelectItem| {
        let mut only = query.clone();
        if let ast::SetExpr::Select(select) = only.body.as_mut() {
            select.projection = vec![item.clone()];
        }
        ast::Expr::Subquery(Box::new(only))
    };
    Ok(select.projection.iter().map(column).collect())
}

fn several_columns() -> SqlError {
    SqlError::unsupported("setting several columns to this form of subquery is not supported")
        .with_hint("List the columns in a plain SELECT without LIMIT, or set each column by itself.")
}

fn no_row() -> SqlError {
    SqlError::unsupported("source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression")
        .with_hint("Write (a, b) = ROW(1, 2), or set each column by itself.")
}

/// The arguments of `ROW(..)`.
fn arguments_of_row(call: &ast::Function) -> Result<Vec<ast::Expr>, SqlError> {
    let ast::FunctionArguments::List(list) = &call.args else { return Err(no_row()) };
    if last_part(&call.name) != "row" {
        return Err(no_row());
    }
    let argument = |argument: &ast::FunctionArg| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
        _ => Err(no_row()),
    };
    list.args.iter().map(argument).collect()
}

/// A string, NULL or a parameter is a value of the column's type; the word DEFAULT stands for the column's default.
///
/// # Errors
/// A default that cannot be read.
pub(super) fn typed(value: &ast::Expr, column: &Column) -> Result<ast::Expr, SqlError> {
    let untyped = match value {
        ast::Expr::Nested(inner) => return typed(inner, column),
        value if is_default(value) => return typed(&default_expression(column)?, column),
        ast::Expr::Value(value) => {
            matches!(value.value, ast::Value::SingleQuotedString(_) | ast::Value::Null | ast::Value::Placeholder(_))
        }
        _ => false,
    };
    let data_type = if untyped { written_type(column)? } else { None };
    Ok(match data_type {
        Some(data_type) => cast_to(value.clone(), data_type),
        None => value.clone(),
    })
}

/// Is it the word DEFAULT?
pub(super) fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(word) if word.quote_style.is_none() && fold(word) == "default")
}

/// `expr::type`.
pub(super) fn cast_to(expr: ast::Expr, data_type: ast::DataType) -> ast::Expr {
    ast::Expr::Cast { kind: ast::CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A column's type as a statement writes it; none for strings, which keep their own rules for length.
///
/// # Errors
/// A type that cannot be read back.
pub(super) fn written_type(column: &Column) -> Result<Option<ast::DataType>, SqlError> {
    if column.ty.is_string() {
        return Ok(None);
    }
    match constants::parse(&format!("NULL::{}", column.ty))? {
        ast::Expr::Cast { data_type, .. } => Ok(Some(data_type)),
        other => Err(SqlError::internal(format!("{other} is not a cast"))),
    }
}

/// The expression a column takes when nothing is given for it.
///
/// # Errors
/// A default that cannot be read.
pub(super) fn default_expression(column: &Column) -> Result<ast::Expr, SqlError> {
    match &column.default {
        Some(text) => constants::parse(text),
        None => Ok(ast::Expr::Value(ast::Value::Null.with_empty_span())),
    }
}
