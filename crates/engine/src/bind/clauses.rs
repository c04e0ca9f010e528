//! Clauses of SELECT that DataFusion's planner does not read as PostgreSQL does: named windows, FETCH FIRST, ORDER BY over
//! names that are both a column and an output.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query,
    Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut, WindowSpec, WindowType, visit_expressions,
};
use wharf_values::{SqlError, SqlState};

use super::{names, window_offsets};

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
pub(super) fn fetch_first(query: &mut Query) -> Result<(), SqlError> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        return Err(SqlError::unsupported("FETCH FIRST .. WITH TIES is not supported")
            .with_hint("Filter by rank() OVER (ORDER BY ..) in a subquery."));
    }
    let count = fetch.quantity.unwrap_or(Expr::Value(Value::Number("1".to_owned(), false).with_empty_span()));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(count),
        None => {
            let limit_by = Vec::new();
            query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(count), offset: None, limit_by });
        }
        Some(_) => return Err(SqlError::new(SqlState::SYNTAX_ERROR, "multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

/// `HAVING` makes one group of all rows, as `GROUP BY ()` does, also where no aggregate asks for it.
pub(super) fn having_alone(select: &mut Select) {
    let aggregates = |expr: &Expr| match expr {
        Expr::Function(function) if is_aggregate(function) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    if keys.is_empty()
        && select.having.is_some()
        && visit_expressions(&select.having, aggregates).is_continue()
        && visit_expressions(&select.projection, aggregates).is_continue()
    {
        keys.push(Expr::Tuple(Vec::new()));
    }
}

/// Aggregates that become calls of others.
const WRITTEN_OUT: &[&str] = &["every", "json_agg", "json_object_agg", "jsonb_agg", "jsonb_object_agg", "variance"];

/// Is it a call of an aggregate by its name? One that is not known makes a group by itself, which is the same group.
pub(super) fn is_aggregate(function: &Function) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let known = all_default_aggregate_functions().into_iter().flat_map(|function| {
            let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        known.chain(WRITTEN_OUT.iter().map(|name| (*name).to_owned())).collect()
    });
    function.over.is_none() && NAMES.contains(&names::last_part(&function.name))
}

/// `GROUP BY ()` makes one group of all rows, and of none; beside other keys it says nothing.
pub(super) fn group_by_nothing(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    let is_empty = |key: &Expr| matches!(key, Expr::Tuple(parts) if parts.is_empty());
    if !keys.iter().any(is_empty) {
        return;
    }
    keys.retain(|key| !is_empty(key));
    if keys.is_empty() {
        keys.push(Expr::GroupingSets(vec![Vec::new()]));
    }
}

/// `OVER w` and `OVER (w ORDER BY ..)` become the window they mean.
pub(super) fn named_windows(query: &mut Query) -> Result<(), SqlError> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let mut windows: Vec<(String, WindowSpec)> = Vec::new();
    for NamedWindowDefinition(name, definition) in std::mem::take(&mut select.named_window) {
        let name = names::fold(&name);
        if windows.iter().any(|(other, _)| *other == name) {
            return Err(SqlError::new(SqlState::WINDOWING_ERROR, format!("window \"{name}\" is already defined")));
        }
        let spec = match definition {
            NamedWindowExpr::WindowSpec(spec) => completed(spec, &windows)?,
            NamedWindowExpr::NamedWindow(base) => find(&base, &windows)?.clone(),
        };
        windows.push((name, spec));
    }
    let mut visitor = Windows { windows };
    let mut flow = ControlFlow::Continue(());
    for item in &mut select.projection {
        if flow.is_continue() {
            flow = item.visit(&mut visitor);
        }
    }
    if flow.is_continue() {
        flow = query.order_by.visit(&mut visitor);
    }
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

fn find<'a>(name: &Ident, windows: &'a [(String, WindowSpec)]) -> Result<&'a WindowSpec, SqlError> {
    let name = names::fold(name);
    let found = windows.iter().find(|(other, _)| *other == name).map(|(_, spec)| spec);
    found.ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist")))
}

