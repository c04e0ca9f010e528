//! Functions that return sets, in FROM and in select lists, said with `unnest`.
//!
//! A set-returning function is one that returns an array here (`crate::functions`), so `FROM f(x) AS t` is
//! `FROM (SELECT unnest(f(x)) AS t) AS t`, which is lateral when its arguments name columns. `WITH ORDINALITY` numbers
//! the elements of the array. A series with constant ends stays a table function, which makes its rows as they are read.
//! A function that gives one value is a table of one row: `FROM (SELECT f(x)) AS t`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, Query, Select, SelectItem,
    SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value, ValueWithSpan, VisitMut,
    VisitorMut, visit_expressions,
};
use wharf_values::SqlError;

use super::normalize::{call, cast, number};
use super::{json_records, names};
use crate::functions::{SetFunction, set_function};

/// Replaces the functions of a FROM clause.
///
/// # Errors
/// `0A000` for what has no plan.
pub(super) fn rewrite_from(select: &mut Select) -> Result<(), SqlError> {
    for (place, table) in select.from.iter_mut().enumerate() {
        json_records::write_out(&mut table.relation, place > 0)?;
        for join in &mut table.joins {
            let may_look_left = !matches!(join.join_operator, JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
            json_records::write_out(&mut join.relation, may_look_left)?;
        }
    }
    let mut named = Vec::new();
    for (place, table) in select.from.iter().enumerate() {
        let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
        for (index, factor) in factors.enumerate() {
            let Some(Source { alias: Some(alias), .. }) = Source::of(factor) else { continue };
            named.push((place, index, is_named_alone(select, &names::fold(&alias.name))));
        }
    }
    let is_value = |place, index| named.iter().any(|(p, i, alone)| (*p, *i) == (place, index) && *alone);
    for (place, table) in select.from.iter_mut().enumerate() {
        let first = is_value(place, 0);
        replace(&mut table.relation, place > 0, first)?;
        for (index, join) in table.joins.iter_mut().enumerate() {
            let may_look_left = !matches!(join.join_operator, JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
            let value = is_value(place, index + 1);
            replace(&mut join.relation, may_look_left, value)?;
        }
    }
    Ok(())
}

/// Replaces the functions of a select list.
pub(super) fn rewrite_select_list(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            // The visitor has nothing to break for.
            let _ = VisitMut::visit(expr, &mut SelectList { depth: 0 });
        }
    }
}

struct SelectList {
    /// Queries within the item, which have lists of their own.
    depth: usize,
}

impl VisitorMut for SelectList {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Function(function) = expr
            && function.over.is_none()
            && matches!(
                set_function(&names::last_part(&function.name)),
                Some(SetFunction::Values { .. } | SetFunction::Numbered)
            )
        {
            let document = document_type(&names::last_part(&function.name));
            let taken = std::mem::replace(expr, number("0"));
            *expr = typed(call("unnest", vec![taken]), document);
        } else if let Some(inner) = unnested_within(expr) {
            *expr = inner;
        }
        ControlFlow::Continue(())
    }
}

/// `unnest(f(x))` and `array_ordinals(f(x))` of a list that was made here: its function was taken for one of the select
/// list.
fn unnested_within(expr: &Expr) -> Option<Expr> {
    fn only_argument(expr: &Expr) -> Option<(String, &Expr)> {
        let Expr::Function(function) = expr else { return None };
        let FunctionArguments::List(list) = &function.args else { return None };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
        Some((names::last_part(&function.name), argument))
    }
    let (outer, argument) = only_argument(expr)?;
    if outer != "unnest" && outer != "array_ordinals" {
        return None;
    }
    let argument = match argument {
        Expr::Cast { expr, .. } => expr,
        other => other,
    };
    match only_argument(argument)? {
        (name, list) if name == "unnest" => Some(call(&outer, vec![list.clone()])),
        _ => None,
    }
}

/// What the elements of a function's list are, where unnesting loses it.
fn document_type(function: &str) -> Option<DataType> {
    match function {
        "json_array_elements" | "json_each" => Some(DataType::JSON),
        "jsonb_array_elements" | "jsonb_each" => Some(DataType::JSONB),
        _ => None,
    }
}

fn typed(expr: Expr, data_type: Option<DataType>) -> Expr {
    match data_type {
        Some(data_type) => cast(expr, data_type),
        None => expr,
    }
}

/// A function in FROM.
struct Source<'a> {
    name: String,
    arguments: Vec<&'a Expr>,
    alias: Option<&'a TableAlias>,
    with_ordinality: bool,
}

impl Source<'_> {
    /// The function, if the item is one.
    fn of(factor: &TableFactor) -> Option<Source<'_>> {
        fn plain(args: &[FunctionArg]) -> Option<Vec<&Expr>> {
            args.iter()
                .map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect()
        }
        let (name, arguments, alias, with_ordinality) = match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
                (names::last_part(name), plain(&args.args)?, alias, *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                (names::last_part(name), plain(args)?, alias, *with_ordinality)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                ("unnest".to_owned(), array_exprs.iter().collect(), alias, *with_ordinality)
            }
            _ => return None,
        };
        Some(Source { name, arguments, alias: alias.as_ref(), with_ordinality })
    }
}

