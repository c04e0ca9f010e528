//! Constraints of tables, and the indexes that clients expect behind keys.

use wharf_catalog::{Column, Constraint, Relation, Rule, SqlType, State, Table};

use super::rows::{Cell, Rows};
use super::tables::Source;

/// A table of `pg_catalog` of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "pg_constraint" => constraints(source),
        "pg_index" => indexes(source),
        "pg_indexes" => index_list(source),
        _ => return None,
    })
}

/// A view of `information_schema` of this chapter.
pub(super) fn view(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "table_constraints" => table_constraints(source),
        "key_column_usage" => key_columns(source),
        "referential_constraints" => references(source),
        "constraint_column_usage" => used_columns(source),
        "check_constraints" => check_clauses(source),
        _ => return None,
    })
}

/// All constraints with their tables and the names of those tables' schemas.
fn all(source: &Source<'_>) -> Vec<(String, Relation, Constraint)> {
    let mut found = Vec::new();
    for (schema, relation) in source.relations() {
        for constraint in relation.as_table().map(|table| table.constraints.clone()).unwrap_or_default() {
            found.push((schema.clone(), relation.clone(), constraint));
        }
    }
    found
}

/// The place of a column, from 1.
fn place(id: i32, columns: &[Column]) -> Cell {
    let index = columns.iter().position(|column| column.field_id == id);
    index.map_or(Cell::Null, |index| Cell::Int(index as i64 + 1))
}

fn places(ids: &[i32], columns: &[Column]) -> Cell {
    Cell::List(ids.iter().map(|id| place(*id, columns)).collect())
}

fn column_name(id: i32, columns: &[Column]) -> Cell {
    columns.iter().find(|column| column.field_id == id).map(|column| column.name.as_str()).into()
}

fn target<'a>(source: &'a Source<'_>, oid: u32) -> Option<&'a Table> {
    source.state.relation_by_oid(oid).and_then(Relation::as_table).map(AsRef::as_ref)
}

/// The key that a reference refers to.
fn referred<'a>(source: &'a Source<'_>, rule: &Rule) -> Option<(&'a Table, &'a Constraint)> {
    let Rule::Reference { table, key, .. } = rule else { return None };
    let table = target(source, *table)?;
    Some((table, table.constraints.iter().find(|other| other.name == *key)?))
}

fn letter(rule: &Rule) -> &'static str {
    match rule {
        Rule::Check { .. } => "c",
        Rule::Key { primary: true, .. } => "p",
        Rule::Key { primary: false, .. } => "u",
        Rule::Reference { .. } => "f",
    }
}

fn constraints(source: &Source<'_>) -> Rows {
    let smallints = || SqlType::Array(Box::new(SqlType::SmallInt));
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("conname", SqlType::Name),
        ("connamespace", SqlType::Oid),
        ("contype", SqlType::QChar),
        ("condeferrable", SqlType::Boolean),
        ("condeferred", SqlType::Boolean),
        ("convalidated", SqlType::Boolean),
        ("conrelid", SqlType::Oid),
        ("contypid", SqlType::Oid),
        ("conindid", SqlType::Oid),
        ("conparentid", SqlType::Oid),
        ("confrelid", SqlType::Oid),
        ("confupdtype", SqlType::QChar),
        ("confdeltype", SqlType::QChar),
        ("confmatchtype", SqlType::QChar),
        ("conislocal", SqlType::Boolean),
        ("coninhcount", SqlType::Integer),
        ("connoinherit", SqlType::Boolean),
        ("conkey", smallints()),
        ("confkey", smallints()),
        ("conbin", SqlType::Text),
    ]);
    for (_, relation, constraint) in all(source) {
        let columns = relation.columns();
        let mut row: Vec<Cell> = vec![
            constraint.oid.into(),
            constraint.name.as_str().into(),
            relation.namespace().into(),
            letter(&constraint.rule).into(),
            false.into(),
            false.into(),
            constraint.validated.into(),
            relation.oid().into(),
            0u32.into(),
        ];
        let index = referred(source, &constraint.rule).and_then(|(_, key)| key.index()).or(constraint.index());
        row.extend([index.unwrap_or(0).into(), 0u32.into()]);
        match &constraint.rule {
            Rule::Reference { table, on_update, on_delete, full, .. } => row.extend([
                (*table).into(),
                on_update.letter().into(),
                on_delete.letter().into(),
                if *full { "f" } else { "s" }.into(),
            ]),
            _ => row.extend([0u32.into(), " ".into(), " ".into(), " ".into()]),
        }
        row.extend([true.into(), 0i32.into(), (!matches!(constraint.rule, Rule::Check { .. })).into()]);
        row.push(places(constraint.columns(), columns));
        row.push(match &constraint.rule {
            Rule::Reference { table, targets, .. } => match target(source, *table) {
                Some(table) => places(targets, &table.columns),
                None => Cell::Null,
            },
            _ => Cell::Null,
        });
        row.push(match &constraint.rule {
            Rule::Check { expression, .. } => expression.as_str().into(),
            _ => Cell::Null,
        });
        rows.push(row);
    }
    rows
}

