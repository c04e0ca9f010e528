//! Zero-copy clones: a new table whose first snapshot is one of another table.
//!
//! The clone has its own id, location and history; manifests and data files stay where they are, under the source's location.
//! What always holds: nothing is copied but metadata, and neither table writes to files of the other. Which files may not be
//! removed because a clone needs them is for the catalog to know (`wharf_catalog::State::borrowers`).

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::LakeError;
use crate::loaded::{self, LOADED_FILES};
use crate::metadata::{self, Metadata};
use crate::schema::{CHECKED_SINCE_PROPERTY, CONSTRAINT_PROPERTY};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// A clone to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewClone<'a> {
    /// Its identity, new.
    pub id: Uuid,
    /// The folder it goes into: the name of the database.
    pub namespace: &'a str,
    /// Its name at this moment, for people who look at the metadata.
    pub name: &'a str,
    /// Its constraints by name, as SQL.
    pub constraints: &'a BTreeMap<String, String>,
}

/// Those of the source, but for constraints that are the clone's own. A check holds of the rows for as long as in the source.
fn properties(source: &LakeTable, clone: &NewClone<'_>) -> HashMap<String, String> {
    let before = source.constraints();
    let of_constraint = |name: &String| match name.strip_prefix(CHECKED_SINCE_PROPERTY) {
        Some(check) => clone.constraints.get(check).is_none_or(|text| before.get(check) != Some(text)),
        None => name.starts_with(CONSTRAINT_PROPERTY),
    };
    let kept = source.properties().iter().filter(|(name, _)| !of_constraint(name));
    let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
    let constraints = clone.constraints.iter();
    let constraints = constraints.map(|(name, text)| (format!("{CONSTRAINT_PROPERTY}{name}"), text.clone()));
    kept.chain(constraints).chain([("wharf.created-as".to_owned(), clone.name.to_owned())]).collect()
}

impl Warehouse {
    /// Writes the metadata of a clone of a state of a table: of its head, or of an older version, with the columns that has.
    /// Returns its location. It is durable when this returns.
    ///
    /// # Errors
    /// A table whose partitions or sort order are of columns that the version has not, and a store that fails.
    pub async fn clone_table(&self, source: &LakeTable, clone: NewClone<'_>) -> Result<String, LakeError> {
        let location = self.table_location(clone.namespace, clone.id);
        let failed = |error: &dyn ToString| LakeError::metadata(&location, error.to_string());
        let mut metadata = serde_json::to_value(source.metadata()).map_err(|error| failed(&error))?;
        let snapshot = source.snapshot();
        let made_ms = metadata::commit_time_ms(source.metadata());
        let set = |metadata: &mut Value, name: &str, value: Value| metadata[name] = value;
        set(&mut metadata, "table-uuid", json!(clone.id));
        set(&mut metadata, "location", json!(location));
        set(&mut metadata, "last-updated-ms", json!(made_ms));
        set(&mut metadata, "current-schema-id", json!(source.iceberg_schema().schema_id()));
        set(&mut metadata, "properties", json!(properties(source, &clone)));
        if source.properties().contains_key(LOADED_FILES) {
            metadata["properties"][LOADED_FILES] = json!(loaded::of_clone(source));
        }
        let current = snapshot.map(|snapshot| snapshot.snapshot_id());
        set(&mut metadata, "current-snapshot-id", json!(current.unwrap_or(-1)));
        let kept = metadata["snapshots"].as_array().cloned().unwrap_or_default();
        let kept: Vec<Value> = kept.into_iter().filter(|kept| kept["snapshot-id"].as_i64() == current).collect();
        set(&mut metadata, "snapshots", json!(kept));
        // It has been what it is since it was made, not since the source became so.
        let log = current.map(|id| json!({"snapshot-id": id, "timestamp-ms": made_ms}));
        set(&mut metadata, "snapshot-log", json!(log.iter().collect::<Vec<_>>()));
        let refs = current.map_or(json!({}), |id| json!({"main": {"snapshot-id": id, "type": "branch"}}));
        set(&mut metadata, "refs", refs);
        set(&mut metadata, "metadata-log", json!([]));
        set(&mut metadata, "statistics", json!([]));
        set(&mut metadata, "partition-statistics", json!([]));
        let file = metadata::next_location(&location, None);
        let table =
            metadata::parse(&file, serde_json::to_vec(&metadata).map_err(|error| failed(&error))?.into()).await?;
        let content = metadata::encode(&file, &table.table)?;
        let table = self.table(file.clone(), Metadata { size_bytes: content.len(), ..table })?;
        self.store().put(&file, content).await?;
        self.remember(table);
        Ok(file)
    }
}
