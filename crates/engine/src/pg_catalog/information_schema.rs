//! The SQL standard's views.

use wharf_catalog::{Relation, SqlType};

use super::rows::{Cell, Rows};
use super::tables::Source;

/// A view of this chapter.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    Some(match name {
        "schemata" => schemata(source),
        "tables" => tables(source),
        "views" => views(source),
        "columns" => columns(source),
        _ => return None,
    })
}

fn schemata(source: &Source<'_>) -> Rows {
    let mut rows =
        Rows::new(&[("catalog_name", SqlType::Name), ("schema_name", SqlType::Name), ("schema_owner", SqlType::Name)]);
    for namespace in source.state.namespaces(source.database) {
        rows.push(vec![
            source.database_name().into(),
            namespace.name.as_str().into(),
            source.role_name(namespace.owner).into(),
        ]);
    }
    rows
}

fn tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_type", SqlType::Text),
        ("is_insertable_into", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        let (kind, insertable) = match relation {
            Relation::Table(_) => ("BASE TABLE", "YES"),
            Relation::View(_) => ("VIEW", "NO"),
            Relation::Foreign(_) => ("FOREIGN", "NO"),
        };
        rows.push(vec![
            source.database_name().into(),
            schema.into(),
            relation.name().into(),
            kind.into(),
            insertable.into(),
        ]);
    }
    rows
}

fn views(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("view_definition", SqlType::Text),
        ("check_option", SqlType::Text),
        ("is_updatable", SqlType::Text),
        ("is_insertable_into", SqlType::Text),
        ("is_trigger_updatable", SqlType::Text),
        ("is_trigger_deletable", SqlType::Text),
        ("is_trigger_insertable_into", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        if let Relation::View(view) = &relation {
            rows.push(vec![
                source.database_name().into(),
                schema.into(),
                view.name.as_str().into(),
                view.definition.as_str().into(),
                "NONE".into(),
                "NO".into(),
                "NO".into(),
                "NO".into(),
                "NO".into(),
                "NO".into(),
            ]);
        }
    }
    rows
}

fn columns(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("table_catalog", SqlType::Name),
        ("table_schema", SqlType::Name),
        ("table_name", SqlType::Name),
        ("column_name", SqlType::Name),
        ("ordinal_position", SqlType::Integer),
        ("column_default", SqlType::Text),
        ("is_nullable", SqlType::Text),
        ("data_type", SqlType::Text),
        ("character_maximum_length", SqlType::Integer),
        ("numeric_precision", SqlType::Integer),
        ("numeric_precision_radix", SqlType::Integer),
        ("numeric_scale", SqlType::Integer),
        ("datetime_precision", SqlType::Integer),
        ("udt_catalog", SqlType::Name),
        ("udt_schema", SqlType::Name),
        ("udt_name", SqlType::Name),
        ("is_identity", SqlType::Text),
        ("is_generated", SqlType::Text),
        ("is_updatable", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        for (index, column) in relation.columns().iter().enumerate() {
            let (precision, radix, scale) = number_facts(&column.ty);
            rows.push(vec![
                source.database_name().into(),
                schema.as_str().into(),
                relation.name().into(),
                column.name.as_str().into(),
                Cell::Int(index as i64 + 1),
                column.default.as_deref().into(),
                if column.nullable { "YES" } else { "NO" }.into(),
                data_type(&column.ty).into(),
                character_length(&column.ty),
                precision,
                radix,
                scale,
                datetime_precision(&column.ty),
                source.database_name().into(),
                "pg_catalog".into(),
                column.ty.pg_name().into(),
                "NO".into(),
                "NEVER".into(),
                if matches!(relation, Relation::Table(_)) { "YES" } else { "NO" }.into(),
            ]);
        }
    }
    rows
}

/// The type's name without its modifier.
fn data_type(ty: &SqlType) -> String {
    match ty {
        SqlType::Array(_) => "ARRAY".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Numeric(_) => "numeric".to_owned(),
        other => other.to_string(),
    }
}

fn character_length(ty: &SqlType) -> Cell {
    match ty {
        SqlType::Char(length @ 1..) | SqlType::Varchar(Some(length)) => Cell::Int(i64::from(*length)),
        _ => Cell::Null,
    }
}

/// Precision, radix and scale, as the standard counts them: bits for binary numbers.
fn number_facts(ty: &SqlType) -> (Cell, Cell, Cell) {
    let facts = |precision: i64, radix: i64, scale: Option<i64>| {
        (Cell::Int(precision), Cell::Int(radix), scale.map_or(Cell::Null, Cell::Int))
    };
    match ty {
        SqlType::SmallInt => facts(16, 2, Some(0)),
        SqlType::Integer => facts(32, 2, Some(0)),
        SqlType::BigInt => facts(64, 2, Some(0)),
        SqlType::Real => facts(24, 2, None),
        SqlType::Double => facts(53, 2, None),
        SqlType::Numeric(Some((precision, scale))) => facts(i64::from(*precision), 10, Some(i64::from(*scale))),
        SqlType::Numeric(None) => (Cell::Null, Cell::Int(10), Cell::Null),
        _ => (Cell::Null, Cell::Null, Cell::Null),
    }
}

fn datetime_precision(ty: &SqlType) -> Cell {
    match ty {
        SqlType::Date => Cell::Int(0),
        SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => Cell::Int(6),
        _ => Cell::Null,
    }
}