fn indexes(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("indexrelid", SqlType::Oid),
        ("indrelid", SqlType::Oid),
        ("indnatts", SqlType::SmallInt),
        ("indnkeyatts", SqlType::SmallInt),
        ("indisunique", SqlType::Boolean),
        ("indnullsnotdistinct", SqlType::Boolean),
        ("indisprimary", SqlType::Boolean),
        ("indisexclusion", SqlType::Boolean),
        ("indimmediate", SqlType::Boolean),
        ("indisclustered", SqlType::Boolean),
        ("indisvalid", SqlType::Boolean),
        ("indcheckxmin", SqlType::Boolean),
        ("indisready", SqlType::Boolean),
        ("indislive", SqlType::Boolean),
        ("indisreplident", SqlType::Boolean),
        ("indkey", SqlType::Array(Box::new(SqlType::SmallInt))),
        ("indcollation", SqlType::Array(Box::new(SqlType::Oid))),
        ("indclass", SqlType::Array(Box::new(SqlType::Oid))),
        ("indoption", SqlType::Array(Box::new(SqlType::SmallInt))),
    ]);
    for (_, relation, constraint) in all(source) {
        let Rule::Key { primary, columns, index, nulls_distinct } = &constraint.rule else { continue };
        let zeros = || Cell::List(vec![Cell::Int(0); columns.len()]);
        rows.push(vec![
            (*index).into(),
            relation.oid().into(),
            Cell::Int(columns.len() as i64),
            Cell::Int(columns.len() as i64),
            true.into(),
            (!*nulls_distinct).into(),
            (*primary).into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            true.into(),
            false.into(),
            places(columns, relation.columns()),
            zeros(),
            zeros(),
            zeros(),
        ]);
    }
    rows
}

/// The key of the index of an oid, and its table.
pub(super) fn index_by_oid(state: &State, oid: u32) -> Option<(&Table, &Constraint)> {
    let mut tables = state.relations().filter_map(Relation::as_table);
    tables.find_map(|table| Some((table.as_ref(), table.constraints.iter().find(|key| key.index() == Some(oid))?)))
}

/// The oid of an index by its name.
pub(super) fn index_by_name(state: &State, namespace: u32, name: &str) -> Option<u32> {
    let tables = state.relations_in(namespace).filter_map(Relation::as_table);
    tables.flat_map(|table| &table.constraints).filter(|key| key.name == name).find_map(Constraint::index)
}

/// Has a table indexes?
pub(super) fn has_index(relation: &Relation) -> bool {
    relation.as_table().is_some_and(|table| table.constraints.iter().any(Constraint::is_key))
}

