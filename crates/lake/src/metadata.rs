//! Table metadata files: made, read, encoded, and how they are called.
//!
//! A metadata file is `<table>/metadata/00007-<uuid>.metadata.json`, the number counting up from 0 along the history of the
//! table. Two commits that race write files of the same number and different uuids, of which the catalog takes one.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, Schema, SnapshotReference, SnapshotRetention, SortOrder, TableMetadata,
};
use serde_json::json;
use uuid::Uuid;

use crate::error::LakeError;
use crate::partition::{self, Layout};

/// How many former metadata files a metadata file remembers, and how many snapshots: enough to look back, and a bound on
/// what every small commit has to write.
const PREVIOUS_VERSIONS: usize = 50;
const PREVIOUS_VERSIONS_PROPERTY: &str = "write.metadata.previous-versions-max";
/// How many snapshots a table keeps when its property [`SNAPSHOTS_PROPERTY`] does not say.
const SNAPSHOTS_KEPT: usize = 50;
/// The last id of a partition field in a table that has none: the first gets the one after it.
const NO_PARTITION_FIELD: i32 = 999;
/// The property that says how many snapshots a table keeps.
pub(crate) const SNAPSHOTS_PROPERTY: &str = "wharf.snapshots-kept";
/// The property in which the format version of a table is asked for.
pub(crate) const FORMAT_VERSION_PROPERTY: &str = "format-version";

/// Branches and tags by name, `main` among them as soon as there is a snapshot.
pub(crate) type Refs = BTreeMap<String, SnapshotReference>;

/// Parsed table metadata and what the parsed form does not show.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) table: TableMetadata,
    /// Iceberg's type knows them and does not list them.
    pub(crate) refs: Refs,
    /// The size of the file.
    pub(crate) size_bytes: usize,
}

/// Is it a property as every new table gets it?
pub(crate) fn is_given(name: &str, value: &str) -> bool {
    name == PREVIOUS_VERSIONS_PROPERTY && value.parse() == Ok(PREVIOUS_VERSIONS)
}

/// The metadata of a new, empty table. Iceberg's own builder would number the columns afresh, and the catalog has numbered
/// them already.
pub(crate) fn new_table(
    location: &str,
    id: Uuid,
    schema: &Schema,
    last_column_id: i32,
    layout: &Layout,
    mut properties: HashMap<String, String>,
) -> Result<TableMetadata, LakeError> {
    let failed = |error: &dyn ToString| LakeError::metadata(location, error.to_string());
    // Not a property that is kept: it says what the metadata is.
    let version = match properties.remove(FORMAT_VERSION_PROPERTY) {
        Some(version) => format_version(&version)?,
        None => FormatVersion::V2,
    };
    properties.entry(PREVIOUS_VERSIONS_PROPERTY.to_owned()).or_insert_with(|| PREVIOUS_VERSIONS.to_string());
    let spec = partition::new_spec(schema, &layout.partition)?;
    let order = partition::sort_order(schema, &layout.sort)?;
    let mut orders = vec![SortOrder::unsorted_order()];
    if !order.is_unsorted() {
        orders.push(order.clone());
    }
    let mut metadata = json!({
        "format-version": version as u8,
        "table-uuid": id,
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": now_ms(),
        "last-column-id": last_column_id,
        "schemas": [serde_json::to_value(schema).map_err(|error| failed(&error))?],
        "current-schema-id": schema.schema_id(),
        "partition-specs": [serde_json::to_value(&spec).map_err(|error| failed(&error))?],
        "default-spec-id": 0,
        "last-partition-id": spec.highest_field_id().unwrap_or(NO_PARTITION_FIELD),
        "properties": properties,
        "current-snapshot-id": -1,
        "snapshots": [],
        "snapshot-log": [],
        "metadata-log": [],
        "sort-orders": serde_json::to_value(orders).map_err(|error| failed(&error))?,
        "default-sort-order-id": order.order_id,
        "refs": {},
    });
    if version >= FormatVersion::V3 {
        metadata["next-row-id"] = 0.into();
    }
    serde_json::from_value(metadata).map_err(|error| failed(&error))
}

