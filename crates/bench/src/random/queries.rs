//! Random queries: SELECT with aggregation, windows or neither, set operations, and what stands around them.

use super::aggregates::{aggregate, whole, window};
use super::expressions::{expression, filter};
use super::generator::{Generator, Scope};
use super::relations::{derived, from_clause};
use super::syntax::{Body, Cte, Expression, FromClause, Group, Grouping, Node, Order, Query, Select};
use super::types::SqlType;

/// Columns of a query, at most, where nobody asks for certain ones.
const COLUMNS: usize = 3;

/// A whole statement: perhaps with common table expressions, perhaps in order and cut, perhaps only counted.
pub(super) fn statement(generator: &mut Generator) -> Query {
    let mut with = Vec::new();
    if generator.percent(25) {
        for index in 0..generator.pick(&[1, 1, 2]) {
            let query = query(generator, None, 1, None);
            let materialized = generator.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            let cte = Cte { name: format!("w{index}"), columns: query.columns(), materialized, query };
            generator.ctes.push(cte.clone());
            with.push(cte);
        }
    }
    let depth = generator.pick(&[1, 2, 2, 3]);
    let mut query = query(generator, None, depth, None);
    if generator.percent(8) {
        let from = FromClause::Relation(derived(generator, query, false));
        let count = Node::Aggregate { template: "count(*)$f", arguments: Vec::new(), filter: None };
        let items = vec![Expression::new(SqlType::Big, count)];
        query = Query::plain(Select { distinct: false, items, from, filter: None, group: Some(whole()) });
    } else if generator.percent(30) {
        order(generator, &mut query);
    }
    query.with = with;
    query
}

/// A query of columns of these types, or of any.
pub(super) fn query(
    generator: &mut Generator,
    outer: Option<&Scope<'_>>,
    depth: u32,
    types: Option<&[SqlType]>,
) -> Query {
    if depth > 0 && generator.one_in(8) {
        return set_operation(generator, outer, depth - 1, types);
    }
    let from = from_clause(generator, outer, depth);
    let scope = Scope::new(from.columns(), outer);
    let where_depth = generator.pick(&[1, 2]);
    let filter = filter(generator, &scope, 50, where_depth);
    let select = match generator.random().u8(..100) {
        0..35 => grouped(generator, &scope, from, types),
        35..50 if types.is_none() => {
            let items = windowed(generator, &scope);
            Select { distinct: false, items, from, filter: None, group: None }
        }
        _ => {
            let types = types.map_or_else(|| generator.types(COLUMNS), <[SqlType]>::to_vec);
            let mut items = Vec::new();
            for ty in types {
                let depth = generator.pick(&[0, 1, 2]);
                items.push(expression(generator, &scope, ty, depth));
            }
            Select { distinct: generator.percent(15), items, from, filter: None, group: None }
        }
    };
    Query::plain(Select { filter, ..select })
}

/// Gives a query an ORDER BY and perhaps a LIMIT, if its columns determine an order.
pub(super) fn order(generator: &mut Generator, query: &mut Query) {
    let types = query.types();
    if !types.iter().all(|ty| ty.looks_as_it_compares()) {
        return;
    }
    let mut direction = |_: &SqlType| generator.pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let directions = types.iter().map(&mut direction).collect();
    let limit = generator.pick(&[None, Some(0), Some(1), Some(2), Some(5)]);
    let offset = generator.pick(&[None, None, None, Some(1), Some(3)]);
    query.order = Some(Order { directions, limit, offset });
}

fn set_operation(generator: &mut Generator, outer: Option<&Scope<'_>>, depth: u32, types: Option<&[SqlType]>) -> Query {
    let types = types.map_or_else(|| generator.types(COLUMNS), <[SqlType]>::to_vec);
    let operator = generator.pick(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
    let left = Box::new(query(generator, outer, depth, Some(&types)));
    let right = Box::new(query(generator, outer, depth, Some(&types)));
    Query { with: Vec::new(), body: Body::Set { operator, left, right }, order: None }
}

/// An aggregation, with its keys, aggregates and expressions of them as columns.
fn grouped(generator: &mut Generator, over: &Scope<'_>, from: FromClause, types: Option<&[SqlType]>) -> Select {
    let keys = group_keys(generator, over);
    let grouping = match !keys.is_empty() && generator.percent(30) {
        true => generator.pick(&[Grouping::Rollup, Grouping::Cube, Grouping::Sets]),
        false => Grouping::Plain,
    };
    let scope = Scope {
        columns: Vec::new(),
        outer: over.outer,
        keys: keys.iter().map(|key| key.ty).collect(),
        aggregated: Some(over),
    };
    let mut items: Vec<Expression> = Vec::new();
    match types {
        Some(types) => {
            for ty in types {
                let depth = u32::from(generator.percent(40));
                items.push(expression(generator, &scope, *ty, depth));
            }
        }
        None => {
            items.extend(keys.iter().enumerate().map(|(index, key)| Expression::new(key.ty, Node::Key(index))));
            for _ in 0..generator.pick(&[1, 1, 2, 3]) {
                let ty = generator.any_type();
                let alone = if generator.percent(70) { aggregate(generator, over, ty) } else { None };
                items.push(alone.unwrap_or_else(|| expression(generator, &scope, ty, 1)));
            }
        }
    }
    let having = filter(generator, &scope, 20, 1);
    Select { distinct: generator.one_in(12), items, from, filter: None, group: Some(Group { grouping, keys, having }) }
}

fn group_keys(generator: &mut Generator, over: &Scope<'_>) -> Vec<Expression> {
    let own = Scope::new(over.columns.clone(), None);
    let mut keys = Vec::new();
    for _ in 0..generator.pick(&[0, 0, 1, 1, 2, 2]) {
        let ty = generator.any_type();
        let depth = u32::from(generator.percent(30));
        let key = expression(generator, &own, ty, depth);
        // Constants and subqueries in GROUP BY are not what this is about.
        if key.is_of_columns() {
            keys.push(key);
        }
    }
    keys
}

/// One window function, since two of different orders are two chances for ties, and what else the rows have.
fn windowed(generator: &mut Generator, scope: &Scope<'_>) -> Vec<Expression> {
    let mut items = vec![window(generator, scope)];
    if generator.percent(40) {
        let ty = generator.any_type();
        items.push(expression(generator, scope, ty, 1));
    }
    items
}
