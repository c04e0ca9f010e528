//! Append: the files of the base and some more.
//!
//! A fast append: the manifests of the base stay as they are and one is added. When there are many small ones they are
//! written together into one, so that the number of manifests a scan has to read stays small however many commits there were.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestEntryRef, ManifestFile, Operation};

use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::manifest::{self, Contents, Entries};
use crate::table::{FileSet, LakeTable};
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// With this many small manifests they are merged.
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
    let files: Vec<_> = files.into_iter().map(|file| file.data_file).collect();
    let change = Change::of(&files);
    draft.add(Contents::Added(files)).await?;
    let files = file_set(base, &draft.added()[0].entries)?;

    let live = base.manifests().await?.iter().filter(|file| manifest::is_live(file));
    keep(&mut draft, base, live.cloned(), Vec::new()).await?;
    draft.write(Operation::Append, change, Change::default(), files).await
}

/// Keeps manifests of the base, and entries of others. The small manifests are merged when there are many.
pub(super) async fn keep(
    draft: &mut Draft<'_>,
    base: &LakeTable,
    manifests: impl Iterator<Item = ManifestFile>,
    mut existing: Vec<ManifestEntryRef>,
) -> Result<(), LakeError> {
    let (small, mut large): (Vec<_>, Vec<_>) = manifests.partition(is_small);
    if small.len() >= MERGE_COUNT {
        existing.extend(entries(base, &small).await?);
    } else {
        large = small.into_iter().chain(large).collect();
    }
    if !existing.is_empty() {
        draft.add(Contents::Existing(existing)).await?;
    }
    draft.keep(large);
    Ok(())
}

fn is_small(file: &ManifestFile) -> bool {
    file.manifest_length < MERGE_BYTES
        && file.key_metadata.is_none()
        && file.content == iceberg::spec::ManifestContentType::Data
}

/// The entries of manifests, in the order of the manifests.
pub(super) async fn entries(base: &LakeTable, manifests: &[ManifestFile]) -> Result<Vec<ManifestEntryRef>, LakeError> {
    // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
    let reads: Vec<_> = manifests.iter().map(|file| base.entries(file)).collect();
    let loaded: Vec<Entries> = futures::stream::iter(reads).buffered(CONCURRENT_MANIFESTS).try_collect().await?;
    Ok(loaded.iter().flat_map(|entries| entries.iter().cloned()).collect())
}

/// The files of the new snapshot, if those of the base are in memory. New files go first, as their manifest does.
fn file_set(base: &LakeTable, added: &Entries) -> Result<Option<FileSet>, LakeError> {
    let known = match base.loaded_files() {
        Some(files) => files.files.as_slice(),
        None if base.snapshot_id().is_none() => &[],
        None => return Ok(None),
    };
    let new = added.iter().map(|entry| base.file(entry));
    let files = new.chain(known.iter().map(|file| Ok(Arc::clone(file))));
    Ok(Some(FileSet::new(files.collect::<Result<_, _>>()?)))
}