/// A format version that tables are made in, by its number.
///
/// # Errors
/// [`LakeError::Unsupported`] for anything else.
pub(crate) fn format_version(number: &str) -> Result<FormatVersion, LakeError> {
    match number.trim() {
        "2" => Ok(FormatVersion::V2),
        "3" => Ok(FormatVersion::V3),
        other => Err(LakeError::Unsupported(format!("making tables of Iceberg format version {other}"))),
    }
}

/// Parses the content of a metadata file.
pub(crate) async fn parse(location: &str, content: Bytes) -> Result<Metadata, LakeError> {
    let size_bytes = content.len();
    if content.starts_with(&[0x1f, 0x8b]) {
        // Iceberg's reader knows how to inflate.
        let table = inflate(location, content).await?;
        let refs = refs_of(location, &table)?;
        return Ok(Metadata { table, refs, size_bytes });
    }
    let corrupt = |error: serde_json::Error| LakeError::corrupt(location, error);
    let value: serde_json::Value = serde_json::from_slice(&content).map_err(corrupt)?;
    let refs = written_refs(&value).map_err(corrupt)?;
    let table = guarded(location, || {
        let table: TableMetadata = serde_json::from_value(value).map_err(corrupt)?;
        if table.schema_by_id(table.current_schema_id()).is_none() {
            return Err(LakeError::corrupt(location, "the current schema is missing"));
        }
        Ok(table)
    })?;
    let refs = refs_after(&refs, &table);
    Ok(Metadata { table, refs, size_bytes })
}

/// The refs of metadata as JSON.
fn written_refs(metadata: &serde_json::Value) -> Result<Refs, serde_json::Error> {
    match metadata.get("refs") {
        Some(refs) if !refs.is_null() => serde_json::from_value(refs.clone()),
        _ => Ok(Refs::new()),
    }
}

/// The refs of any metadata, by way of its JSON.
pub(crate) fn refs_of(location: &str, table: &TableMetadata) -> Result<Refs, LakeError> {
    let value = serde_json::to_value(table).map_err(|error| LakeError::metadata(location, error))?;
    let refs = written_refs(&value).map_err(|error| LakeError::metadata(location, error))?;
    Ok(refs_after(&refs, table))
}

/// The refs of metadata made from metadata that had the refs `before`: no other names, nor another retention. What is gone
/// is left out.
pub(crate) fn refs_after(before: &Refs, table: &TableMetadata) -> Refs {
    let moved = before.iter().filter_map(|(name, old)| {
        let snapshot = table.snapshot_for_ref(name)?;
        Some((name.clone(), SnapshotReference::new(snapshot.snapshot_id(), old.retention.clone())))
    });
    let mut refs: Refs = moved.collect();
    if let Some(current) = table.current_snapshot() {
        let main = || SnapshotReference::new(current.snapshot_id(), SnapshotRetention::branch(None, None, None));
        refs.entry(MAIN_BRANCH.to_owned()).or_insert_with(main);
    }
    refs
}

async fn inflate(location: &str, content: Bytes) -> Result<TableMetadata, LakeError> {
    let read = async {
        let io = FileIO::new_with_memory();
        io.new_output(location)?.write(content).await?;
        TableMetadata::read_from(&io, location).await
    };
    read.await.map_err(|error| LakeError::corrupt(location, error))
}

/// The content of a metadata file.
pub(crate) fn encode(location: &str, table: &TableMetadata) -> Result<Bytes, LakeError> {
    serde_json::to_vec(table).map(Bytes::from).map_err(|error| LakeError::metadata(location, error))
}

/// Leaves out of a table's JSON the snapshots that no branch or tag names, as `snapshots=refs` of the REST catalog wants.
pub(crate) fn keep_referenced_snapshots(metadata: &mut serde_json::Value) {
    let named = |value: &serde_json::Value| value.get("snapshot-id").and_then(serde_json::Value::as_i64);
    let refs = metadata.get("refs").and_then(|refs| refs.as_object());
    let mut kept: HashSet<i64> = refs.into_iter().flat_map(|refs| refs.values()).filter_map(named).collect();
    kept.extend(metadata.get("current-snapshot-id").and_then(serde_json::Value::as_i64));
    if let Some(snapshots) = metadata.get_mut("snapshots").and_then(|snapshots| snapshots.as_array_mut()) {
        snapshots.retain(|snapshot| named(snapshot).is_some_and(|id| kept.contains(&id)));
    }
}

