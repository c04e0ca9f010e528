//! `pg_class`, `pg_attribute`, `pg_attrdef` and the views over them.

use wharf_catalog::{Constraint, Relation, Rule, SqlType, Table};
use wharf_lake::{LakeError, LakeTable};

use super::constraints;
use super::metadata::MetadataColumns;
use super::rows::{Cell, Rows};
use super::system;
use super::tables::Source;
use crate::layout_text;

/// The most tables of which one query learns the `reloptions`: whoever lists all tables does not wait until each one's metadata is read.
const MOST_OPTIONS: usize = 64;

/// What of `pg_class` is in the tables' metadata.
pub(super) const OPTIONS: MetadataColumns =
    MetadataColumns { key: "oid", names: &["reloptions"], most: MOST_OPTIONS, cells: options };

/// Partitioning, order and properties, for psql's `\d+` to show. A table that cannot be read has none: who reads it is told why.
fn options(table: Result<&LakeTable, &LakeError>) -> Vec<Cell> {
    let Ok(table) = table else { return vec![Cell::Null] };
    let layout = table.layout();
    let said = [("partition_by", layout_text::partition_by(&layout)), ("sort_by", layout_text::sort_by(&layout))];
    let said = said.into_iter().filter_map(|(name, text)| Some(format!("{name}={}", text?)));
    let properties = table.own_properties().into_iter().filter(|property| !is_default_version(property));
    let properties = properties.map(|(name, value)| format!("{name}={value}"));
    let options: Vec<Cell> = said.chain(properties).map(Cell::from).collect();
    vec![if options.is_empty() { Cell::Null } else { Cell::List(options) }]
}

/// What a table has of whose format nobody has said anything.
fn is_default_version((name, value): &(String, String)) -> bool {
    (name.as_str(), value.as_str()) == ("format-version", "2")
}

/// A table of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "pg_class" => classes(source),
        "pg_attribute" => attributes(source),
        "pg_attrdef" => defaults(source),
        "pg_tables" => tables(source),
        "pg_views" => views(source),
        "pg_stat_user_tables" | "pg_stat_all_tables" => statistics(source),
        _ => return None,
    })
}

fn kind(relation: &Relation) -> &'static str {
    match relation {
        Relation::Table(_) => "r",
        Relation::View(_) => "v",
        Relation::Foreign(_) => "f",
    }
}

/// The number of checks of a table.
fn checks(relation: &Relation) -> i64 {
    let is_check = |constraint: &&Constraint| matches!(constraint.rule, Rule::Check { .. });
    relation.as_table().map_or(0, |table| table.constraints.iter().filter(is_check).count() as i64)
}

/// What clients expect behind a key: an index, which is not there.
fn index_row(table: &Table, key: &Constraint, oid: u32) -> Vec<Cell> {
    let mut row = vec![oid.into(), key.name.as_str().into(), table.namespace.into(), 0u32.into(), 0u32.into()];
    row.extend([table.owner.into(), 403u32.into(), oid.into(), 0u32.into(), 0i32.into(), Cell::Float(0.0)]);
    row.extend([0i32.into(), 0u32.into(), false.into(), false.into(), "p".into(), "i".into()]);
    row.push(Cell::Int(key.columns().len() as i64));
    row.extend([0i32.into(), false.into(), false.into(), false.into(), false.into()]);
    row.extend([false.into(), true.into(), "n".into(), false.into(), 0u32.into()]);
    row
}

