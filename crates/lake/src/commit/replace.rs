//! Replace: other files instead of all that the base has. TRUNCATE is to replace them by none.

use std::sync::Arc;

use iceberg::spec::Operation;

use super::append::entries;
use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::manifest::{self, Contents};
use crate::table::{FileSet, LakeTable};
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// Replaces the data files of a table; returns the location of the new metadata file. Old snapshots still have the old files.
/// An empty table that stays empty does not change: the location of the base.
///
/// # Errors
/// As [`append`](super::append()).
pub async fn replace(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    files: Vec<WrittenFile>,
) -> Result<String, LakeError> {
    let manifests = base.manifests().await?;
    let live: Vec<_> = manifests.iter().filter(|file| manifest::is_live(file)).cloned().collect();
    if live.is_empty() && files.is_empty() {
        return Ok(base.metadata_location().to_owned());
    }
    if live.iter().any(manifest::has_deletes) {
        let what = format!("replacing the rows of table \"{}\" with row-level deletes", base.metadata_location());
        return Err(LakeError::Unsupported(what));
    }
    let mut draft = Draft::new(warehouse, base)?;
    let mut removed = entries(base, &live).await?;
    removed.retain(|entry| entry.is_alive());
    let minus = Change::of(removed.iter().map(|entry| &entry.data_file));
    let files: Vec<_> = files.into_iter().map(|file| file.data_file).collect();
    let plus = Change::of(&files);
    let operation = match files.is_empty() {
        true => Operation::Delete,
        false => Operation::Overwrite,
    };
    let mut new_files = Vec::new();
    if !files.is_empty() {
        draft.add(Contents::Added(files)).await?;
        let added = draft.added()[0].entries.iter();
        new_files = added.map(|entry| base.file(entry)).collect::<Result<_, _>>()?;
    }
    if !removed.is_empty() {
        draft.add(Contents::Deleted(removed)).await?;
    }
    draft.write(operation, plus, minus, Some(FileSet::new(new_files))).await
}
