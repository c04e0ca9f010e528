//! Append: the files of the base and some more.
//!
//! A fast append: the manifests of the base stay as they are and one is added. When there are many small ones they are
//! written together into one, so that the number of manifests a scan has to read stays small however many commits there were.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestContentType, ManifestFile, Operation};

use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::files::{FileSet, LakeFile};
use crate::manifest::{self, Contents, Entries, Entry};
use crate::properties;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// With this many small manifests of a group they are merged.
const MERGE_COUNT: usize = 100;
/// A manifest of this size is not small any more.
const MERGE_BYTES: i64 = 8 * 1024 * 1024;
/// How many manifests are fetched at the same time.
const CONCURRENT_MANIFESTS: usize = 16;

/// Adds data files to a table; returns the location of the new metadata file. No files, no change: the location of the base.
///
/// # Errors
/// A table that cannot be written, a manifest of the base that cannot be read, a store that fails. The files stay.
pub async fn append(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    files: Vec<WrittenFile>,
) -> Result<String, LakeError> {
    if files.is_empty() {
        return Ok(base.metadata_location().to_owned());
    }
    let mut draft = Draft::new(warehouse, base)?;
    let change = Change::of(files.iter().map(|file| &file.data_file));
    let files = file_set(base, draft.add_files(files).await?);

    let live = base.manifests().await?.iter().filter(|file| manifest::is_live(file));
    keep(&mut draft, base, live.cloned(), Vec::new()).await?;
    draft.write(Operation::Append, change, Change::default(), files).await
}

/// What a manifest can list together: files of one partition specification, all of them data files or all of them delete files.
pub(super) type Group = (i32, bool);

/// The group of the files of a manifest.
pub(super) fn group_of(file: &ManifestFile) -> Group {
    (file.partition_spec_id, file.content == ManifestContentType::Deletes)
}

/// Keeps manifests of the base, and entries of others. The small manifests of a group are merged when there are many.
pub(super) async fn keep(
    draft: &mut Draft<'_>,
    base: &LakeTable,
    manifests: impl Iterator<Item = ManifestFile>,
    mut existing: Vec<(Group, Entry)>,
) -> Result<(), LakeError> {
    let merging = Merging::of(base);
    let mut small = BTreeMap::<Group, Vec<ManifestFile>>::new();
    let mut kept = Vec::new();
    for file in manifests {
        if file.manifest_length < merging.manifest_bytes && file.key_metadata.is_none() {
            small.entry(group_of(&file)).or_default().push(file);
        } else if is_incomplete(&file) {
            let alive = entries(base, std::slice::from_ref(&file)).await?;
            existing.extend(alive.into_iter().map(|entry| (group_of(&file), entry)));
        } else {
            kept.push(file);
        }
    }
    for (group, files) in small {
        if (merging.enabled && files.len() >= merging.count) || files.iter().any(is_incomplete) {
            existing.extend(entries(base, &files).await?.into_iter().map(|entry| (group, entry)));
        } else {
            // Small ones first, since they are the newest.
            kept.splice(0..0, files);
        }
    }
    draft.add_groups(existing, Contents::Existing).await?;
    draft.keep(kept);
    Ok(())
}

/// How a table wants its manifests to be.
pub(super) struct Merging {
    /// Whether commits merge small ones.
    enabled: bool,
    /// With this many small ones of a group they are merged.
    pub(super) count: usize,
    /// A manifest of this size is not small any more.
    pub(super) manifest_bytes: i64,
}

impl Merging {
    /// What the properties of a table say.
    pub(super) fn of(table: &LakeTable) -> Merging {
        let properties = table.properties();
        Merging {
            enabled: properties::flag(properties, properties::MERGE_MANIFESTS, true),
            count: properties::number(properties, properties::MERGE_COUNT).unwrap_or(MERGE_COUNT).max(2),
            manifest_bytes: properties::number(properties, properties::MANIFEST_BYTES).unwrap_or(MERGE_BYTES).max(1),
        }
    }

    /// How many manifests are to have what these have.
    pub(super) fn manifests(&self, files: &[ManifestFile]) -> usize {
        let bytes: u64 = files.iter().map(|file| file.manifest_length.unsigned_abs()).sum();
        usize::try_from(bytes.div_ceil(self.manifest_bytes.unsigned_abs())).unwrap_or(usize::MAX).max(1)
    }
}

/// Whether the manifest list does not say how many files and rows there are, which format version 1 leaves open and later
/// ones want.
pub(super) fn is_incomplete(file: &ManifestFile) -> bool {
    let files = [file.added_files_count, file.existing_files_count, file.deleted_files_count];
    let rows = [file.added_rows_count, file.existing_rows_count, file.deleted_rows_count];
    files.contains(&None) || rows.contains(&None)
}

/// The entries of manifests, in the order of the manifests.
pub(super) async fn entries(base: &LakeTable, manifests: &[ManifestFile]) -> Result<Vec<Entry>, LakeError> {
    // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
    let reads: Vec<_> = manifests.iter().map(|file| base.entries(file)).collect();
    let loaded: Vec<Entries> = futures::stream::iter(reads).buffered(CONCURRENT_MANIFESTS).try_collect().await?;
    Ok(loaded.iter().flat_map(Entries::iter).collect())
}

/// The files of the new snapshot, if those of the base are in memory. New files go first, as their manifest does.
fn file_set(base: &LakeTable, added: Vec<Arc<LakeFile>>) -> Option<FileSet> {
    match base.loaded_files() {
        Some(files) => Some(files.with_more(added, &base.schema())),
        None => base.snapshot_id().is_none().then(|| FileSet::new(added)),
    }
}
