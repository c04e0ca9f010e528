//! Which files a table needs: everything that its metadata leads to.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::ManifestFile;

use crate::error::LakeError;
use crate::manifest::{self, Entry};
use crate::table::LakeTable;

/// How many manifest lists and manifests are fetched at the same time.
const CONCURRENT_READS: usize = 16;

/// The locations of files, as they stand in metadata.
pub(crate) type Locations = HashSet<String>;

/// Everything a state of a table refers to through any of its snapshots: metadata files, manifest lists, manifests, data files, delete
/// files, statistics.
pub(crate) async fn of_table(table: &LakeTable) -> Result<Locations, LakeError> {
    let metadata = table.metadata();
    let mut found = of_snapshots(table, metadata.snapshots().map(|snapshot| snapshot.snapshot_id())).await?;
    found.insert(table.metadata_location().to_owned());
    found.extend(metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone()));
    found.extend(metadata.statistics_iter().map(|file| file.statistics_path.clone()));
    found.extend(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone()));
    Ok(found)
}

/// What some snapshots refer to. A manifest that several of them share is read once. A file that a snapshot has removed is none
/// of its files.
pub(crate) async fn of_snapshots(
    table: &LakeTable,
    snapshots: impl IntoIterator<Item = i64>,
) -> Result<Locations, LakeError> {
    let metadata = table.metadata();
    let snapshots = snapshots.into_iter().filter_map(|id| metadata.snapshot_by_id(id));
    let lists: Vec<_> = snapshots.map(|snapshot| snapshot.manifest_list().to_owned()).collect();
    let mut found: Locations = lists.iter().cloned().collect();
    let reads: Vec<_> = lists.into_iter().map(|location| manifests(table, location)).collect();
    let listed: Vec<Vec<ManifestFile>> =
        futures::stream::iter(reads).buffer_unordered(CONCURRENT_READS).try_collect().await?;
    let mut seen = HashSet::new();
    let distinct: Vec<_> =
        listed.into_iter().flatten().filter(|file| seen.insert(file.manifest_path.clone())).collect();
    let reads: Vec<_> = distinct.iter().map(|file| table.entries(file)).collect();
    let mut entries = futures::stream::iter(reads).buffer_unordered(CONCURRENT_READS);
    while let Some(entries) = entries.try_next().await? {
        let alive = entries.iter().filter(Entry::is_alive);
        found.extend(alive.map(|entry| entry.file_path().to_owned()));
    }
    drop(entries);
    found.extend(seen);
    Ok(found)
}

async fn manifests(table: &LakeTable, location: String) -> Result<Vec<ManifestFile>, LakeError> {
    let content = table.store().get(&location).await?;
    manifest::parse_list(&location, &content, table.metadata().format_version())
}
