//! Parts of clients' catalog queries that can have no value here, taken out before planning.
//!
//! What always holds: the query gives the same rows. A select over a system table that is always empty (there are no
//! publications, no policies) gives none, so the subqueries in its list are never computed; no table has a TOAST table with
//! `reloptions`, and the options of foreign tables are always NULL, so an array made of their items is empty.

use sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, JoinOperator, ObjectName, Select, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins, Value, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

use crate::bind::names::{fold, last_part};

/// Simplifies the selects of a statement in place.
pub(crate) fn simplify(statement: &mut Statement) {
    let _ = statement.visit(&mut Simplifier);
}

struct Simplifier;

impl VisitorMut for Simplifier {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if gives_no_rows(select) {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    let _ = expr.visit(&mut Subqueries);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && is_array_of_options(function)
        {
            *expr = as_text(Expr::Array(Array { elem: Vec::new(), named: true }), true);
        }
        ControlFlow::Continue(())
    }
}

/// NULL in the place of every scalar subquery.
struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Subquery(_)) {
            *expr = as_text(Expr::Value(Value::Null.with_empty_span()), false);
        }
        ControlFlow::Continue(())
    }
}

fn as_text(expr: Expr, array: bool) -> Expr {
    let data_type = match array {
        true => DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
        false => DataType::Text,
    };
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A select without grouping or aggregates, of which one table is always empty.
fn gives_no_rows(select: &Select) -> bool {
    let plain = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(Expr::Function(function))
        | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. } => {
            matches!(last_part(&function.name).as_str(), "count" | "sum" | "min" | "max" | "avg")
                || last_part(&function.name).ends_with("_agg")
        }
        _ => false,
    });
    plain && select.having.is_none() && !aggregates && select.from.iter().any(is_empty)
}

/// Is the first table always empty, or one joined so that it must have a row?
fn is_empty(table: &TableWithJoins) -> bool {
    let outer = |op: &JoinOperator| {
        matches!(
            op,
            JoinOperator::Left(_)
                | JoinOperator::LeftOuter(_)
                | JoinOperator::Right(_)
                | JoinOperator::RightOuter(_)
                | JoinOperator::FullOuter(_)
        )
    };
    if table.joins.iter().any(|join| outer(&join.join_operator)) {
        return false;
    }
    is_always_empty(&table.relation) || table.joins.iter().any(|join| is_always_empty(&join.relation))
}

fn is_always_empty(factor: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    match parts(name).as_slice() {
        [schema, name] => super::tables::is_always_empty(schema, name),
        _ => false,
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect()
}

/// `array(SELECT 'toast.' || x FROM unnest(tc.reloptions) x)`, `array(SELECT .. FROM pg_options_to_table(ftoptions))`
fn is_array_of_options(function: &Function) -> bool {
    let FunctionArguments::Subquery(query) = &function.args else { return false };
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let [TableWithJoins { relation: TableFactor::Table { name, args: Some(args), .. }, joins }] =
        select.from.as_slice()
    else {
        return false;
    };
    let column = match args.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(column)))] => column.last(),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))] => Some(column),
        _ => None,
    };
    let options: &[&str] = match last_part(name).as_str() {
        "unnest" if select.projection.iter().all(is_of_toast) => &["reloptions"],
        "pg_options_to_table" => &["ftoptions", "attfdwoptions"],
        _ => &[],
    };
    last_part(&function.name) == "array"
        && joins.is_empty()
        && column.is_some_and(|column| options.contains(&fold(column).as_str()))
}

/// `'toast.' || x`: what a client calls the options of a TOAST table.
fn is_of_toast(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    let Expr::BinaryOp { left, op: BinaryOperator::StringConcat, .. } = expr else { return false };
    matches!(&**left, Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(text) if text == "toast."))
}
