//! Replace: other files instead of all that the base has. TRUNCATE is to replace them by none, and to forget which files were loaded; a
//! change of columns may write all rows again.

use std::sync::Arc;

use iceberg::spec::Operation;

use super::append::{entries, group_of};
use super::snapshot::{Change, Draft};
use crate::error::LakeError;
use crate::files::FileSet;
use crate::loaded::TRUNCATED;
use crate::manifest::{self, Contents};
use crate::table::{LakeTable, ROWS_OF};
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
    instead(warehouse, base, files, None).await
}

/// The same for files with the rows that the base has, under other columns: the new snapshot says of which one it has the rows.
///
/// # Errors
/// As [`replace`].
pub(super) async fn rewrite(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    files: Vec<WrittenFile>,
) -> Result<String, LakeError> {
    instead(warehouse, base, files, base.snapshot_id().map(|id| (ROWS_OF, id.to_string()))).await
}

/// The same as TRUNCATE does it, also with what was written after: no file that was loaded before is loaded any more.
///
/// # Errors
/// As [`append`](super::append()).
pub async fn truncate(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    files: Vec<WrittenFile>,
) -> Result<String, LakeError> {
    let forgets = !base.loaded_digests().is_empty();
    instead(warehouse, base, files, forgets.then(|| (TRUNCATED, "true".to_owned()))).await
}

/// Replaces; `says` is what the summary of the new snapshot says of that. Nothing by nothing is no snapshot, but where it says that files
/// are forgotten.
async fn instead(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    files: Vec<WrittenFile>,
    says: Option<(&'static str, String)>,
) -> Result<String, LakeError> {
    let manifests = base.manifests().await?;
    let live: Vec<_> = manifests.iter().filter(|file| manifest::is_live(file)).cloned().collect();
    let forgets = matches!(says, Some((TRUNCATED, _)));
    if live.is_empty() && files.is_empty() && !forgets {
        return Ok(base.metadata_location().to_owned());
    }
    let mut draft = Draft::of_other_rows(warehouse, base)?;
    if let Some((name, value)) = says {
        draft.describe(name, value);
    }
    let mut removed = Vec::new();
    for file in &live {
        let alive = entries(base, std::slice::from_ref(file)).await?.into_iter().filter(|entry| entry.is_alive());
        removed.extend(alive.map(|entry| (group_of(file), entry)));
    }
    let minus = Change::of_entries(removed.iter().map(|(_, entry)| entry));
    let plus = Change::of(files.iter().map(|file| &file.data_file));
    let operation = match files.is_empty() {
        true => Operation::Delete,
        false => Operation::Overwrite,
    };
    let new_files = draft.add_files(files).await?;
    draft.add_groups(removed, Contents::Deleted).await?;
    draft.write(operation, plus, minus, Some(FileSet::new(new_files))).await
}
