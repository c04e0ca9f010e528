//! Files below a table's location that nothing refers to: what crashes, failed commits and expired snapshots have left.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::references::{self, Locations};
use crate::error::LakeError;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// How many files are removed in one request, where the store can do that.
const REMOVED_AT_ONCE: usize = 1000;

/// Files that were found or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Where they are, or were.
    pub locations: Vec<String>,
    /// Their size together, in bytes, as far as it is known.
    pub bytes: u64,
}

/// The files below the location of a table that neither it nor any of the `others` refers to and that are from before a moment (in
/// milliseconds since 1970). Files of a commit that goes on are not referred to either, so the moment has to be before
/// the beginning of any write that may still be committed.
///
/// # Errors
/// A manifest that cannot be read: then it is not known what is needed. A store that fails.
pub async fn find_orphans(
    table: &Arc<LakeTable>,
    others: &[Arc<LakeTable>],
    older_than_ms: i64,
) -> Result<Removed, LakeError> {
    let mut needed = references::of_table(table).await?;
    for other in others {
        needed.extend(references::of_table(other).await?);
    }
    let needed = paths(table, &needed)?;
    let folder = table.store().path(table.location())?;
    let mut found = Removed::default();
    let mut listed = table.store().objects().list(Some(&folder));
    while let Some(object) = listed.next().await {
        let object: ObjectMeta = object.map_err(|error| LakeError::store(table.location(), error))?;
        if object.last_modified.timestamp_millis() < older_than_ms && !needed.contains(&object.location) {
            found.bytes += object.size;
            found.locations.push(table.store().location(&object.location));
        }
    }
    found.locations.sort_unstable();
    Ok(found)
}

/// Locations are written in several ways (`file:/a`, `file:///a`), paths in one.
fn paths(table: &LakeTable, locations: &Locations) -> Result<HashSet<Path>, LakeError> {
    let own = |location: &String| match table.store().path(location) {
        // A file in another store is none that could be found here.
        Err(LakeError::ForeignLocation { .. }) => None,
        path => Some(path),
    };
    locations.iter().filter_map(own).collect()
}

/// Everything below the location of a table that was dropped, except what any of the `others` refers to.
///
/// # Errors
/// As [`find_orphans`].
pub async fn find_dropped(
    warehouse: &Arc<Warehouse>,
    location: &str,
    others: &[Arc<LakeTable>],
) -> Result<Removed, LakeError> {
    let mut needed = HashSet::new();
    for other in others {
        needed.extend(paths(other, &references::of_table(other).await?)?);
    }
    let store = warehouse.store();
    let folder = store.path(location)?;
    let mut found = Removed::default();
    let mut listed = store.objects().list(Some(&folder));
    while let Some(object) = listed.next().await {
        let object = object.map_err(|error| LakeError::store(location, error))?;
        if !needed.contains(&object.location) {
            found.bytes += object.size;
            found.locations.push(store.location(&object.location));
        }
    }
    Ok(found)
}

/// Removes files, and tells of each that has been dealt with. One that is gone already is no error.
///
/// # Errors
/// The first failure of the store; the others are removed all the same.
pub async fn remove(
    warehouse: &Arc<Warehouse>,
    files: &Removed,
    done: impl Fn() + Send + Sync,
) -> Result<(), LakeError> {
    let store = warehouse.store();
    let mut failed = None;
    for chunk in files.locations.chunks(REMOVED_AT_ONCE) {
        let paths = chunk.iter().map(|location| store.path(location)).collect::<Result<Vec<_>, _>>()?;
        let paths = futures::stream::iter(paths).map(Ok).boxed();
        let mut removed = store.objects().delete_stream(paths);
        loop {
            match removed.try_next().await {
                Ok(None) => break,
                Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => failed = failed.or(Some(LakeError::store(&chunk[0], error))),
            }
            done();
        }
    }
    failed.map_or(Ok(()), Err)
}
