//! Tables as other engines ask for them: created at once, created by a commit, and taken over from a metadata file.
//!
//! What always holds: field ids, partition and sort order of the metadata are those the other engine was told, since its
//! data files may have been written by them; the table's files are in the warehouse, unless its creator may choose.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::requested::{RequestError, Requested, write};
use crate::metadata::{self, guarded};
use crate::table::LakeTable;
use crate::warehouse::{Warehouse, folder_name};

/// The property by which a client chooses the version of the format.
const FORMAT_VERSION: &str = "format-version";
/// The highest id of a partition field when there is none.
const NO_PARTITION_FIELD: i64 = 999;

/// A table to be made for another engine.
#[derive(Clone, Debug)]
pub struct NewRequestedTable<'a> {
    /// The folder it goes into: the name of the database.
    pub namespace: &'a str,
    /// The Iceberg schema, as JSON.
    pub schema: Value,
    /// The partition spec, as JSON.
    pub partition_spec: Option<Value>,
    /// The sort order, as JSON.
    pub sort_order: Option<Value>,
    /// Where its files are to be.
    pub location: Option<String>,
    /// Its properties.
    pub properties: HashMap<String, String>,
    /// The location may be outside of the warehouse.
    pub may_leave_warehouse: bool,
}

/// Metadata of a table that does not exist yet.
#[derive(Clone, Debug)]
pub struct StagedTable {
    metadata: TableMetadata,
}

impl StagedTable {
    /// Where its files go.
    pub fn location(&self) -> &str {
        self.metadata.location()
    }

    /// The metadata as the format's JSON.
    ///
    /// # Errors
    /// Metadata that cannot be written as JSON: a bug.
    pub fn metadata_json(&self) -> Result<Value, RequestError> {
        let failed = |error| RequestError::Lake(crate::LakeError::metadata(self.metadata.location(), error));
        serde_json::to_value(&self.metadata).map_err(failed)
    }

    /// Writes the metadata file.
    ///
    /// # Errors
    /// As [`RequestError`] says.
    pub async fn write(&self, warehouse: &Arc<Warehouse>) -> Result<Arc<LakeTable>, RequestError> {
        write(warehouse, metadata::next_location(self.metadata.location(), None), &self.metadata).await
    }
}

/// The metadata of a new, empty table; nothing is written yet.
///
/// # Errors
/// [`RequestError::Invalid`]: what was asked for is no table.
pub fn requested_table(warehouse: &Warehouse, table: NewRequestedTable<'_>) -> Result<StagedTable, RequestError> {
    fn read<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Result<T, RequestError> {
        serde_json::from_value(value).map_err(|error| RequestError::Invalid(format!("cannot read the {what}: {error}")))
    }
    let schema: Schema = read("schema", table.schema)?;
    let spec = match table.partition_spec.filter(|spec| !spec.is_null()) {
        Some(spec) => read("partition spec", spec)?,
        None => UnboundPartitionSpec::default(),
    };
    let order = match table.sort_order.filter(|order| !order.is_null()) {
        Some(order) => read("write order", order)?,
        None => SortOrder::unsorted_order(),
    };
    let mut properties = table.properties;
    let version = format_version(properties.remove(FORMAT_VERSION).as_deref())?;
    let id = Uuid::now_v7();
    let location = match table.location {
        Some(location) => {
            let location = location.trim_end_matches('/').to_owned();
            check_location(warehouse, &location, table.may_leave_warehouse)?;
            location
        }
        None => format!("{}/{}/{id}", warehouse.url(), folder_name(table.namespace)),
    };
    let build = || {
        let builder = TableMetadataBuilder::new(schema, spec, order, location.clone(), version, properties)?;
        builder.assign_uuid(id).build()
    };
    let built = guarded(&location, || Ok(build())).map_err(|_| RequestError::Invalid("no valid table".to_owned()))?;
    let metadata = built.map_err(|error| RequestError::invalid(&error))?.metadata;
    Ok(StagedTable { metadata })
}

/// The table that a commit creates; nothing is written yet. `namespace` is as in [`NewRequestedTable`].
///
/// # Errors
/// [`RequestError::Invalid`]: the updates do not make a table.
pub fn requested_table_of(
    warehouse: &Warehouse,
    namespace: &str,
    request: &Requested,
) -> Result<StagedTable, RequestError> {
    for requirement in &request.requirements {
        requirement.check(None).map_err(|error| RequestError::Conflict(error.message().to_owned()))?;
    }
    let begin = first(warehouse, namespace, request)?;
    let location = begin.location().to_owned();
    let build = || {
        let builder = begin.into_builder(None);
        request.updates.iter().cloned().try_fold(builder, |builder, update| update.apply(builder))?.build()
    };
    let built = guarded(&location, || Ok(build())).map_err(|_| RequestError::Invalid("no valid table".to_owned()))?;
    let metadata = built.map_err(|error| RequestError::invalid(&error))?.metadata;
    check_location(warehouse, metadata.location(), request.may_leave_warehouse)?;
    for snapshot in metadata.snapshots() {
        check_location(warehouse, snapshot.manifest_list(), request.may_leave_warehouse)?;
    }
    Ok(StagedTable { metadata })
}

