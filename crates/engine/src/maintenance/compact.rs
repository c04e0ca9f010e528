//! Writing small files together, and files that have lost rows without these.
//!
//! Each group of files is a commit of its own, so a conflict costs one group, and what is done stays done.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use uuid::Uuid;
use wharf_lake::commit::Step;
use wharf_lake::maintain::{CompactionGroup, CompactionOptions, plan_compaction};
use wharf_lake::{LakeProvider, TableWriter, WriteOptions};
use wharf_values::{SqlError, SqlState};

use super::head;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_lake};
use crate::session::{Transaction, task_context};

/// What a compaction did.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    /// How many files went.
    pub(crate) rewritten_files: usize,
    /// How many came.
    pub(crate) added_files: usize,
    /// The size of those that went, in bytes.
    pub(crate) rewritten_bytes: u64,
    /// How many groups were given up since somebody else changed their files meanwhile.
    pub(crate) failed_groups: usize,
}

/// Compacts a table.
///
/// # Errors
/// `42P01` for a table that is gone, and what reading and writing can raise; groups that were written before stay.
pub(crate) async fn compact(
    engine: &Engine,
    state: &Arc<SessionState>,
    id: Uuid,
    options: &CompactionOptions,
) -> Result<Compacted, SqlError> {
    let base = head(engine, id).await?;
    let provider = base.rewritable().await.map_err(|error| from_lake(&error))?;
    let mut done = Compacted::default();
    for group in plan_compaction(&provider, options) {
        match rewrite(engine, state, id, &provider, &group, options).await {
            Ok(added) => {
                done.rewritten_files += group.files.len();
                done.rewritten_bytes += group.bytes;
                done.added_files += added;
            }
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE => done.failed_groups += 1,
            Err(error) => return Err(error),
        }
    }
    if done.rewritten_files + done.failed_groups > 0 {
        tracing::info!(
            table = %id,
            files = done.rewritten_files,
            bytes = done.rewritten_bytes,
            into = done.added_files,
            failed_groups = done.failed_groups,
            "data files rewritten"
        );
    }
    Ok(done)
}

/// Writes the rows of some files into new ones; gives the number of those.
async fn rewrite(
    engine: &Engine,
    state: &Arc<SessionState>,
    id: Uuid,
    provider: &LakeProvider,
    group: &CompactionGroup,
    options: &CompactionOptions,
) -> Result<usize, SqlError> {
    let files = provider.only(&group.files);
    let removed = files.removed_files().await.map_err(|error| from_lake(&error))?;
    let base = Arc::clone(provider.table());
    let columns = (0..base.columns().len()).collect();
    let source = provider_as_source(Arc::new(files) as _);
    let plan = LogicalPlanBuilder::scan("compacted", source, Some(columns)).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(from_datafusion)?;
    let physical = state.query_planner().create_physical_plan(&plan, state.as_ref()).await.map_err(from_datafusion)?;
    let mut rows = execute_stream(physical, task_context(state)).map_err(from_datafusion)?;

    let write_options = WriteOptions { target_file_bytes: options.target_file_bytes, ..WriteOptions::default() };
    let mut writer = TableWriter::new(&engine.warehouse, &base, write_options);
    while let Some(batch) = rows.next().await {
        let written = match batch.map_err(from_datafusion) {
            Ok(batch) => writer.write(batch).await.map_err(|error| from_lake(&error)),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    let added = writer.finish().await.map_err(|error| from_lake(&error))?;
    let count = added.len();
    let mut transaction = Transaction::new(false);
    transaction.step(engine, id, base.metadata_location(), Step::Overwrite { removed, added }).await?;
    transaction.commit(engine).await?;
    Ok(count)
}
