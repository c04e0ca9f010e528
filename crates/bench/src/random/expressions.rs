//! Random expressions of a wanted type, with subqueries in them.

use super::aggregates;
use super::forms::{Form, Slot, forms};
use super::generator::{Generator, Scope};
use super::relations::{simple_from, single_table};
use super::syntax::{Expression, FromClause, Node, Query, Select};
use super::types::SqlType;

/// An expression of a type; `depth` bounds how deep functions and subqueries stand in each other.
pub(super) fn expression(generator: &mut Generator, scope: &Scope<'_>, ty: SqlType, depth: u32) -> Expression {
    if depth == 0 || generator.percent(30) {
        return leaf(generator, scope, ty);
    }
    let forms: Vec<&Form> = forms(ty).collect();
    // Half of what a boolean can be is forms: subqueries are where planners go wrong.
    let subqueries = if ty == SqlType::Bool { forms.len() / 2 } else { 1 + forms.len() / 12 };
    match generator.random().usize(..forms.len() + subqueries) {
        choice if choice < forms.len() => form(generator, scope, ty, forms[choice], depth - 1),
        _ if ty == SqlType::Bool => condition_on_subquery(generator, scope, depth - 1),
        _ => scalar_subquery(generator, scope, ty, depth - 1),
    }
}

/// An optional condition.
pub(super) fn filter(generator: &mut Generator, scope: &Scope<'_>, percent: u8, depth: u32) -> Option<Expression> {
    generator.percent(percent).then(|| expression(generator, scope, SqlType::Bool, depth))
}

/// An equality of two relations' columns, the usual condition of a join, if they have any of the same type.
pub(super) fn equality(generator: &mut Generator, left: &Scope<'_>, right: &Scope<'_>) -> Option<Expression> {
    let first = if generator.percent(20) { SqlType::Text } else { SqlType::Int };
    let types = [first, SqlType::Int, SqlType::Text, SqlType::Numeric, SqlType::Date];
    types.into_iter().find_map(|ty| {
        let (left, right) = (left.of_type(ty), right.of_type(ty));
        if left.is_empty() || right.is_empty() {
            return None;
        }
        let sides = vec![generator.pick(&left), generator.pick(&right)];
        Some(Expression::form(SqlType::Bool, "($0 = $1)", sides))
    })
}

/// `left AND right`, of which either may be absent.
pub(super) fn and(left: Option<Expression>, right: Option<Expression>) -> Option<Expression> {
    match (left, right) {
        (Some(left), Some(right)) => Some(Expression::form(SqlType::Bool, "($0 AND $1)", vec![left, right])),
        (left, right) => left.or(right),
    }
}

fn leaf(generator: &mut Generator, scope: &Scope<'_>, ty: SqlType) -> Expression {
    if let Some(over) = scope.aggregated
        && generator.percent(60)
        && let Some(aggregate) = aggregates::aggregate(generator, over, ty)
    {
        return aggregate;
    }
    let mut choices = scope.of_type(ty);
    let keys = scope.keys.iter().enumerate().filter(|(_, key)| **key == ty);
    choices.extend(keys.map(|(index, _)| Expression::new(ty, Node::Key(index))));
    let mut around = scope.outer;
    while let Some(outer) = around {
        if choices.is_empty() || generator.percent(30) {
            choices.extend(outer.of_type(ty));
        }
        around = outer.outer;
    }
    if !choices.is_empty() && generator.percent(85) {
        return generator.pick(&choices);
    }
    match generator.percent(15) {
        true => Expression::null(ty),
        false => Expression::literal(ty, ty.literal(generator.random())),
    }
}

fn form(
    generator: &mut Generator,
    scope: &Scope<'_>,
    ty: SqlType,
    (template, slots): &'static Form,
    depth: u32,
) -> Expression {
    let any = generator.any_type();
    let argument = |slot: &Slot| {
        let ty = match slot {
            Slot::Of(ty) => *ty,
            Slot::Same => ty,
            // There are no arrays of arrays.
            Slot::Any if template.contains("ARRAY[") && any == SqlType::IntArray => SqlType::Int,
            Slot::Any => any,
        };
        expression(generator, scope, ty, depth)
    };
    let arguments = slots.iter().map(argument).collect();
    Expression::form(ty, template, arguments)
}

/// A query of one column and one row at most: an aggregate, or the row of one `id`.
fn scalar_subquery(generator: &mut Generator, scope: &Scope<'_>, ty: SqlType, depth: u32) -> Expression {
    let query = match generator.percent(50) {
        true => aggregating(generator, scope, ty),
        false => None,
    };
    let query = query.unwrap_or_else(|| {
        let from = FromClause::Relation(single_table(generator));
        let inner = Scope::new(from.columns(), Some(scope));
        let item = expression(generator, &inner, ty, depth.min(1));
        // Inside of the subquery neither keys nor aggregates of the query around have their meaning.
        let wanted = match scope.aggregated.is_none() && generator.percent(50) {
            true => expression(generator, scope, SqlType::Int, 0),
            false => Expression::literal(SqlType::Int, generator.pick(&["0", "4", "99"])),
        };
        let id = inner.of_type(SqlType::Int).swap_remove(0);
        let unique = Expression::form(SqlType::Bool, "($0 = $1)", vec![id, wanted]);
        Query::plain(Select { distinct: false, items: vec![item], from, filter: Some(unique), group: None })
    });
    Expression::new(ty, Node::Scalar(Box::new(query)))
}

fn aggregating(generator: &mut Generator, scope: &Scope<'_>, ty: SqlType) -> Option<Query> {
    let from = simple_from(generator);
    let inner = Scope::new(from.columns(), Some(scope));
    let item = aggregates::aggregate(generator, &inner, ty)?;
    let filter = correlated_filter(generator, &inner, scope);
    let group = Some(aggregates::whole());
    Some(Query::plain(Select { distinct: false, items: vec![item], from, filter, group }))
}

/// An equality with a column of the query around, something else, both, or nothing.
fn correlated_filter(generator: &mut Generator, inner: &Scope<'_>, outer: &Scope<'_>) -> Option<Expression> {
    let equality = match generator.percent(60) {
        true => equality(generator, inner, outer),
        false => None,
    };
    let other = filter(generator, inner, 45, 1);
    and(equality, other)
}

fn condition_on_subquery(generator: &mut Generator, scope: &Scope<'_>, depth: u32) -> Expression {
    let negated = generator.percent(40);
    let kind = generator.random().u8(..3);
    let from = simple_from(generator);
    let inner = Scope::new(from.columns(), Some(scope));
    let ty = if kind == 0 { SqlType::Int } else { generator.any_type() };
    let item_depth = u32::from(generator.percent(30));
    let item = expression(generator, &inner, ty, item_depth);
    let filter = correlated_filter(generator, &inner, scope);
    let query = Box::new(Query::plain(Select { distinct: false, items: vec![item], from, filter, group: None }));
    let mut left = || Box::new(expression(generator, scope, ty, depth.min(1)));
    let node = match kind {
        0 => Node::Exists { negated, query },
        1 => Node::In { negated, left: left(), query },
        _ => {
            let left = left();
            let operators = ["= ANY", "<> ANY", "< ANY", ">= ANY", "= ALL", "<> ALL", "> ALL", "<= ALL"];
            Node::Quantified { operator: generator.pick(&operators), left, query }
        }
    };
    Expression::new(SqlType::Bool, node)
}
