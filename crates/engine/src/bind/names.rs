//! The names PostgreSQL gives to select-list items that have none, and how two columns of one name are kept apart.
//!
//! The rule is PostgreSQL's `FigureColname` (`src/backend/parser/parse_target.c`): a column or function lends its name, a
//! cast lends its type's name unless what it casts has a better one, everything else is `?column?`.
//!
//! DataFusion wants the names of a projection to be unique, PostgreSQL does not. A name that stands more than once
//! therefore carries [`DUPLICATE_MARK`] and a number, which [`display_name`] takes off where names leave the engine.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, Ident, ObjectName, Query, Select, SelectItem, SetExpr,
    Subscript,
};

use super::types::sql_type_of_ast;

/// Stands between a name and the number that makes it unique; cannot be typed in SQL text by accident.
pub(crate) const DUPLICATE_MARK: char = '\u{1}';

/// The name as the client sees it.
pub(crate) fn display_name(name: &str) -> &str {
    name.split(DUPLICATE_MARK).next().unwrap_or(name)
}

/// How good a name is: a better one wins over a cast's type name.
#[derive(PartialEq, PartialOrd)]
enum Strength {
    None,
    Weak,
    Strong,
}

/// Gives every item of the select list that needs one an explicit name.
pub(crate) fn name_select_items(select: &mut Select) {
    let has_wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let names: Vec<Option<String>> = select.projection.iter().map(item_name).collect();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let Some(name) = &names[index] else { continue };
        let repeated = names.iter().enumerate().any(|(other, n)| other != index && n.as_ref() == Some(name));
        let plain_column = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        let alias = if repeated || (has_wildcard && plain_column) {
            format!("{name}{DUPLICATE_MARK}{index}")
        } else if plain_column {
            continue;
        } else {
            name.clone()
        };
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
    }
}

fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(expression_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The name PostgreSQL gives to an unnamed output column.
pub(crate) fn expression_name(expr: &Expr) -> String {
    figure(expr).1.unwrap_or_else(|| "?column?".to_owned())
}

/// An identifier as PostgreSQL folds it: lower case unless it was quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        // As in a UTF-8 database of PostgreSQL: other letters stay as they are.
        None => ident.value.to_ascii_lowercase(),
    }
}

fn strong(name: impl Into<String>) -> (Strength, Option<String>) {
    (Strength::Strong, Some(name.into()))
}

fn figure(expr: &Expr) -> (Strength, Option<String>) {
    match expr {
        Expr::Identifier(ident) => strong(fold(ident)),
        Expr::CompoundIdentifier(idents) => match idents.last() {
            Some(ident) => strong(fold(ident)),
            None => (Strength::None, None),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            for access in access_chain.iter().rev() {
                if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
                    return strong(fold(ident));
                }
                if let AccessExpr::Subscript(Subscript::Index { .. } | Subscript::Slice { .. }) = access {
                    continue;
                }
            }
            figure(root)
        }
        Expr::Function(function) => strong(function_name(function)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr, data_type, .. } => cast_name(figure(expr), data_type),
        Expr::TypedString(typed) => cast_name((Strength::None, None), &typed.data_type),
        Expr::Interval(_) => (Strength::Weak, Some("interval".to_owned())),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(figure) {
            Some((Strength::Strong, name)) => (Strength::Strong, name),
            _ => (Strength::Weak, Some("case".to_owned())),
        },
        Expr::Subquery(query) => query_name(query),
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(sqlparser::ast::TrimWhereField::Leading) => "ltrim",
            Some(sqlparser::ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => (Strength::None, None),
        _ => (Strength::None, None),
    }
}

fn cast_name(inner: (Strength, Option<String>), data_type: &DataType) -> (Strength, Option<String>) {
    if inner.0 > Strength::Weak {
        return inner;
    }
    let name = match sql_type_of_ast(data_type) {
        Ok(ty) => ty.pg_name().trim_start_matches('_').to_owned(),
        Err(_) => data_type.to_string().to_lowercase(),
    };
    (Strength::Weak, Some(name))
}

fn function_name(function: &Function) -> String {
    last_part(&function.name)
}

/// The last part of a dotted name, folded.
pub(crate) fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default()
}

fn query_name(query: &Query) -> (Strength, Option<String>) {
    match query.body.as_ref() {
        SetExpr::Select(select) => match select.projection.first() {
            Some(SelectItem::UnnamedExpr(expr)) => figure(expr),
            Some(SelectItem::ExprWithAlias { alias, .. }) => strong(display_name(&fold(alias)).to_owned()),
            _ => (Strength::None, None),
        },
        SetExpr::Values(_) => strong("column1"),
        _ => (Strength::None, None),
    }
}
