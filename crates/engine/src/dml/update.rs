//! UPDATE.

use sqlparser::ast;
use wharf_catalog::{Column, SqlType, Table};
use wharf_values::{SqlError, SqlState};

use super::insert::{default_expression, written_type};
use super::rewrite::{RewritePlan, Rows};
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, assign_columns};
use crate::error::from_datafusion;
use crate::session::Session;

/// Plans an UPDATE.
///
/// # Errors
/// `42P01`, `42703`, `42601` for a column that is set twice, `42804` for types that do not fit, `55000` for a view.
pub(crate) async fn plan(
    session: &Session,
    update: &ast::Update,
    parameters: &[Option<SqlType>],
    mut context: BindContext,
) -> Result<(RewritePlan, BindContext), SqlError> {
    if update.returning.is_some() {
        return Err(SqlError::unsupported("UPDATE .. RETURNING is not supported yet"));
    }
    let others = match &update.from {
        None => Vec::new(),
        Some(ast::UpdateTableFromKind::AfterSet(others)) => others.clone(),
        Some(ast::UpdateTableFromKind::BeforeSet(_)) => return Err(syntax_error()),
    };
    if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() || update.output.is_some() {
        return Err(syntax_error());
    }
    let rows = Rows::new(session, &update.table, others, update.selection.clone(), "update", &mut context).await?;
    let mut projection: Vec<_> = rows.table.columns.iter().map(|column| rows.column(&column.name)).collect();
    for (index, value) in assignments(&update.assignments, &rows.table)? {
        projection[index] = value;
    }
    let query = rows.matching(projection)?;
    let changed = session.plan_query(&query, parameters, &context).await?;
    let columns: Vec<_> = rows.table.columns.iter().collect();
    let changed = assign_columns(changed, &columns, false, &context).map_err(from_datafusion)?;
    let plan = RewritePlan::new(session, &rows, Some(changed), parameters, &context).await?;
    Ok((plan, context))
}

fn syntax_error() -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, "syntax error in UPDATE")
}

/// The columns that are set, by their place in the table, and their values.
fn assignments(list: &[ast::Assignment], table: &Table) -> Result<Vec<(usize, ast::Expr)>, SqlError> {
    let mut found: Vec<(usize, ast::Expr)> = Vec::with_capacity(list.len());
    for assignment in list {
        for (name, value) in pairs(assignment)? {
            let name = last_part(name);
            let index = table.columns.iter().position(|column| column.name == name).ok_or_else(|| {
                SqlError::new(
                    SqlState::UNDEFINED_COLUMN,
                    format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
                )
            })?;
            if found.iter().any(|(other, _)| *other == index) {
                let message = format!("multiple assignments to same column \"{name}\"");
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            found.push((index, typed(value, &table.columns[index])?));
        }
    }
    Ok(found)
}

/// `(a, b) = (1, 2)` is `a = 1, b = 2`.
fn pairs(assignment: &ast::Assignment) -> Result<Vec<(&ast::ObjectName, &ast::Expr)>, SqlError> {
    let names = match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => return Ok(vec![(name, &assignment.value)]),
        ast::AssignmentTarget::Tuple(names) => names,
    };
    let ast::Expr::Tuple(values) = &assignment.value else {
        return Err(SqlError::unsupported("setting several columns to anything but a list is not supported")
            .with_hint("Set each column by itself."));
    };
    if names.len() != values.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    Ok(names.iter().zip(values).collect())
}

/// A string, NULL or a parameter is a value of the column's type; the word DEFAULT stands for the column's default.
fn typed(value: &ast::Expr, column: &Column) -> Result<ast::Expr, SqlError> {
    let untyped = match value {
        ast::Expr::Nested(inner) => return typed(inner, column),
        ast::Expr::Identifier(word) if word.quote_style.is_none() && fold(word) == "default" => {
            return default_expression(column);
        }
        ast::Expr::Value(value) => {
            matches!(value.value, ast::Value::SingleQuotedString(_) | ast::Value::Null | ast::Value::Placeholder(_))
        }
        _ => false,
    };
    let data_type = if untyped { written_type(column)? } else { None };
    Ok(match data_type {
        Some(data_type) => ast::Expr::Cast {
            kind: ast::CastKind::DoubleColon,
            expr: Box::new(value.clone()),
            data_type,
            array: false,
            format: None,
        },
        None => value.clone(),
    })
}
