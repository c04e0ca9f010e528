//! Forgetting snapshots, branches and tags: a table without them, and then the files that only they had.

use std::sync::Arc;

use super::orphans::Removed;
use super::references;
use super::retention::{self, ExpireOptions};
use crate::commit;
use crate::error::LakeError;
use crate::loaded;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// A state of a table that has forgotten something.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The location of the new metadata file.
    pub location: String,
    /// The snapshots that are gone.
    pub snapshots: Vec<i64>,
    /// The branches and tags that are gone.
    pub refs: Vec<String>,
}

/// Writes a state of the table without what it may forget at a moment, by its properties or by what is asked for instead. None when
/// there is nothing of that kind.
///
/// # Errors
/// Properties and options that make no sense, a table that cannot be written, a store that fails.
pub async fn expire(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    options: &ExpireOptions,
    now_ms: i64,
) -> Result<Option<Expiry>, LakeError> {
    let table = base.metadata();
    let expired = retention::expired(table, base.refs(), options, now_ms)?;
    if expired.is_empty() {
        return Ok(None);
    }
    let failed = |error: iceberg::Error| LakeError::metadata(base.metadata_location(), error);
    let mut builder = table.clone().into_builder(Some(base.metadata_location().to_owned()));
    for name in &expired.refs {
        builder = builder.remove_ref(name);
    }
    builder = builder.remove_snapshots(&expired.snapshots);
    let left = table.snapshots().filter(|snapshot| !expired.snapshots.contains(&snapshot.snapshot_id()));
    if let Some(loaded) = loaded::carried(table, left) {
        builder = loaded::set(builder, loaded).map_err(failed)?;
    }
    let built = builder.build().map_err(failed)?;
    let location = commit::write_state(warehouse, base, built.metadata).await?;
    Ok(Some(Expiry { location, snapshots: expired.snapshots, refs: expired.refs }))
}

/// The files that a state of a table refers to by some of its snapshots and that none of the other states refers to at all.
///
/// # Errors
/// A manifest that cannot be read, a store that fails.
pub async fn files_only_of(
    table: &Arc<LakeTable>,
    snapshots: &[i64],
    others: &[Arc<LakeTable>],
) -> Result<Removed, LakeError> {
    let mut files = references::of_snapshots(table, snapshots.iter().copied()).await?;
    for other in others {
        for needed in references::of_table(other).await? {
            files.remove(&needed);
        }
    }
    let mut locations: Vec<_> = files.into_iter().collect();
    locations.sort_unstable();
    Ok(Removed { locations, bytes: 0 })
}