fn classes(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("relname", SqlType::Name),
        ("relnamespace", SqlType::Oid),
        ("reltype", SqlType::Oid),
        ("reloftype", SqlType::Oid),
        ("relowner", SqlType::Oid),
        ("relam", SqlType::Oid),
        ("relfilenode", SqlType::Oid),
        ("reltablespace", SqlType::Oid),
        ("relpages", SqlType::Integer),
        ("reltuples", SqlType::Real),
        ("relallvisible", SqlType::Integer),
        ("reltoastrelid", SqlType::Oid),
        ("relhasindex", SqlType::Boolean),
        ("relisshared", SqlType::Boolean),
        ("relpersistence", SqlType::QChar),
        ("relkind", SqlType::QChar),
        ("relnatts", SqlType::SmallInt),
        ("relchecks", SqlType::SmallInt),
        ("relhasrules", SqlType::Boolean),
        ("relhastriggers", SqlType::Boolean),
        ("relhassubclass", SqlType::Boolean),
        ("relrowsecurity", SqlType::Boolean),
        ("relforcerowsecurity", SqlType::Boolean),
        ("relispopulated", SqlType::Boolean),
        ("relreplident", SqlType::QChar),
        ("relispartition", SqlType::Boolean),
        ("relrewrite", SqlType::Oid),
        ("reloptions", SqlType::Array(Box::new(SqlType::Text))),
        ("relpartbound", SqlType::Text),
    ]);
    for (_, relation) in source.relations() {
        let view = matches!(relation, Relation::View(_));
        let stored = relation.as_table().is_some();
        rows.push(vec![
            relation.oid().into(),
            relation.name().into(),
            relation.namespace().into(),
            0u32.into(),
            0u32.into(),
            relation.owner().into(),
            if stored { 2u32 } else { 0 }.into(),
            if stored { relation.oid() } else { 0 }.into(),
            0u32.into(),
            0i32.into(),
            Cell::Float(-1.0),
            0i32.into(),
            0u32.into(),
            constraints::has_index(&relation).into(),
            false.into(),
            "p".into(),
            kind(&relation).into(),
            Cell::Int(relation.columns().len() as i64),
            Cell::Int(checks(&relation)),
            view.into(),
            constraints::has_reference(&relation, source).into(),
            false.into(),
            false.into(),
            false.into(),
            true.into(),
            if stored { "d" } else { "n" }.into(),
            false.into(),
            0u32.into(),
        ]);
    }
    for (_, relation) in source.relations() {
        let Some(table) = relation.as_table() else { continue };
        for key in &table.constraints {
            if let Some(oid) = key.index() {
                rows.push(index_row(table, key, oid));
            }
        }
    }
    for relation in system::all() {
        let schema = source.state.namespace_by_name(source.database, relation.schema).map_or(11, |schema| schema.oid);
        let mut row = vec![relation.oid.into(), relation.name.into(), schema.into(), 0u32.into(), 0u32.into()];
        row.extend([10u32.into(), 0u32.into(), 0u32.into(), 0u32.into(), 0i32.into(), Cell::Float(-1.0)]);
        row.extend([0i32.into(), 0u32.into(), false.into(), false.into(), "p".into()]);
        row.push(if relation.is_view { "v" } else { "r" }.into());
        row.push(Cell::Int(relation.columns.len() as i64));
        row.extend([0i32.into(), relation.is_view.into(), false.into(), false.into(), false.into()]);
        row.extend([false.into(), true.into(), "n".into(), false.into(), 0u32.into()]);
        rows.push(row);
    }
    rows
}

fn attributes(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("attrelid", SqlType::Oid),
        ("attname", SqlType::Name),
        ("atttypid", SqlType::Oid),
        ("attstattarget", SqlType::Integer),
        ("attlen", SqlType::SmallInt),
        ("attnum", SqlType::SmallInt),
        ("attndims", SqlType::Integer),
        ("attcacheoff", SqlType::Integer),
        ("atttypmod", SqlType::Integer),
        ("attnotnull", SqlType::Boolean),
        ("atthasdef", SqlType::Boolean),
        ("atthasmissing", SqlType::Boolean),
        ("attidentity", SqlType::QChar),
        ("attgenerated", SqlType::QChar),
        ("attisdropped", SqlType::Boolean),
        ("attislocal", SqlType::Boolean),
        ("attinhcount", SqlType::Integer),
        ("attcollation", SqlType::Oid),
        ("attstorage", SqlType::QChar),
        ("attcompression", SqlType::QChar),
        ("attalign", SqlType::QChar),
        ("attbyval", SqlType::Boolean),
        ("attoptions", SqlType::Array(Box::new(SqlType::Text))),
        ("attfdwoptions", SqlType::Array(Box::new(SqlType::Text))),
    ]);
    for (_, relation) in source.relations() {
        for (index, column) in relation.columns().iter().enumerate() {
            rows.push(attribute(
                relation.oid(),
                index,
                &column.name,
                &column.ty,
                column.nullable,
                column.default.is_some(),
            ));
        }
    }
    for (_, relation) in source.relations() {
        let Some(table) = relation.as_table() else { continue };
        for (oid, key) in table.constraints.iter().filter_map(|key| Some((key.index()?, key))) {
            for (index, id) in key.columns().iter().enumerate() {
                if let Some(column) = table.columns.iter().find(|column| column.field_id == *id) {
                    rows.push(attribute(oid, index, &column.name, &column.ty, true, false));
                }
            }
        }
    }
    for relation in system::all() {
        for (index, (name, ty)) in relation.columns.iter().enumerate() {
            rows.push(attribute(relation.oid, index, name, ty, true, false));
        }
    }
    rows
}

