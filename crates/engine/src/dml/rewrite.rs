//! Copy-on-write: what is left of data files is written again.
//!
//! Files are taken in groups of about the size that a file should have, each by a writer of its own, a few at the same time. What always
//! holds: rows of a group stay in their order, so that bounds of files and row groups tell as much as before; the first group shares its
//! writer with the new rows, so that a small table stays one file.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::{StreamExt, TryStreamExt};
use wharf_lake::commit::Uncommitted;
use wharf_lake::{LakeProvider, RowPlaces, TableWriter, TouchedFile, WrittenFile};
use wharf_values::SqlError;

use super::write::Target;
use crate::error::{from_datafusion, from_join, from_lake};
use crate::session::task_context;

/// About how many bytes of files are written again by one writer.
const GROUP_BYTES: u64 = 128 * 1024 * 1024;
/// How many writers there are at the same time, at most; each keeps up to three row groups in memory.
const MOST_WRITERS: usize = 4;

/// Files to be written again.
pub(super) struct Rewrite {
    pub(super) provider: Arc<LakeProvider>,
    /// The rows that are left out.
    pub(super) gone: Arc<RowPlaces>,
    pub(super) state: Arc<SessionState>,
}

impl Rewrite {
    /// Writes them. The rows of the first ones go to `target`; gives the files that have those of the others, which are in
    /// `uncommitted`, too.
    ///
    /// # Errors
    /// What reading and writing can raise.
    pub(super) async fn run(
        self,
        files: &[TouchedFile],
        target: &mut Target,
        uncommitted: &mut Uncommitted,
    ) -> Result<Vec<WrittenFile>, SqlError> {
        let mut groups = groups(files).into_iter();
        let Some(first) = groups.next() else { return Ok(Vec::new()) };
        let writers = self.state.config().target_partitions().clamp(1, MOST_WRITERS);
        let waiting: Vec<_> = groups.map(|group| (group, target.new_writer())).collect();
        let this = Arc::new(self);
        let others = futures::stream::iter(waiting).map(|(group, writer)| {
            let this = Arc::clone(&this);
            async move {
                let task = SpawnedTask::spawn(async move { this.write(&group, writer).await });
                task.join().await.map_err(|error| from_join(&error))?
            }
        });
        let mut written = Vec::new();
        let others = others.buffer_unordered(writers).try_for_each(|files| {
            uncommitted.add_files(&files);
            written.extend(files);
            futures::future::ready(Ok(()))
        });
        let first = async {
            let mut rows = this.rows(&first).await?;
            while let Some(batch) = rows.next().await {
                target.keep(this.left(batch)?).await?;
            }
            Ok::<(), SqlError>(())
        };
        futures::try_join!(first, others)?;
        Ok(written)
    }

    /// Writes what is left of some files by a writer of their own.
    async fn write(&self, files: &BTreeSet<i64>, mut writer: TableWriter) -> Result<Vec<WrittenFile>, SqlError> {
        let mut rows = self.rows(files).await?;
        while let Some(batch) = rows.next().await {
            let schema = self.provider.table().schema();
            let batch = RecordBatch::try_new(schema, self.left(batch)?);
            let batch = batch.map_err(|error| SqlError::internal(error.to_string()))?;
            if let Err(error) = writer.write(batch).await {
                writer.abort().await;
                return Err(from_lake(&error));
            }
        }
        writer.finish().await.map_err(|error| from_lake(&error))
    }

    /// The rows of some files in their order.
    async fn rows(&self, files: &BTreeSet<i64>) -> Result<SendableRecordBatchStream, SqlError> {
        let config = self.state.config().clone().with_target_partitions(1);
        let state =
            SessionStateBuilder::new_from_existing(SessionState::clone(&self.state)).with_config(config).build();
        let scan = self.provider.only(files).scan(&state, None, &[], None).await.map_err(from_datafusion)?;
        execute_stream(scan, task_context(&self.state)).map_err(from_datafusion)
    }

    /// The columns of the rows that stay.
    fn left(&self, batch: datafusion::error::Result<RecordBatch>) -> Result<Vec<ArrayRef>, SqlError> {
        let batch = batch.map_err(from_datafusion)?;
        let width = batch.num_columns() - 2;
        let integers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
        let left = self.gone.others(integers(width), integers(width + 1));
        let batch = filter_record_batch(&batch, &left).map_err(|error| SqlError::internal(error.to_string()))?;
        Ok(batch.columns()[..width].to_vec())
    }
}

/// Files in groups, in their order.
fn groups(files: &[TouchedFile]) -> Vec<BTreeSet<i64>> {
    let mut groups: Vec<BTreeSet<i64>> = Vec::new();
    let mut bytes = 0;
    for file in files.iter().filter(|file| file.left() > 0) {
        match groups.last_mut() {
            Some(group) if bytes + file.size_bytes <= GROUP_BYTES => {
                group.insert(file.number);
                bytes += file.size_bytes;
            }
            _ => {
                groups.push(BTreeSet::from([file.number]));
                bytes = file.size_bytes;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_have_rows_left_are_written_together_up_to_a_size() {
        let file = |number, size_bytes, touched| TouchedFile { number, size_bytes, rows: 10, deleted: 1, touched };
        let half = GROUP_BYTES / 2;
        let files = [file(0, half, 1), file(1, 1, 9), file(2, half, 8), file(3, 1, 1), file(4, 2 * GROUP_BYTES, 1)];
        assert_eq!(groups(&files), [BTreeSet::from([0, 2]), BTreeSet::from([3]), BTreeSet::from([4])]);
        assert!(groups(&files[1..2]).is_empty());
    }
}
