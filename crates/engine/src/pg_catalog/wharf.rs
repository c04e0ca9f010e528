//! Wharf's own system tables.

use wharf_catalog::{Relation, SqlType};

use super::rows::{Cell, Rows};
use super::tables::Source;

/// A table of schema `wharf`.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    (name == "tables").then(|| tables(source))
}

/// Where each table's Iceberg metadata is, for engines that read it themselves.
fn tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schema_name", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_oid", SqlType::Oid),
        ("table_id", SqlType::Uuid),
        ("metadata_location", SqlType::Text),
        ("version", SqlType::BigInt),
    ]);
    for (schema, relation) in source.relations() {
        if let Relation::Table(table) = relation {
            rows.push(vec![
                schema.into(),
                table.name.as_str().into(),
                table.oid.into(),
                table.id.to_string().into(),
                table.metadata_location.as_str().into(),
                Cell::Int(table.version as i64),
            ]);
        }
    }
    rows
}
