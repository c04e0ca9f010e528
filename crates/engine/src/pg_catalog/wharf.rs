//! Wharf's own system tables.

use wharf_catalog::{Relation, SqlType};
use wharf_consensus::Role;
use wharf_lake::{LakeError, LakeTable};
use wharf_values::normalize_jsonb;

use super::metadata::MetadataColumns;
use super::rows::{Cell, Rows};
use super::tables::Source;
use crate::layout_text;

/// The tables of schema `wharf`.
pub(super) const NAMES: &[&str] =
    &["cache", "dropped_tables", "nodes", "progress", "queries", "raft", "table_definitions", "tables"];

/// Those that say what happens on a node, rather than what is in the catalog.
pub(super) const CHANGING: &[&str] = &["cache", "nodes", "progress", "queries", "raft"];

/// A table of schema `wharf`.
pub(super) fn table(name: &str, source: &Source<'_>) -> Option<Rows> {
    match name {
        "tables" => Some(tables(source)),
        "table_definitions" => Some(definitions(source)),
        "cache" => Some(cache(source)),
        "dropped_tables" => Some(dropped_tables(source)),
        "progress" => Some(progress(source)),
        "nodes" => Some(nodes(source)),
        "raft" => Some(raft(source)),
        _ => None,
    }
}

/// The tables that UNDROP TABLE can bring back, and until when at least.
fn dropped_tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schema_name", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_oid", SqlType::Oid),
        ("table_id", SqlType::Uuid),
        ("metadata_location", SqlType::Text),
        ("dropped_at", SqlType::TimestampTz),
        ("kept_until", SqlType::TimestampTz),
    ]);
    let retention_us = source.session.map_or(0, |session| session.dropped_retention.as_micros());
    let retention_us = i64::try_from(retention_us).unwrap_or(i64::MAX);
    for dropped in source.state.dropped().filter(|dropped| dropped.database == source.database && !dropped.purged) {
        let table = &dropped.table;
        let dropped_us = dropped.dropped_ms.saturating_mul(1000);
        rows.push(vec![
            dropped.schema.as_str().into(),
            table.name.as_str().into(),
            table.oid.into(),
            table.id.to_string().into(),
            table.metadata_location.as_str().into(),
            dropped_us.into(),
            dropped_us.saturating_add(retention_us).into(),
        ]);
    }
    rows
}

/// What is asked of a remote warehouse, and of the cache before it, since the start; no row for a local one.
fn cache(source: &Source<'_>) -> Rows {
    const COLUMNS: [&str; 14] = [
        "memory_limit_bytes",
        "memory_bytes",
        "disk_limit_bytes",
        "memory_hits",
        "disk_hits",
        "misses",
        "get_requests",
        "get_bytes",
        "head_requests",
        "list_requests",
        "put_requests",
        "put_bytes",
        "delete_requests",
        "errors",
    ];
    let mut rows = Rows::new(&COLUMNS.map(|name| (name, SqlType::BigInt)));
    if let Some(cache) = source.session.and_then(|session| session.warehouse.cache_statistics()) {
        let values = [
            cache.memory_limit_bytes,
            cache.memory_bytes,
            cache.disk_limit_bytes,
            cache.memory_hits,
            cache.disk_hits,
            cache.misses,
            cache.get_requests,
            cache.get_bytes,
            cache.head_requests,
            cache.list_requests,
            cache.put_requests,
            cache.put_bytes,
            cache.delete_requests,
            cache.errors,
        ];
        rows.push(values.map(|value| Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))).to_vec());
    }
    rows
}

/// Where each table's Iceberg metadata is, for engines that read it themselves, and the files of external tables.
fn tables(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schema_name", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_oid", SqlType::Oid),
        ("table_id", SqlType::Uuid),
        ("metadata_location", SqlType::Text),
        ("version", SqlType::BigInt),
        ("format", SqlType::Text),
        ("files", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        match relation {
            Relation::Table(table) => rows.push(vec![
                schema.into(),
                table.name.as_str().into(),
                table.oid.into(),
                table.id.to_string().into(),
                table.metadata_location.as_str().into(),
                Cell::Int(table.version as i64),
                "iceberg".into(),
                Cell::Null,
            ]),
            Relation::Foreign(table) => rows.push(vec![
                schema.into(),
                table.name.as_str().into(),
                table.oid.into(),
                Cell::Null,
                Cell::Null,
                Cell::Null,
                table.source.format.as_str().into(),
                table.source.locations.join(", ").into(),
            ]),
            Relation::View(_) => {}
        }
    }
    rows
}

