//! What stands where PostgreSQL does not allow it: aggregates and window functions among the keys of GROUP BY, and what a query of
//! `WITH RECURSIVE` may not have.
//!
//! It reads the syntax alone. DataFusion's planner takes such keys for columns, and goes on with such queries.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, SetOperator, Statement, TableFactor,
    TableWithJoins, Visit, Visitor,
};
use wharf_values::{SqlError, SqlState};

use super::{clauses, group_keys, names};

type Flow = ControlFlow<Box<SqlError>>;

/// `42803` for an aggregate among the keys of GROUP BY, in PostgreSQL's words.
pub(super) fn aggregate_key() -> SqlError {
    SqlError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY")
}

/// `42P20` for a window function among them.
pub(super) fn window_key() -> SqlError {
    SqlError::new(SqlState::WINDOWING_ERROR, "window functions are not allowed in GROUP BY")
}

/// Refuses a key of GROUP BY that is made of the groups. One that is the name of an output may be that of a column, too, which
/// only the planner knows: see [`named_key`].
///
/// # Errors
/// `42803`, `42P20`.
pub(super) fn keys(select: &Select) -> Result<(), SqlError> {
    result(check_keys(select, false))
}

/// What PostgreSQL says of a key by the name of an output, in a statement in which DataFusion's planner found two columns of one
/// name: the key and the aggregate that it stands for.
pub(super) fn named_key(statement: &Statement) -> Option<SqlError> {
    struct Selects;
    impl Visitor for Selects {
        type Break = Box<SqlError>;

        fn pre_visit_select(&mut self, select: &Select) -> Flow {
            check_keys(select, true)
        }
    }
    result(statement.visit(&mut Selects)).err()
}

fn check_keys(select: &Select, by_name: bool) -> Flow {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return ControlFlow::Continue(()) };
    // How many columns a wildcard is, nobody knows here.
    let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let by_number = !select.projection.iter().any(is_wild);
    for key in group_keys::single(keys) {
        let known = if matches!(key, Expr::Identifier(_)) { by_name } else { by_number };
        let meant = if known { group_keys::meant(key, &select.projection) } else { None };
        each_call(meant.unwrap_or(key), |call| {
            if clauses::is_aggregate(call) {
                return Some(aggregate_key());
            }
            call.over.is_some().then(window_key)
        })?;
    }
    ControlFlow::Continue(())
}

/// Checks the queries of `WITH RECURSIVE` that refer to themselves. DataFusion's planner drops the order and the limit of a UNION
/// there; one that does not refer to itself, and so keeps them, gets parentheses.
///
/// # Errors
/// `42P19`, `0A000` for an order or a limit.
pub(super) fn recursion(query: &mut Query) -> Result<(), SqlError> {
    let Some(with) = query.with.as_mut().filter(|with| with.recursive) else { return Ok(()) };
    for cte in &mut with.cte_tables {
        let name = names::fold(&cte.alias.name);
        if declares(&cte.query, &name) {
            continue;
        }
        match cte.query.body.as_ref() {
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                let message =
                    format!("recursive reference to query \"{name}\" must not appear within its non-recursive term");
                result(each_reader(left, &name, &|_| invalid(message.clone())))?;
                result(each_reader(right, &name, &recursive_term))?;
                if let Some(clause) = order_or_limit(&cte.query) {
                    if each_reader(right, &name, &|_| invalid(String::new())).is_break() {
                        let message = format!("{clause} in a recursive query is not implemented");
                        let hint = format!("Put it into the query that reads \"{name}\".");
                        return Err(SqlError::unsupported(message).with_hint(hint));
                    }
                    let inner = cte.query.clone();
                    cte.query.with = None;
                    cte.query.order_by = None;
                    cte.query.limit_clause = None;
                    cte.query.fetch = None;
                    *cte.query.body = SetExpr::Query(inner);
                }
            }
            body @ SetExpr::Select(_) => {
                let message = format!(
                    "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
                );
                result(each_reader(body, &name, &|_| invalid(message.clone())))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a query has behind its body, in the order in which PostgreSQL asks.
fn order_or_limit(query: &Query) -> Option<&'static str> {
    if query.order_by.is_some() {
        return Some("ORDER BY");
    }
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { offset: Some(_), .. } | LimitClause::OffsetCommaLimit { .. }) => Some("OFFSET"),
        Some(LimitClause::LimitOffset { limit: Some(_), .. }) => Some("LIMIT"),
        _ => query.fetch.as_ref().map(|_| "LIMIT"),
    }
}

fn invalid(message: String) -> Flow {
    ControlFlow::Break(Box::new(SqlError::new(SqlState::INVALID_RECURSION, message)))
}

/// A SELECT that reads the query it is a term of. An aggregate over anything else, in a subquery, is none of its own.
fn recursive_term(select: &Select) -> Flow {
    let refused = |call: &Function| {
        let message = "aggregate functions are not allowed in a recursive query's recursive term";
        clauses::is_aggregate(call).then(|| SqlError::new(SqlState::INVALID_RECURSION, message))
    };
    each_call(&select.distinct, refused)?;
    each_call(&select.projection, refused)?;
    each_call(&select.having, refused)
}

/// Does a query have a WITH query of this name?
fn declares(query: &Query, name: &str) -> bool {
    query.with.iter().flat_map(|with| &with.cte_tables).any(|cte| names::fold(&cte.alias.name) == name)
}

/// Is a table of FROM the WITH query of this name?
fn reads(from: &TableWithJoins, name: &str) -> bool {
    let is_it = |factor: &TableFactor| match factor {
        TableFactor::Table { name: table, args: None, .. } => table.0.len() == 1 && names::last_part(table) == name,
        TableFactor::NestedJoin { table_with_joins, .. } => reads(table_with_joins, name),
        _ => false,
    };
    is_it(&from.relation) || from.joins.iter().any(|join| is_it(&join.relation))
}

/// Asks about every SELECT that reads a WITH query, at whatever depth.
fn each_reader(body: &SetExpr, name: &str, judge: &dyn Fn(&Select) -> Flow) -> Flow {
    body.visit(&mut Readers { name, judge, hidden: 0 })
}

struct Readers<'a> {
    name: &'a str,
    judge: &'a dyn Fn(&Select) -> Flow,
    /// Queries around that have another WITH query of this name.
    hidden: usize,
}

impl Visitor for Readers<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.hidden += usize::from(declares(query, self.name));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> Flow {
        self.hidden -= usize::from(declares(query, self.name));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        match self.hidden == 0 && select.from.iter().any(|from| reads(from, self.name)) {
            true => (self.judge)(select),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Asks about every call, those in the arguments of another first, but not about those of subqueries.
fn each_call(node: &impl Visit, judge: fn(&Function) -> Option<SqlError>) -> Flow {
    node.visit(&mut Calls { judge, depth: 0 })
}

struct Calls {
    judge: fn(&Function) -> Option<SqlError>,
    depth: usize,
}

impl Visitor for Calls {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, _query: &Query) -> Flow {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Function(call) if self.depth == 0 => match (self.judge)(call) {
                Some(error) => ControlFlow::Break(Box::new(error)),
                None => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

fn result(flow: Flow) -> Result<(), SqlError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}
