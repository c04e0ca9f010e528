//! Changes as other engines ask for them: requirements that must hold, and updates of the metadata.
//!
//! The two are those of Iceberg's REST specification, and checking and applying them is Iceberg's own code. What always
//! holds: a state comes out only when all requirements hold of the base, so swapping the catalog's pointer from the base to
//! it is what the other engine asked for; what is written reads back; no update leads out of the warehouse, and none brings a branch
//! back to rows that do not fit the columns of now. The data files, manifests and manifest lists of new snapshots are the other engine's
//! work and are not looked at here.

use std::sync::Arc;

use iceberg::spec::{FormatVersion, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use serde_json::Value;

use super::snapshot::write_metadata;
use crate::error::LakeError;
use crate::fit;
use crate::loaded;
use crate::metadata::{self, guarded};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// Requirements and updates.
#[derive(Clone, Debug)]
pub struct Requested {
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
    /// Locations outside of the warehouse are allowed.
    pub(super) may_leave_warehouse: bool,
}

/// Why what was asked for is not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It makes no sense, whatever the state of the table.
    #[error("{0}")]
    Invalid(String),
    /// A requirement does not hold: the table is not what the other engine thought.
    #[error("{0}")]
    Conflict(String),
    /// The store, or a file in it.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl RequestError {
    pub(super) fn invalid(error: &iceberg::Error) -> RequestError {
        RequestError::Invalid(error.message().to_owned())
    }
}

impl Requested {
    /// Reads the two lists of a commit.
    ///
    /// # Errors
    /// [`RequestError::Invalid`]: something that is not in the specification, or not known here.
    pub fn parse(requirements: Value, updates: Value, may_leave_warehouse: bool) -> Result<Requested, RequestError> {
        let invalid =
            |what: &str, error: serde_json::Error| RequestError::Invalid(format!("cannot read the {what}: {error}"));
        Ok(Requested {
            requirements: serde_json::from_value(requirements).map_err(|error| invalid("requirements", error))?,
            updates: serde_json::from_value(updates).map_err(|error| invalid("updates", error))?,
            may_leave_warehouse,
        })
    }

    /// Whether the table must not exist yet.
    pub fn creates(&self) -> bool {
        self.requirements.contains(&TableRequirement::NotExist)
    }
}

/// Does what was asked for; returns the new state of the table, or the base when nothing changes.
///
/// # Errors
/// As [`RequestError`] says. What was written is removed then.
pub async fn requested(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    request: &Requested,
) -> Result<Arc<LakeTable>, RequestError> {
    let known = base.metadata();
    for requirement in &request.requirements {
        requirement.check(Some(known)).map_err(|error| RequestError::Conflict(error.message().to_owned()))?;
    }
    for update in &request.updates {
        check(warehouse, base, update, request.may_leave_warehouse)?;
    }
    let moved: Vec<_> = request.updates.iter().filter_map(|update| moved(base, update)).collect();
    let location = base.metadata_location();
    // Iceberg's builder is somebody else's code over somebody else's values.
    let built = guarded(location, || {
        let apply = || {
            let builder = known.clone().into_builder(Some(location.to_owned()));
            let updates = request.updates.iter().cloned();
            updates.into_iter().try_fold(builder, |builder, update| update.apply(builder))?.build()
        };
        Ok(apply())
    })
    .map_err(|_| RequestError::Invalid("the updates contradict the table".to_owned()))?
    .map_err(|error| RequestError::invalid(&error))?;
    if built.changes.is_empty() {
        return Ok(Arc::clone(base));
    }
    for (branch, snapshot_id) in moved {
        check_fits(warehouse, base, &built.metadata, branch, snapshot_id).await?;
    }
    // Who removes snapshots does not know what Wharf remembers by them.
    let table = match loaded::carried(known, built.metadata.snapshots()) {
        Some(loaded) => loaded::set(built.metadata.into_builder(None), loaded).and_then(|builder| builder.build()),
        None => Ok(built),
    };
    let table = table.map_err(|error| RequestError::invalid(&error))?.metadata;
    let next = metadata::next_location(table.location(), Some(location));
    write(warehouse, next, &table).await
}