/// Does PostgreSQL keep triggers for a table: does it refer to one, or is it referred to?
pub(super) fn has_reference(relation: &Relation, source: &Source<'_>) -> bool {
    let refers = |table: &Table, to: Option<u32>| {
        let rules = table.constraints.iter().map(|constraint| &constraint.rule);
        rules.into_iter().any(|rule| match rule {
            Rule::Reference { table, .. } => to.is_none_or(|oid| oid == *table),
            _ => false,
        })
    };
    let Some(table) = relation.as_table() else { return false };
    refers(table, None)
        || source.state.relations().filter_map(Relation::as_table).any(|other| refers(other, Some(table.oid)))
}

/// The SQL of the index that PostgreSQL would have behind a key, its table named with a schema or without.
pub(super) fn index_definition(schema: Option<&str>, table: &Table, key: &Constraint) -> String {
    let columns = crate::constraint_text::names(key.columns(), &table.columns);
    let mut text = "CREATE UNIQUE INDEX ".to_owned();
    crate::functions::quoting::push_identifier(&key.name, &mut text);
    text.push_str(" ON ");
    if let Some(schema) = schema {
        crate::functions::quoting::push_identifier(schema, &mut text);
        text.push('.');
    }
    crate::functions::quoting::push_identifier(&table.name, &mut text);
    let distinct = match key.rule {
        Rule::Key { nulls_distinct: false, primary: false, .. } => " NULLS NOT DISTINCT",
        _ => "",
    };
    format!("{text} USING btree ({columns}){distinct}")
}

fn index_list(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schemaname", SqlType::Name),
        ("tablename", SqlType::Name),
        ("indexname", SqlType::Name),
        ("tablespace", SqlType::Name),
        ("indexdef", SqlType::Text),
    ]);
    for (schema, relation, constraint) in all(source).into_iter().filter(|(_, _, constraint)| constraint.is_key()) {
        let Some(table) = relation.as_table() else { continue };
        rows.push(vec![
            schema.as_str().into(),
            relation.name().into(),
            constraint.name.as_str().into(),
            Cell::Null,
            index_definition(Some(&schema), table, &constraint).into(),
        ]);
    }
    rows
}

fn table_constraints(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("constraint_catalog", SqlType::Name),
        ("constraint_schema", SqlType::Name),
        ("constraint_name", SqlType::Name),
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("constraint_type", SqlType::Varchar(None)),
        ("is_deferrable", SqlType::Varchar(None)),
        ("initially_deferred", SqlType::Varchar(None)),
        ("enforced", SqlType::Varchar(None)),
        ("nulls_distinct", SqlType::Varchar(None)),
    ]);
    let database = source.database_name();
    for (schema, relation, constraint) in all(source) {
        let (kind, enforced, distinct) = match &constraint.rule {
            Rule::Check { .. } => ("CHECK", "YES", Cell::Null),
            Rule::Key { primary: true, .. } => ("PRIMARY KEY", "NO", Cell::Null),
            Rule::Key { nulls_distinct, .. } => ("UNIQUE", "NO", if *nulls_distinct { "YES" } else { "NO" }.into()),
            Rule::Reference { .. } => ("FOREIGN KEY", "NO", Cell::Null),
        };
        rows.push(vec![
            database.as_str().into(),
            schema.as_str().into(),
            constraint.name.as_str().into(),
            database.as_str().into(),
            schema.as_str().into(),
            relation.name().into(),
            kind.into(),
            "NO".into(),
            "NO".into(),
            enforced.into(),
            distinct,
        ]);
    }
    for (schema, relation) in source.relations().into_iter().filter(|(_, relation)| relation.as_table().is_some()) {
        // PostgreSQL shows NOT NULL as checks with names made of oids.
        for (index, _) in relation.columns().iter().enumerate().filter(|(_, column)| !column.nullable) {
            let name = format!("{}_{}_{}_not_null", relation.namespace(), relation.oid(), index + 1);
            rows.push(vec![
                database.as_str().into(),
                schema.as_str().into(),
                name.into(),
                database.as_str().into(),
                schema.as_str().into(),
                relation.name().into(),
                "CHECK".into(),
                "NO".into(),
                "NO".into(),
                "YES".into(),
            ]);
        }
    }
    rows
}

