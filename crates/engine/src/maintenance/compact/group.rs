//! One group of files: its rows are written into new ones, which take the place of the old ones in a commit of their own.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use uuid::Uuid;
use wharf_lake::commit::Step;
use wharf_lake::maintain::CompactionGroup;
use wharf_lake::{LakeProvider, TableWriter, WriteOptions};
use wharf_values::SqlError;

use super::Rewrite;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_lake};
use crate::files::progress::Progress;
use crate::optimize::physical_plan_of;
use crate::session::{Transaction, task_context};

/// Writes the rows of some files into new ones; gives the number of those.
pub(super) async fn rewrite(
    engine: &Engine,
    state: &Arc<SessionState>,
    id: Uuid,
    provider: &LakeProvider,
    group: &CompactionGroup,
    asked: &Rewrite,
    progress: &Progress,
) -> Result<usize, SqlError> {
    let files = provider.only(&group.files);
    let removed = files.removed_files().await.map_err(|error| from_lake(&error))?;
    let base = Arc::clone(provider.table());
    let columns = (0..base.columns().len()).collect();
    let source = provider_as_source(Arc::new(files) as _);
    let plan = LogicalPlanBuilder::scan("compacted", source, Some(columns)).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(from_datafusion)?;
    let physical = physical_plan_of(&plan, state).await?;
    let mut rows = execute_stream(physical, task_context(state)).map_err(from_datafusion)?;

    let write_options = WriteOptions {
        target_file_bytes: asked.options.target_file_bytes,
        order: asked.order.clone().unwrap_or_default(),
        runtime: Some(Arc::clone(engine.base.runtime_env())),
        ..WriteOptions::default()
    };
    let mut share = Share::new(group.bytes, group.rows);
    let mut writer = TableWriter::new(&engine.warehouse, &base, write_options);
    while let Some(batch) = rows.next().await {
        let written = match batch.map_err(from_datafusion) {
            Ok(batch) => {
                progress.rows(batch.num_rows() as u64);
                progress.read(share.of(batch.num_rows() as u64));
                writer.write(batch).await.map_err(|error| from_lake(&error))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    progress.read(share.rest());
    let added = writer.finish().await.map_err(|error| from_lake(&error))?;
    let count = added.len();
    let mut transaction = Transaction::new(false);
    transaction.step(engine, id, base.metadata_location(), Step::Rewrite { removed, added }).await?;
    transaction.commit(engine).await?;
    Ok(count)
}

/// How many bytes of a group the rows that came stand for: nobody counts those of the files while they are read.
struct Share {
    bytes: u64,
    rows: u64,
    told: u64,
    come: u64,
}

impl Share {
    fn new(bytes: u64, rows: u64) -> Share {
        Share { bytes, rows: rows.max(1), told: 0, come: 0 }
    }

    /// The bytes of more rows.
    fn of(&mut self, rows: u64) -> u64 {
        self.come = (self.come + rows).min(self.rows);
        let until = u128::from(self.bytes) * u128::from(self.come) / u128::from(self.rows);
        self.tell(u64::try_from(until).unwrap_or(self.bytes))
    }

    /// The bytes of rows that did not come, since they were deleted.
    fn rest(&mut self) -> u64 {
        self.tell(self.bytes)
    }

    fn tell(&mut self, until: u64) -> u64 {
        until - std::mem::replace(&mut self.told, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_once() {
        let mut share = Share::new(1000, 3);
        assert_eq!([share.of(1), share.of(1), share.rest(), share.rest()], [333, 333, 334, 0]);
        let mut more = Share::new(1000, 0);
        assert_eq!([more.of(7), more.of(7), more.rest()], [1000, 0, 0]);
    }
}