/// A window with what it takes from the one it names.
fn completed(mut spec: WindowSpec, windows: &[(String, WindowSpec)]) -> Result<WindowSpec, SqlError> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let base = find(&name, windows)?;
    let wrong = |message: &str| {
        let message = message.replace("{}", &names::fold(&name));
        Err(SqlError::new(SqlState::WINDOWING_ERROR, message))
    };
    if !spec.partition_by.is_empty() {
        return wrong("cannot override PARTITION BY clause of window \"{}\"");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return wrong("cannot override ORDER BY clause of window \"{}\"");
    }
    if base.window_frame.is_some() {
        return wrong("cannot copy window \"{}\" because it has a frame clause");
    }
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    Ok(spec)
}

/// Queries inside have been seen before: their windows are written out.
struct Windows {
    windows: Vec<(String, WindowSpec)>,
}

impl VisitorMut for Windows {
    type Break = Box<SqlError>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
        let spec = match over {
            WindowType::NamedWindow(name) => find(name, &self.windows).cloned(),
            WindowType::WindowSpec(spec) => completed(spec.clone(), &self.windows),
        };
        match spec {
            Ok(mut spec) => {
                window_offsets::write_out(&mut spec);
                *over = WindowType::WindowSpec(spec);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// In an expression of ORDER BY a name is a column of FROM, where DataFusion would take the output of that name.
pub(super) fn order_by_columns(query: &mut Query) -> Result<(), SqlError> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let outputs: Vec<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if !is_column(expr, &names::fold(alias)) => {
                Some(names::display_name(&names::fold(alias)).to_owned())
            }
            _ => None,
        })
        .collect();
    if outputs.is_empty() {
        return Ok(());
    }
    let table = only_table(select);
    let Some(order_by) = &mut query.order_by else { return Ok(()) };
    let OrderByKind::Expressions(keys) = &mut order_by.kind else { return Ok(()) };
    for key in keys {
        if matches!(key.expr, Expr::Identifier(_) | Expr::Value(_)) {
            continue;
        }
        let mut visitor = Qualifier { outputs: &outputs, table: table.as_ref(), depth: 0 };
        if let ControlFlow::Break(error) = key.expr.visit(&mut visitor) {
            return Err(*error);
        }
    }
    Ok(())
}

fn is_column(expr: &Expr, name: &str) -> bool {
    let name = names::display_name(name);
    match expr {
        Expr::Identifier(ident) => names::fold(ident) == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|ident| names::fold(ident) == name),
        _ => false,
    }
}

/// The name of the one table in FROM.
fn only_table(select: &Select) -> Option<Ident> {
    let [from] = select.from.as_slice() else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    match &from.relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

struct Qualifier<'a> {
    outputs: &'a [String],
    table: Option<&'a Ident>,
    depth: usize,
}

impl VisitorMut for Qualifier<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Identifier(ident) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 || !self.outputs.contains(&names::fold(ident)) {
            return ControlFlow::Continue(());
        }
        match self.table {
            Some(table) => *expr = Expr::CompoundIdentifier(vec![table.clone(), ident.clone()]),
            None => {
                let message =
                    format!("an ORDER BY expression over the output column \"{}\" is not supported", ident.value);
                let error = SqlError::unsupported(message)
                    .with_hint("Qualify the column with its table, or order by the output column alone.");
                return ControlFlow::Break(Box::new(error));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Names that stand twice in FROM, and derived tables that have none.
pub(super) fn check_from(select: &Select) -> Result<(), SqlError> {
    let mut seen: Vec<String> = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            let name = match factor {
                TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                    names::fold(&alias.name)
                }
                TableFactor::Table { name, alias: None, args: None, .. } => names::last_part(name),
                TableFactor::Derived { alias: None, .. } => {
                    return Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery in FROM must have an alias")
                        .with_hint("For example, FROM (SELECT ...) [AS] foo."));
                }
                _ => continue,
            };
            if qualified(factor) {
                continue;
            }
            if seen.contains(&name) {
                return Err(SqlError::new(
                    SqlState::DUPLICATE_ALIAS,
                    format!("table name \"{name}\" specified more than once"),
                ));
            }
            seen.push(name);
        }
    }
    Ok(())
}

/// `a.t` and `b.t` are two names.
fn qualified(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, alias: None, .. } if name.0.len() > 1)
}