/// Writes a metadata file and reads it as everybody will.
pub(super) async fn write(
    warehouse: &Arc<Warehouse>,
    location: String,
    table: &TableMetadata,
) -> Result<Arc<LakeTable>, RequestError> {
    let content = metadata::encode(&location, table)?;
    let metadata = metadata::parse(&location, content.clone())
        .await
        .map_err(|error| RequestError::Invalid(format!("the updates make no valid table: {error}")))?;
    let table = warehouse.table(location.clone(), metadata)?;
    write_metadata(warehouse.store(), (location, content)).await?;
    Ok(warehouse.remember(table))
}

/// The branch that an update brings to a snapshot that is there already, and is not the head of a branch.
fn moved<'a>(base: &LakeTable, update: &'a TableUpdate) -> Option<(&'a str, i64)> {
    let TableUpdate::SetSnapshotRef { ref_name, reference } = update else { return None };
    let id = reference.snapshot_id;
    let is_head = base.refs().values().any(|known| known.is_branch() && known.snapshot_id == id);
    (reference.is_branch() && !is_head && base.metadata().snapshot_by_id(id).is_some())
        .then_some((ref_name.as_str(), id))
}

/// Refuses to bring a branch to a snapshot whose rows do not fit the columns that the table has now, where queries would not see it: those
/// that are to come say that they do. Checks are SQL's own, as with rows that are appended.
async fn check_fits(
    warehouse: &Arc<Warehouse>,
    base: &LakeTable,
    now: &TableMetadata,
    branch: &str,
    snapshot_id: i64,
) -> Result<(), RequestError> {
    let unproven = fit::unproven(now, snapshot_id);
    let name = |id: i32| now.current_schema().name_by_field_id(id).unwrap_or_default().to_owned();
    let refuse = |what: String| {
        let message = format!("branch \"{branch}\" cannot be set to snapshot {snapshot_id}: {what}");
        Err(RequestError::Invalid(message))
    };
    if let Some(id) = unproven.absent.first() {
        return refuse(format!("its rows have no values for column \"{}\", which is newer", name(*id)));
    }
    if unproven.required.is_empty() {
        return Ok(());
    }
    let rows = warehouse.load_as_head(base.metadata_location(), snapshot_id).await?;
    match rows.may_be_null(&unproven.required).await?.first() {
        Some(id) => refuse(format!("column \"{}\" must not be null, and may be in its rows", name(*id))),
        None => Ok(()),
    }
}

/// Refuses updates that Iceberg's code would take and a catalog must not.
fn check(
    warehouse: &Warehouse,
    base: &LakeTable,
    update: &TableUpdate,
    may_leave_warehouse: bool,
) -> Result<(), RequestError> {
    let known = base.metadata();
    let outside = |location: &str| {
        let own = location.strip_prefix(base.location()).is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
        !own && !warehouse.contains(location) && !may_leave_warehouse
    };
    let inside = |location: &str| match outside(location) {
        true => Err(RequestError::Invalid(format!("location \"{location}\" is outside of the warehouse"))),
        false => Ok(()),
    };
    match update {
        TableUpdate::AssignUuid { uuid } if *uuid != known.uuid() => {
            Err(RequestError::Invalid("the uuid of a table does not change".to_owned()))
        }
        TableUpdate::SetLocation { location } => inside(location),
        TableUpdate::SetStatistics { statistics } => inside(&statistics.statistics_path),
        TableUpdate::SetPartitionStatistics { partition_statistics } => inside(&partition_statistics.statistics_path),
        TableUpdate::AddSnapshot { snapshot } => {
            // Made before a snapshot that is there by now: to be made anew over that, as any lost race.
            let behind = snapshot.sequence_number() <= known.last_sequence_number();
            if known.format_version() != FormatVersion::V1 && behind && known.current_snapshot().is_some() {
                let (own, last) = (snapshot.sequence_number(), known.last_sequence_number());
                let message = format!("sequence number {own} of the snapshot is not above the table's last, {last}");
                return Err(RequestError::Conflict(message));
            }
            inside(snapshot.manifest_list())
        }
        _ => Ok(()),
    }
}