/// Takes a metadata file over as the head of a table.
///
/// # Errors
/// A location outside of the warehouse, and a file that is missing or no table.
pub async fn register(
    warehouse: &Arc<Warehouse>,
    metadata_location: &str,
    may_leave_warehouse: bool,
) -> Result<Arc<LakeTable>, RequestError> {
    check_location(warehouse, metadata_location, may_leave_warehouse)?;
    let table = warehouse.load(metadata_location).await?;
    check_location(warehouse, table.location(), may_leave_warehouse)?;
    Ok(table)
}

fn format_version(text: Option<&str>) -> Result<FormatVersion, RequestError> {
    match text {
        None | Some("2") => Ok(FormatVersion::V2),
        Some("1") => Ok(FormatVersion::V1),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(RequestError::Invalid(format!("format version {other} is not known"))),
    }
}

fn check_location(warehouse: &Warehouse, location: &str, may_leave_warehouse: bool) -> Result<(), RequestError> {
    match warehouse.contains(location) || (may_leave_warehouse && warehouse.store().path(location).is_ok()) {
        true => Ok(()),
        false => Err(RequestError::Invalid(format!("location \"{location}\" is outside of the warehouse"))),
    }
}

/// The table before the updates: empty, with the first schema, partition spec and sort order of them. Iceberg's builder
/// would number those anew.
fn first(warehouse: &Warehouse, namespace: &str, request: &Requested) -> Result<TableMetadata, RequestError> {
    let (mut id, mut location, mut version) = (Uuid::now_v7(), None, FormatVersion::V2);
    let (mut schema, mut spec, mut order) = (None, None, None);
    let failed = |error: serde_json::Error| RequestError::Invalid(format!("cannot begin a table: {error}"));
    for update in &request.updates {
        match update {
            TableUpdate::AssignUuid { uuid } => id = *uuid,
            TableUpdate::SetLocation { location: given } => location = Some(given.trim_end_matches('/').to_owned()),
            TableUpdate::UpgradeFormatVersion { format_version } => version = *format_version,
            TableUpdate::AddSchema { schema: given } if schema.is_none() => {
                schema = Some((serde_json::to_value(given).map_err(failed)?, given.highest_field_id()));
            }
            TableUpdate::AddSpec { spec: given } if spec.is_none() => {
                spec = Some(serde_json::to_value(given).map_err(failed)?);
            }
            TableUpdate::AddSortOrder { sort_order } if order.is_none() => {
                order = Some(serde_json::to_value(sort_order).map_err(failed)?);
            }
            _ => {}
        }
    }
    let Some((mut schema, last_column_id)) = schema else {
        return Err(RequestError::Invalid("a table is created with a schema".to_owned()));
    };
    let schema_id = numbered(&mut schema, "schema-id");
    let mut spec = spec.unwrap_or_else(|| json!({"spec-id": 0, "fields": []}));
    let spec_id = numbered(&mut spec, "spec-id");
    let mut order = order.unwrap_or_else(|| json!({"order-id": 0, "fields": []}));
    let order_id = numbered(&mut order, "order-id");
    let last_partition_id = number_fields(&mut spec);
    let location = location.unwrap_or_else(|| format!("{}/{}/{id}", warehouse.url(), folder_name(namespace)));
    let metadata = json!({
        "format-version": version as u8,
        "table-uuid": id,
        "location": location,
        "last-sequence-number": 0,
        "last-updated-ms": 0,
        "last-column-id": last_column_id,
        "schemas": [schema],
        "current-schema-id": schema_id,
        "partition-specs": [spec],
        "default-spec-id": spec_id,
        "last-partition-id": last_partition_id,
        "properties": {},
        "current-snapshot-id": null,
        "snapshots": [],
        "snapshot-log": [],
        "metadata-log": [],
        "sort-orders": [order],
        "default-sort-order-id": order_id,
        "refs": {},
        "next-row-id": 0,
    });
    let parsed = guarded(&location, || Ok(serde_json::from_value(metadata)));
    parsed.map_err(|_| RequestError::Invalid("no valid table".to_owned()))?.map_err(failed)
}

/// The id under a name; 0 when there is none.
fn numbered(value: &mut Value, name: &str) -> i64 {
    let id = value.get(name).and_then(Value::as_i64).filter(|id| *id >= 0).unwrap_or(0);
    value[name] = json!(id);
    id
}

/// Gives the fields of a partition spec ids where they have none; returns the highest.
fn number_fields(spec: &mut Value) -> i64 {
    let mut highest = NO_PARTITION_FIELD;
    for field in spec.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        let id = field.get("field-id").and_then(Value::as_i64).unwrap_or(highest + 1);
        field["field-id"] = json!(id);
        highest = highest.max(id);
    }
    highest
}