fn replace(factor: &mut TableFactor, may_look_left: bool, value_is_named: bool) -> Result<(), SqlError> {
    let Some(source) = Source::of(factor) else { return Ok(()) };
    let mentions = |wanted: fn(&Expr) -> bool| {
        source.arguments.iter().any(|argument| {
            visit_expressions(*argument, |expr| match wanted(expr) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
            .is_break()
        })
    };
    let names_columns = mentions(|expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
    // A table function makes its rows while the query is planned, when parameters have no values yet.
    let has_parameters =
        mentions(|expr| matches!(expr, Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. })));
    // It takes plain values alone; what is computed is computed when the query runs.
    let has_calls = mentions(|expr| {
        !matches!(
            expr,
            Expr::Value(_)
                | Expr::TypedString(_)
                | Expr::Interval(_)
                | Expr::Nested(_)
                | Expr::Cast { .. }
                | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, .. }
        )
    });
    let is_constant = !names_columns && !has_parameters && !has_calls;
    let made_as_read = source.name == "generate_series" && is_constant && !source.with_ordinality;
    if made_as_read && matches!(factor, TableFactor::Table { .. }) {
        name_series(factor);
        return Ok(());
    }
    let arguments: Vec<Expr> = source.arguments.iter().copied().cloned().collect();
    let function = set_function(&source.name);
    let returns_set = function.is_some();
    let alias_name = source.alias.map_or_else(|| source.name.clone(), |alias| names::fold(&alias.name));
    // The column of a function that names it keeps that name, unless the query calls it by the alias.
    let column_name = |own: Option<&str>| match own {
        Some(own) if !value_is_named => own.to_owned(),
        _ => alias_name.clone(),
    };
    let mut lists: Vec<(Expr, String)> = match function {
        None => vec![(call(&source.name, arguments.clone()), alias_name.clone())],
        Some(SetFunction::Unnest) => arguments.iter().map(|argument| (argument.clone(), column_name(None))).collect(),
        Some(SetFunction::Values { column }) => {
            vec![(call(&source.name, arguments.clone()), column_name(column))]
        }
        Some(SetFunction::Numbered) if arguments.len() == 1 => {
            // Its rows apart, so that they are of columns.
            let numbers = call("generate_subscripts", vec![arguments[0].clone(), number("1")]);
            vec![(arguments[0].clone(), "x".to_owned()), (numbers, "n".to_owned())]
        }
        Some(SetFunction::Numbered) => vec![(call(&source.name, arguments.clone()), alias_name.clone())],
        Some(SetFunction::Pairs { keys, values }) => {
            vec![
                (call(keys, arguments.clone()), "key".to_owned()),
                (call(values, arguments.clone()), "value".to_owned()),
            ]
        }
    };
    if source.with_ordinality {
        if !returns_set {
            return Err(SqlError::unsupported("WITH ORDINALITY of a function that gives one value is not supported")
                .with_hint("Select 1 as well."));
        }
        if lists.len() > 1 && matches!(function, Some(SetFunction::Unnest)) {
            return Err(SqlError::unsupported("WITH ORDINALITY of several arrays is not supported")
                .with_hint("Unnest one array, or number the rows with row_number()."));
        }
        lists.push((call("array_ordinals", vec![lists[0].0.clone()]), "ordinality".to_owned()));
    }
    let documents = match function {
        Some(SetFunction::Values { .. }) => vec![document_type(&source.name)],
        Some(SetFunction::Pairs { .. }) => vec![None, document_type(&source.name)],
        Some(SetFunction::Unnest | SetFunction::Numbered) | None => Vec::new(),
    };
    let alias = source.alias.cloned();
    let columns = lists.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    // Names of their own, which the alias below replaces: two arrays of one unnest have the same name.
    let projection = lists
        .into_iter()
        .enumerate()
        .map(|(index, (list, _))| SelectItem::ExprWithAlias {
            expr: match returns_set {
                true => typed(call("unnest", vec![list]), documents.get(index).cloned().flatten()),
                false => list,
            },
            alias: Ident::with_quote('"', format!("set{index}")),
        })
        .collect();
    let given = alias.map(|alias| alias.columns).unwrap_or_default();
    let named = columns.into_iter().enumerate().map(|(index, name)| {
        let name = match given.get(index) {
            Some(column) => column.name.clone(),
            None => Ident::with_quote('"', name),
        };
        TableAliasColumnDef { name, data_type: None }
    });
    let columns = named.collect::<Vec<_>>();
    if given.len() > columns.len() {
        return Err(SqlError::new(
            wharf_values::SqlState::INVALID_COLUMN_REFERENCE,
            format!(
                "table \"{alias_name}\" has {} columns available but {} columns specified",
                columns.len(),
                given.len()
            ),
        ));
    }
    *factor = TableFactor::Derived {
        lateral: may_look_left && names_columns,
        subquery: Box::new(query_of(projection)?),
        alias: Some(TableAlias { explicit: true, name: Ident::with_quote('"', alias_name), columns, at: None }),
        sample: None,
    };
    Ok(())
}

/// `SELECT items`
fn query_of(projection: Vec<SelectItem>) -> Result<Query, SqlError> {
    let Some(Statement::Query(mut query)) = crate::statement::parse("SELECT 1")?.pop() else {
        return Err(SqlError::internal("SELECT 1 is no query"));
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = projection;
    }
    Ok(*query)
}

/// The one column of a series has the alias's name, or the function's.
fn name_series(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, .. } = factor else { return };
    // The schema of PostgreSQL's own functions, which is not that of a table.
    if name.0.len() == 2 && name.0[0].as_ident().is_some_and(|schema| names::fold(schema) == "pg_catalog") {
        name.0.remove(0);
    }
    let column = alias.as_ref().map_or_else(|| names::last_part(name), |alias| names::fold(&alias.name));
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', column.clone()),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef::from_name(column));
    }
}

/// Does a query use a name without anything before or behind it?
fn is_named_alone(select: &Select, name: &str) -> bool {
    visit_expressions(select, |expr| match expr {
        Expr::Identifier(ident) if names::fold(ident) == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}