/// What of `wharf.table_definitions` is in the tables' metadata.
pub(super) const DEFINITIONS: MetadataColumns = MetadataColumns {
    key: "table_oid",
    names: &["partition_by", "sort_by", "properties", "error"],
    most: usize::MAX,
    cells: definition,
};

/// How each table is partitioned and sorted, as its definition would say it, and its properties; of one that cannot be read, why.
fn definitions(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("schema_name", SqlType::Name),
        ("table_name", SqlType::Name),
        ("table_oid", SqlType::Oid),
        ("partition_by", SqlType::Text),
        ("sort_by", SqlType::Text),
        ("properties", SqlType::Jsonb),
        ("error", SqlType::Text),
    ]);
    for (schema, relation) in source.relations() {
        if let Relation::Table(table) = relation {
            rows.push(vec![schema.into(), table.name.as_str().into(), table.oid.into()]);
        }
    }
    rows
}

fn definition(table: Result<&LakeTable, &LakeError>) -> Vec<Cell> {
    match table {
        Ok(table) => {
            let layout = table.layout();
            let properties = serde_json::json!(table.own_properties()).to_string();
            vec![
                layout_text::partition_by(&layout).into(),
                layout_text::sort_by(&layout).into(),
                normalize_jsonb(&properties).map_or(Cell::Null, Cell::from),
                Cell::Null,
            ]
        }
        Err(error) => vec![Cell::Null, Cell::Null, Cell::Null, error.to_string().into()],
    }
}

/// What loads and maintenance under way have done, of how much.
fn progress(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("pid", SqlType::Integer),
        ("command", SqlType::Text),
        ("table_name", SqlType::Name),
        ("started", SqlType::TimestampTz),
        ("files", SqlType::BigInt),
        ("files_total", SqlType::BigInt),
        ("bytes", SqlType::BigInt),
        ("bytes_total", SqlType::BigInt),
        ("rows", SqlType::BigInt),
    ]);
    let listed = source.session.map(|session| session.progress.shown(source.database)).unwrap_or_default();
    for shown in listed {
        rows.push(vec![
            shown.work.process.map_or(Cell::Null, |process| Cell::Int(i64::from(process))),
            shown.work.command.into(),
            shown.work.table.into(),
            Cell::Int(shown.start_us),
            count(shown.files),
            count(shown.files_total),
            count(shown.bytes),
            count(shown.bytes_total),
            count(shown.rows),
        ]);
    }
    rows
}

/// The nodes of the cluster, as the one that is asked sees them.
fn nodes(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("node_id", SqlType::BigInt),
        ("address", SqlType::Text),
        ("role", SqlType::Text),
        ("is_self", SqlType::Boolean),
        ("last_contact_ms", SqlType::BigInt),
        ("lag_entries", SqlType::BigInt),
        ("runs_queries", SqlType::Boolean),
    ]);
    let Some(session) = source.session else { return rows };
    let status = session.group.status();
    for member in &status.members {
        let role = match member.role {
            Role::Leader => "leader",
            Role::Voter => "voter",
            Role::Learner => "learner",
        };
        let contact_ms = member.last_contact.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
        rows.push(vec![
            count(member.node),
            member.address.as_str().into(),
            role.into(),
            (member.node == status.node).into(),
            contact_ms.map_or(Cell::Null, count),
            member.lag.map_or(Cell::Null, count),
            (member.node == status.node || session.fanout.takes_part(&member.address)).into(),
        ]);
    }
    rows
}

/// What Raft is doing on the node that is asked.
fn raft(source: &Source<'_>) -> Rows {
    let mut rows = Rows::new(&[
        ("node_id", SqlType::BigInt),
        ("cluster_id", SqlType::Uuid),
        ("leader_id", SqlType::BigInt),
        ("term", SqlType::BigInt),
        ("last_log_index", SqlType::BigInt),
        ("applied_index", SqlType::BigInt),
        ("snapshot_index", SqlType::BigInt),
        ("purged_index", SqlType::BigInt),
        ("log_bytes", SqlType::BigInt),
    ]);
    let Some(status) = source.session.map(|session| session.group.status()) else { return rows };
    let index = |index: Option<u64>| index.map_or(Cell::Null, count);
    rows.push(vec![
        count(status.node),
        status.cluster.to_string().into(),
        index(status.leader),
        count(status.term),
        index(status.last_log_index),
        index(status.applied_index),
        index(status.snapshot_index),
        index(status.purged_index),
        count(status.log_bytes_on_disk),
    ]);
    rows
}

/// A number as bigint.
pub(super) fn count(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
