//! Overwrite: some files of the base give way to others.

use std::sync::Arc;

use super::delta::delta;
use crate::deletes::{RemovedFiles, RowDeletes};
use crate::error::LakeError;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use crate::write::WrittenFile;

/// Puts `added` in the place of data files; returns the location of the new metadata file. None when one of those files is not
/// in the base, or has lost rows since it was read: somebody else has been there.
///
/// # Errors
/// As [`append`](super::append()).
pub async fn overwrite(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    removed: &RemovedFiles,
    added: Vec<WrittenFile>,
) -> Result<Option<String>, LakeError> {
    delta(warehouse, base, removed, &RowDeletes::default(), added).await
}
