//! Writing small files together, and files that have lost rows without these.
//!
//! Each group of files is a commit of its own, so a conflict costs one group, and what is done stays done. Rows that are to have an order
//! are sorted as they are written, group by group, in the memory of queries and on the disk they spill to.
//!
//! In a cluster the nodes that take part in queries help where there is much to do: whichever has time takes the next group, writes it
//! anew and commits it by itself.

mod elsewhere;
mod group;

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use futures::future::{try_join, try_join_all};
use parking_lot::Mutex;
use uuid::Uuid;
use wharf_lake::LakeProvider;
use wharf_lake::maintain::{CompactionGroup, CompactionOptions, plan_compaction};
use wharf_lake::partition::SortTerm;
use wharf_values::{SqlError, SqlState};

use super::head;
use crate::engine::Engine;
use crate::error::from_lake;
use crate::files::progress::Progress;
use crate::helpers::Helper;

use group::rewrite;

/// What a compaction is to do.
#[derive(Debug, Default)]
pub(crate) struct Rewrite {
    pub(crate) options: CompactionOptions,
    /// The order that rows are to be brought in, empty: that of the table; none: that of the table if it has one.
    pub(crate) order: Option<Vec<SortTerm>>,
    /// Other nodes help where so many bytes are to be written anew; none: they do not.
    pub(crate) helped_from_bytes: Option<u64>,
    /// The statement that it is for; none: the background's.
    pub(crate) query_id: Option<Uuid>,
}

/// What a compaction did.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    /// How many groups of files were written anew.
    pub(crate) groups: usize,
    /// How many files went.
    pub(crate) rewritten_files: usize,
    /// How many came.
    pub(crate) added_files: usize,
    /// The size of those that went, in bytes.
    pub(crate) rewritten_bytes: u64,
    /// How many groups were given up since somebody else changed their files meanwhile.
    pub(crate) failed_groups: usize,
    /// How many groups other nodes have written anew.
    groups_elsewhere: usize,
}

/// Compacts a table; `progress` has the files that go.
///
/// # Errors
/// `42P01` for a table that is gone, `22023` for one without the order that it is to have, and what reading and writing can raise; groups that were written before stay.
pub(crate) async fn compact(
    engine: &Engine,
    state: &Arc<SessionState>,
    id: Uuid,
    asked: &Rewrite,
    progress: &Progress,
) -> Result<Compacted, SqlError> {
    let base = head(engine, id).await?;
    if asked.order.as_ref().is_some_and(Vec::is_empty) && !base.has_order() {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "the table has no sort order")
            .with_hint("Give sort_order => 'column, ..', or set an order with ALTER TABLE .. WRITE ORDERED BY."));
    }
    let provider = base.rewritable().await.map_err(|error| from_lake(&error))?;
    let groups = plan_compaction(&provider, &asked.options);
    let bytes = groups.iter().map(|group| group.bytes).sum();
    progress.total(groups.iter().map(|group| group.files.len() as u64).sum(), bytes);
    let helped = groups.len() > 1 && asked.helped_from_bytes.is_some_and(|least| bytes >= least);
    let helpers = if helped { Helper::all(engine, asked.query_id) } else { Vec::new() };
    let (waiting, done) = (Mutex::new(groups.into()), Mutex::default());
    let work = Work { engine, state, id, provider: &provider, asked, progress, waiting, done };
    let elsewhere = try_join_all(helpers.iter().map(|helper| work.elsewhere(helper)));
    try_join(work.here(), elsewhere).await?;
    // What was given to nodes that were lost.
    work.here().await?;
    let done = work.done.into_inner();
    if done.rewritten_files + done.failed_groups > 0 {
        tracing::info!(
            table = %id,
            files = done.rewritten_files,
            bytes = done.rewritten_bytes,
            into = done.added_files,
            failed_groups = done.failed_groups,
            groups_elsewhere = done.groups_elsewhere,
            "data files rewritten"
        );
    }
    Ok(done)
}

/// A compaction under way.
struct Work<'a> {
    engine: &'a Engine,
    state: &'a Arc<SessionState>,
    id: Uuid,
    provider: &'a LakeProvider,
    asked: &'a Rewrite,
    progress: &'a Progress,
    waiting: Mutex<VecDeque<CompactionGroup>>,
    done: Mutex<Compacted>,
}

impl Work<'_> {
    /// This node's share.
    async fn here(&self) -> Result<(), SqlError> {
        while let Some(group) = self.next() {
            let Work { engine, state, id, provider, asked, progress, .. } = *self;
            let added = rewrite(engine, state, id, provider, &group, asked, progress).await;
            self.note(&group, added)?;
        }
        Ok(())
    }

    /// Another node's share. One that is lost, or has too much to do, gets no further group, and leaves the one that it had.
    async fn elsewhere(&self, helper: &Helper) -> Result<(), SqlError> {
        while let Some(group) = self.next() {
            match elsewhere::rewrite_at(helper, self.id, self.provider, &group, self.asked).await {
                Ok(added) => {
                    if added.is_ok() {
                        self.progress.read(group.bytes);
                        self.progress.rows(group.rows);
                        self.done.lock().groups_elsewhere += 1;
                    }
                    self.note(&group, added)?;
                }
                Err(reason) => {
                    tracing::info!(node = helper.address(), reason, "a node does not help to rewrite data files");
                    self.waiting.lock().push_back(group);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<CompactionGroup> {
        self.waiting.lock().pop_front()
    }

    /// What has become of a group: how many files it is now.
    fn note(&self, group: &CompactionGroup, added: Result<usize, SqlError>) -> Result<(), SqlError> {
        let mut done = self.done.lock();
        match added {
            Ok(added) => {
                (0..group.files.len()).for_each(|_| self.progress.file_done());
                done.groups += 1;
                done.rewritten_files += group.files.len();
                done.rewritten_bytes += group.bytes;
                done.added_files += added;
            }
            Err(error) if error.code == SqlState::SERIALIZATION_FAILURE => done.failed_groups += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
