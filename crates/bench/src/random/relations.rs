//! What random queries have in FROM: tables, common table expressions, derived tables, VALUES, functions, and joins of them.

use super::expressions::{and, equality, expression, filter};
use super::generator::{Generator, Scope};
use super::queries;
use super::schema::Column;
use super::syntax::{Expression, FromClause, Join, Query, Relation, Source};
use super::types::SqlType;

/// A few tables, joined.
pub(super) fn simple_from(generator: &mut Generator) -> FromClause {
    from_clause(generator, None, 0)
}

/// One table of the schema, whose first column is `id` and unique.
pub(super) fn single_table(generator: &mut Generator) -> Relation {
    let count = generator.tables.len();
    let table = generator.random().usize(..count);
    table_relation(generator, table)
}

/// A table of the schema by its number.
pub(super) fn table_relation(generator: &mut Generator, table: usize) -> Relation {
    let alias = generator.alias();
    let table = &generator.tables[table];
    Relation { alias, columns: table.columns.clone(), source: Source::Table(table.name) }
}

/// One relation, or a join of up to three.
pub(super) fn from_clause(generator: &mut Generator, outer: Option<&Scope<'_>>, depth: u32) -> FromClause {
    let mut from = FromClause::Relation(relation(generator, depth));
    for _ in 0..generator.pick(&[0, 0, 1, 1, 2]) {
        from = match depth > 0 && generator.one_in(6) {
            true => lateral_join(generator, from, outer, depth - 1),
            false => join(generator, from, depth.saturating_sub(1)),
        };
    }
    from
}

/// Anything with an alias that does not look at what stands beside it.
pub(super) fn relation(generator: &mut Generator, depth: u32) -> Relation {
    if !generator.ctes.is_empty() && generator.percent(30) {
        let alias = generator.alias();
        let count = generator.ctes.len();
        let cte = generator.random().usize(..count);
        let cte = &generator.ctes[cte];
        return Relation { alias, columns: cte.columns.clone(), source: Source::Cte(cte.name.clone()) };
    }
    match generator.random().u8(..100) {
        _ if depth == 0 => single_table(generator),
        0..60 => single_table(generator),
        60..66 => values(generator),
        66..72 => {
            let last = generator.pick(&["0", "1", "3"]);
            function(generator, "generate_series(1, $0)", SqlType::Int, Expression::literal(SqlType::Int, last))
        }
        _ => {
            let limited = generator.percent(20);
            let mut query = queries::query(generator, None, depth - 1, None);
            if limited {
                queries::order(generator, &mut query);
            }
            derived(generator, query, false)
        }
    }
}

/// `(query) AS alias(k0, k1)`.
pub(super) fn derived(generator: &mut Generator, query: Query, lateral: bool) -> Relation {
    let alias = generator.alias();
    Relation { alias, columns: query.columns(), source: Source::Derived { lateral, query: Box::new(query) } }
}

fn values(generator: &mut Generator) -> Relation {
    let alias = generator.alias();
    let types = generator.types(2);
    let count = generator.random().usize(1..=3);
    let mut rows = Vec::new();
    for _ in 0..count {
        rows.push(types.iter().map(|ty| expression(generator, &Scope::default(), *ty, 1)).collect());
    }
    let columns = types.iter().enumerate().map(|(index, ty)| Column::nullable(format!("k{index}"), *ty));
    Relation { alias, columns: columns.collect(), source: Source::Values(rows) }
}

fn function(generator: &mut Generator, template: &'static str, ty: SqlType, argument: Expression) -> Relation {
    let alias = generator.alias();
    let source = Source::Function { template, arguments: vec![argument] };
    Relation { alias, columns: vec![Column::nullable("k0", ty)], source }
}

fn lateral_join(generator: &mut Generator, left: FromClause, outer: Option<&Scope<'_>>, depth: u32) -> FromClause {
    let scope = Scope::new(left.columns(), outer);
    let right = match generator.random().u8(..6) {
        0 => {
            let argument = expression(generator, &scope, SqlType::Int, 0);
            function(generator, "generate_series(1, least($0, 3))", SqlType::Int, argument)
        }
        1 => {
            let argument = expression(generator, &scope, SqlType::IntArray, 1);
            function(generator, "unnest($0)", SqlType::Int, argument)
        }
        _ => {
            let mut query = queries::query(generator, Some(&scope), depth.min(1), None);
            if generator.percent(20) {
                queries::order(generator, &mut query);
            }
            derived(generator, query, true)
        }
    };
    let right = FromClause::Relation(right);
    let (kind, condition) = match generator.percent(50) {
        true => ("CROSS JOIN", None),
        false => ("LEFT JOIN", Some(Expression::literal(SqlType::Bool, "true"))),
    };
    FromClause::Join(Box::new(Join { kind, left, right, condition }))
}

fn join(generator: &mut Generator, left: FromClause, depth: u32) -> FromClause {
    let mut right = FromClause::Relation(relation(generator, depth));
    if generator.one_in(8) {
        let inner = FromClause::Relation(relation(generator, 0));
        right = joined(generator, right, inner);
    }
    joined(generator, left, right)
}

fn joined(generator: &mut Generator, left: FromClause, right: FromClause) -> FromClause {
    let kind = generator.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
    let (left_scope, right_scope) = (Scope::new(left.columns(), None), Scope::new(right.columns(), None));
    let mut columns = left.columns();
    columns.extend(right.columns());
    let both = Scope::new(columns, None);
    let equality = equality(generator, &left_scope, &right_scope);
    let (kind, condition) = match (kind, equality) {
        ("CROSS JOIN", _) | ("FULL JOIN", None) => ("CROSS JOIN", None),
        // PostgreSQL does FULL JOIN by equalities alone.
        ("FULL JOIN", equality) => (kind, equality),
        (_, Some(equality)) if generator.percent(90) => {
            let more = filter(generator, &both, 25, 1);
            (kind, and(Some(equality), more))
        }
        _ => (kind, Some(expression(generator, &both, SqlType::Bool, 1))),
    };
    FromClause::Join(Box::new(Join { kind, left, right, condition }))
}
