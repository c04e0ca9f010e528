//! Overwrite: some files of the base give way to others. This is how rows are deleted and updated: the files that have such
//! rows are written again.
//!
//! Manifests without any of the files stay as they are; those with them are written anew with what is left.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::Operation;

use super::append::{entries, keep};
use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::manifest::{self, Contents};
use crate::table::{FileSet, LakeTable};
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// Puts `added` in the place of the data files at the locations `removed`; returns the location of the new metadata file.
/// None when one of those files is not in the base: somebody else has rewritten it.
///
/// # Errors
/// As [`append`](super::append()).
pub async fn overwrite(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    removed: &HashSet<String>,
    added: Vec<WrittenFile>,
) -> Result<Option<String>, LakeError> {
    let manifests = base.manifests().await?;
    let live: Vec<_> = manifests.iter().filter(|file| manifest::is_live(file)).cloned().collect();
    if live.iter().any(manifest::has_deletes) {
        let what = format!("changing the rows of table \"{}\" with row-level deletes", base.metadata_location());
        return Err(LakeError::Unsupported(what));
    }
    let mut untouched = Vec::new();
    let mut left = Vec::new();
    let mut gone = Vec::new();
    for file in live {
        let alive = entries(base, std::slice::from_ref(&file)).await?;
        let (out, stay): (Vec<_>, Vec<_>) =
            alive.into_iter().filter(|entry| entry.is_alive()).partition(|entry| removed.contains(entry.file_path()));
        if out.is_empty() {
            untouched.push(file);
        } else {
            gone.extend(out);
            left.extend(stay);
        }
    }
    if gone.len() < removed.len() {
        return Ok(None);
    }
    let minus = Change::of(gone.iter().map(|entry| &entry.data_file));
    let added: Vec<_> = added.into_iter().map(|file| file.data_file).collect();
    let plus = Change::of(&added);
    let operation = match added.is_empty() {
        true => Operation::Delete,
        false => Operation::Overwrite,
    };
    let mut draft = Draft::new(warehouse, base)?;
    let mut files = Vec::new();
    if !added.is_empty() {
        draft.add(Contents::Added(added)).await?;
        let added = draft.added()[0].entries.iter();
        files = added.map(|entry| base.file(entry)).collect::<Result<_, _>>()?;
    }
    draft.add(Contents::Deleted(gone)).await?;
    keep(&mut draft, base, untouched.into_iter(), left).await?;
    let kept = base.files().await?;
    files.extend(kept.files.iter().filter(|file| !removed.contains(file.location())).cloned());
    draft.write(operation, plus, minus, Some(FileSet::new(files))).await.map(Some)
}
