//! Can the rows that somebody has read of a table have changed since? For transactions that must be serializable.
//!
//! The answer may be yes without need, never no without right: what cannot be decided has changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion_pruning::PruningPredicateBuilder;
use iceberg::spec::Operation;

use super::prune::{Bounds, Files};
use crate::deletes::DeleteKey;
use crate::error::LakeError;
use crate::files::LakeFile;
use crate::table::LakeTable;

/// May the rows for which one of the conditions is true be others in `now` than in `before`? The conditions are over the
/// columns of `before`.
///
/// # Errors
/// Manifests that cannot be read.
pub async fn may_have_changed(
    before: &Arc<LakeTable>,
    now: &Arc<LakeTable>,
    conditions: &[Arc<dyn PhysicalExpr>],
) -> Result<bool, LakeError> {
    if before.columns() != now.columns() {
        return Ok(true);
    }
    if only_rewritten(before, now) {
        return Ok(false);
    }
    let (old, new) = (before.files().await?, now.files().await?);
    let (old_keys, new_keys) = (keys(&old.files), keys(&new.files));
    let unlike = |files: &[Arc<LakeFile>], others: &HashMap<&str, HashSet<DeleteKey>>| -> Vec<Arc<LakeFile>> {
        let differs = |file: &&Arc<LakeFile>| others.get(file.location()) != Some(&deletes(file));
        files.iter().filter(differs).cloned().collect()
    };
    let mut changed = unlike(&old.files, &new_keys);
    changed.extend(unlike(&new.files, &old_keys));
    let schema = before.schema();
    Ok(!changed.is_empty() && conditions.iter().any(|condition| may_match(&changed, &schema, condition)))
}

/// Are all snapshots since `before` the same rows in other files, as compaction leaves them?
fn only_rewritten(before: &LakeTable, now: &LakeTable) -> bool {
    let mut id = now.snapshot_id();
    while id != before.snapshot_id() {
        let Some(snapshot) = id.and_then(|id| now.metadata().snapshot_by_id(id)) else { return false };
        if snapshot.summary().operation != Operation::Replace {
            return false;
        }
        id = snapshot.parent_snapshot_id();
    }
    true
}

fn keys(files: &[Arc<LakeFile>]) -> HashMap<&str, HashSet<DeleteKey>> {
    files.iter().map(|file| (file.location(), deletes(file))).collect()
}

fn deletes(file: &LakeFile) -> HashSet<DeleteKey> {
    let Some(deletes) = &file.deletes else { return HashSet::new() };
    let files = deletes.vector.iter().chain(&deletes.positions).chain(&deletes.equality);
    files.map(|delete| delete.key()).collect()
}

fn may_match(files: &[Arc<LakeFile>], schema: &SchemaRef, condition: &Arc<dyn PhysicalExpr>) -> bool {
    let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(Arc::clone(condition));
    let Some(predicate) = predicate else { return true };
    predicate
        .prune(&Files { table: None, files, schema, bounds: &Bounds::default() })
        .map_or(true, |keep| keep.contains(&true))
}
