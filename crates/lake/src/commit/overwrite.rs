//! Overwrite: some files of the base give way to others.

use std::sync::Arc;

use iceberg::spec::Operation;

use super::delta::{delta, delta_called};
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

/// The same for files that have the same rows: other engines that follow what changes in a table pass over such a snapshot
/// (`replace`).
///
/// # Errors
/// As [`append`](super::append()).
pub(super) async fn rewrite(
    warehouse: &Arc<Warehouse>,
    base: &Arc<LakeTable>,
    removed: &RemovedFiles,
    added: Vec<WrittenFile>,
) -> Result<Option<String>, LakeError> {
    delta_called(Operation::Replace, warehouse, base, removed, &RowDeletes::default(), added).await
}