/// Where the metadata file after `previous` goes; the first one of a table when there is none.
pub(crate) fn next_location(table_location: &str, previous: Option<&str>) -> String {
    let version = previous
        .and_then(|location| location.rsplit('/').next())
        .and_then(|name| name.split_once('-'))
        .and_then(|(version, _)| version.parse::<u32>().ok())
        .map_or(0, |version| version.saturating_add(1));
    format!("{table_location}/metadata/{version:05}-{}.metadata.json", Uuid::new_v4())
}

/// How many of its latest snapshots a table keeps when it is written to, at least one.
pub(crate) fn snapshots_kept(table: &TableMetadata) -> usize {
    let property = table.properties().get(SNAPSHOTS_PROPERTY);
    let kept = property.and_then(|text| text.parse().ok());
    kept.unwrap_or(SNAPSHOTS_KEPT).max(1)
}

/// The time of a commit on a table: now, but never before what the table has seen, however the clock was set since.
pub(crate) fn commit_time_ms(table: &TableMetadata) -> i64 {
    let seen = table.history().last().map_or(0, |entry| entry.timestamp_ms);
    now_ms().max(seen).max(table.last_updated_ms())
}

/// The time now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Runs a parser of somebody else's over the content of a file: a panic in it is damage to the file, not to the server.
pub(crate) fn guarded<T>(location: &str, parse: impl FnOnce() -> Result<T, LakeError>) -> Result<T, LakeError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Err(LakeError::corrupt(location, "it cannot be parsed")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::schema;

    fn table() -> TableMetadata {
        // Ids that Iceberg's own builder would change.
        let columns = [(7, SqlType::Array(Box::new(SqlType::Text))), (3, SqlType::Integer)];
        let columns = columns.map(|(field_id, ty)| Column {
            name: format!("c{field_id}"),
            ty,
            nullable: true,
            field_id,
            comment: None,
            default: None,
        });
        let (schema, last_id) = schema::iceberg_schema(&columns, 0, None, 0).unwrap();
        new_table("file:///lake/t", Uuid::nil(), &schema, last_id, &Layout::default(), HashMap::new()).unwrap()
    }

    #[tokio::test]
    async fn new_metadata_keeps_the_ids_of_the_catalog() {
        let table = table();
        let ids: Vec<_> = table.current_schema().as_struct().fields().iter().map(|f| f.id).collect();
        assert_eq!(ids, [7, 3]);
        assert_eq!(table.last_column_id(), 8);
        assert_eq!(table.format_version(), FormatVersion::V2);
        let content = encode("x", &table).unwrap();
        let read = parse("x", content).await.unwrap();
        assert_eq!(read.table, table);
        assert!(read.refs.is_empty());
    }

    #[tokio::test]
    async fn every_truncation_is_an_error_that_names_the_file() {
        let content = encode("x", &table()).unwrap();
        for length in 0..content.len() {
            let error = parse("file:///lake/t/m.json", content.slice(..length)).await.unwrap_err();
            assert!(error.to_string().starts_with("file \"file:///lake/t/m.json\" is damaged"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_changed_byte_never_panics() {
        let content = encode("x", &table()).unwrap();
        for i in 0..content.len() {
            let mut damaged = content.to_vec();
            damaged[i] ^= 0x15;
            let _ = parse("x", damaged.into()).await;
        }
    }

    #[test]
    fn versions_count_up() {
        let first = next_location("s3://b/t", None);
        assert!(first.starts_with("s3://b/t/metadata/00000-"), "{first}");
        let second = next_location("s3://b/t", Some(&first));
        assert!(second.starts_with("s3://b/t/metadata/00001-"), "{second}");
        let foreign = next_location("s3://b/t", Some("s3://b/t/metadata/v9.metadata.json"));
        assert!(foreign.starts_with("s3://b/t/metadata/00000-"), "{foreign}");
    }
}