fn key_columns(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("constraint_catalog", SqlType::Name),
        ("constraint_schema", SqlType::Name),
        ("constraint_name", SqlType::Name),
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("column_name", SqlType::Name),
        ("ordinal_position", SqlType::Integer),
        ("position_in_unique_constraint", SqlType::Integer),
    ]);
    let database = source.database_name();
    for (schema, relation, constraint) in all(source) {
        if matches!(constraint.rule, Rule::Check { .. }) {
            continue;
        }
        for (index, id) in constraint.columns().iter().enumerate() {
            let in_key = match (&constraint.rule, referred(source, &constraint.rule)) {
                (Rule::Reference { targets, .. }, Some((_, key))) => {
                    let place = key.columns().iter().position(|column| targets.get(index) == Some(column));
                    place.map_or(Cell::Null, |place| Cell::Int(place as i64 + 1))
                }
                _ => Cell::Null,
            };
            rows.push(vec![
                database.as_str().into(),
                schema.as_str().into(),
                constraint.name.as_str().into(),
                database.as_str().into(),
                schema.as_str().into(),
                relation.name().into(),
                column_name(*id, relation.columns()),
                Cell::Int(index as i64 + 1),
                in_key,
            ]);
        }
    }
    rows
}

fn references(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("constraint_catalog", SqlType::Name),
        ("constraint_schema", SqlType::Name),
        ("constraint_name", SqlType::Name),
        ("unique_constraint_catalog", SqlType::Name),
        ("unique_constraint_schema", SqlType::Name),
        ("unique_constraint_name", SqlType::Name),
        ("match_option", SqlType::Varchar(None)),
        ("update_rule", SqlType::Varchar(None)),
        ("delete_rule", SqlType::Varchar(None)),
    ]);
    let database = source.database_name();
    for (schema, _, constraint) in all(source) {
        let Rule::Reference { key, on_update, on_delete, full, .. } = &constraint.rule else { continue };
        let of = referred(source, &constraint.rule).and_then(|(table, _)| source.state.namespace(table.namespace));
        rows.push(vec![
            database.as_str().into(),
            schema.as_str().into(),
            constraint.name.as_str().into(),
            database.as_str().into(),
            of.map(|namespace| namespace.name.as_str()).into(),
            key.as_str().into(),
            if *full { "FULL" } else { "NONE" }.into(),
            on_update.words().into(),
            on_delete.words().into(),
        ]);
    }
    rows
}

fn used_columns(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("column_name", SqlType::Name),
        ("constraint_catalog", SqlType::Name),
        ("constraint_schema", SqlType::Name),
        ("constraint_name", SqlType::Name),
    ]);
    let database = source.database_name();
    for (schema, relation, constraint) in all(source) {
        // Of a reference they are the columns that it refers to.
        let (table, ids) = match &constraint.rule {
            Rule::Reference { table, targets, .. } => (target(source, *table), targets.as_slice()),
            _ => (relation.as_table().map(AsRef::as_ref), constraint.columns()),
        };
        let Some(table) = table else { continue };
        let of = source.state.namespace(table.namespace).map(|namespace| namespace.name.as_str());
        for id in ids {
            rows.push(vec![
                database.as_str().into(),
                of.into(),
                table.name.as_str().into(),
                column_name(*id, &table.columns),
                database.as_str().into(),
                schema.as_str().into(),
                constraint.name.as_str().into(),
            ]);
        }
    }
    rows
}

fn check_clauses(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("constraint_catalog", SqlType::Name),
        ("constraint_schema", SqlType::Name),
        ("constraint_name", SqlType::Name),
        ("check_clause", SqlType::Varchar(None)),
    ]);
    let database = source.database_name();
    for (schema, _, constraint) in all(source) {
        if let Rule::Check { expression, .. } = &constraint.rule {
            let name = constraint.name.as_str();
            let clause = format!("(({expression}))");
            rows.push(vec![database.as_str().into(), schema.as_str().into(), name.into(), clause.into()]);
        }
    }
    rows
}