fn attribute(relation: u32, index: usize, name: &str, ty: &SqlType, nullable: bool, has_default: bool) -> Vec<Cell> {
    let collation = match ty {
        SqlType::Name | SqlType::QChar => 950u32,
        ty if ty.is_string() => 100,
        _ => 0,
    };
    vec![
        relation.into(),
        name.into(),
        ty.oid().into(),
        (-1i32).into(),
        Cell::Int(i64::from(ty.size())),
        Cell::Int(index as i64 + 1),
        i32::from(matches!(ty, SqlType::Array(_))).into(),
        (-1i32).into(),
        ty.typmod().into(),
        (!nullable).into(),
        has_default.into(),
        false.into(),
        "".into(),
        "".into(),
        false.into(),
        true.into(),
        0i32.into(),
        collation.into(),
        match ty {
            SqlType::Numeric(_) => "m",
            ty if ty.size() == -1 => "x",
            _ => "p",
        }
        .into(),
        "".into(),
        "i".into(),
        (ty.size() > 0).into(),
    ]
}

fn defaults(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("oid", SqlType::Oid),
        ("adrelid", SqlType::Oid),
        ("adnum", SqlType::SmallInt),
        ("adbin", SqlType::Text),
    ]);
    for (_, relation) in source.relations() {
        for (index, column) in relation.columns().iter().enumerate() {
            if let Some(default) = &column.default {
                rows.push(vec![
                    relation.oid().into(),
                    relation.oid().into(),
                    Cell::Int(index as i64 + 1),
                    default.as_str().into(),
                ]);
            }
        }
    }
    rows
}

fn tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schemaname", SqlType::Name),
        ("tablename", SqlType::Name),
        ("tableowner", SqlType::Name),
        ("tablespace", SqlType::Name),
        ("hasindexes", SqlType::Boolean),
        ("hasrules", SqlType::Boolean),
        ("hastriggers", SqlType::Boolean),
        ("rowsecurity", SqlType::Boolean),
    ]);
    for (schema, relation) in source.relations() {
        if matches!(relation, Relation::Table(_)) {
            rows.push(vec![
                schema.into(),
                relation.name().into(),
                source.role_name(relation.owner()).into(),
                Cell::Null,
                constraints::has_index(&relation).into(),
                false.into(),
                constraints::has_reference(&relation, source).into(),
                false.into(),
            ]);
        }
    }
    rows
}

fn views(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schemaname", SqlType::Name),
        ("viewname", SqlType::Name),
        ("viewowner", SqlType::Name),
        ("definition", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        if let Relation::View(view) = &relation {
            rows.push(vec![
                schema.into(),
                view.name.as_str().into(),
                source.role_name(view.owner).into(),
                view.definition.as_str().into(),
            ]);
        }
    }
    rows
}

fn statistics(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("relid", SqlType::Oid),
        ("schemaname", SqlType::Name),
        ("relname", SqlType::Name),
        ("seq_scan", SqlType::BigInt),
        ("n_live_tup", SqlType::BigInt),
        ("n_dead_tup", SqlType::BigInt),
    ]);
    for (schema, relation) in source.relations() {
        if matches!(relation, Relation::Table(_)) {
            rows.push(vec![relation.oid().into(), schema.into(), relation.name().into()]);
        }
    }
    rows
}
