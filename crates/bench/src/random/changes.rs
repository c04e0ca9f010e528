//! Random INSERT, UPDATE and DELETE on a copy of a table.

use super::expressions::{and, equality, expression, filter};
use super::generator::{Generator, Scope};
use super::queries;
use super::relations::{relation, single_table};
use super::schema::Column;
use super::syntax::{Action, Change, Matched, Relation};
use super::types::SqlType;

/// A change of one of the tables that have rows. What it reads may be the copy itself, or any other.
pub(super) fn change(generator: &mut Generator) -> Change {
    let table = generator.pick(&["a", "a", "c"]);
    generator.add_changed(table);
    let columns = generator.tables.last().expect("it was just added").columns.clone();
    let action = match generator.random().u8(..3) {
        0 => insert(generator, columns),
        1 => update(generator, columns),
        _ => delete(generator, columns),
    };
    Change { table, action }
}

fn insert(generator: &mut Generator, columns: Vec<Column>) -> Action {
    let columns: Vec<Column> = columns.into_iter().filter(|column| column.not_null || generator.one_in(4)).collect();
    let types: Vec<SqlType> = columns.iter().map(|column| column.ty).collect();
    let query = queries::query(generator, None, 1, Some(&types));
    Action::Insert { columns, query }
}

fn update(generator: &mut Generator, columns: Vec<Column>) -> Action {
    let target = generator.alias();
    let mut scope = Scope::new(in_relation(target, &columns), None);
    let source = match generator.percent(40) {
        true => {
            let depth = u32::from(generator.percent(40));
            let key = expression(generator, &scope, SqlType::Int, depth);
            let relation = single_table(generator);
            scope.columns.extend(columns_of(&relation));
            Some(Matched { relation, key })
        }
        false => None,
    };
    let mut set = Vec::new();
    for column in columns {
        // NULL in the others is an error, and the end of the comparison.
        if generator.one_in(if column.not_null { 40 } else { 7 }) {
            set.push((column.name, expression(generator, &scope, column.ty, 2)));
        }
    }
    if set.is_empty() {
        set.push(("i".to_owned(), expression(generator, &scope, SqlType::Int, 2)));
    }
    let filter = filter(generator, &scope, 70, 2);
    Action::Update { target, set, source, filter }
}

fn delete(generator: &mut Generator, columns: Vec<Column>) -> Action {
    let target = generator.alias();
    let mut scope = Scope::new(in_relation(target, &columns), None);
    let using = match generator.percent(40) {
        true => Some(relation(generator, 1)),
        false => None,
    };
    let mut joined = None;
    if let Some(relation) = &using {
        let other = columns_of(relation);
        joined = equality(generator, &scope, &Scope::new(other.clone(), None));
        scope.columns.extend(other);
    }
    let other = filter(generator, &scope, 80, 2);
    Action::Delete { target, using, filter: and(joined, other) }
}

fn columns_of(relation: &Relation) -> Vec<(u32, Column)> {
    in_relation(relation.alias, &relation.columns)
}

fn in_relation(alias: u32, columns: &[Column]) -> Vec<(u32, Column)> {
    columns.iter().map(|column| (alias, column.clone())).collect()
}
