//! The rows of a query into a table: by the node of the session, or by all nodes that compute them.
//!
//! What always holds: where several nodes compute the rows, each brings its own to the table's types, checks and writes them, as far as
//! the plan can be divided with that in it. Else this node writes what comes. In both cases the files are the statement's, and count
//! when it commits. Files of nodes count only when all of them are told of: when a node is lost before that, those that were told of are
//! removed, and the query begins anew.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, SendableRecordBatchStream, execute_stream,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use wharf_fanout::Given;
use wharf_lake::commit::Uncommitted;
use wharf_lake::{WriteFilesExec, WrittenFile, written_files};
use wharf_values::SqlError;

use super::checked_rows::CheckRowsExec;
use super::checks::Checks;
use super::write::Target;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_lake};
use crate::optimize::physical_plan;
use crate::session::{Session, task_context};

/// What nodes have to know of a table to write its files.
struct Filled {
    checks: Arc<Checks>,
    /// Of the state that the files are written for.
    metadata_location: String,
}

/// What a query gives that fills a table.
enum Filling {
    /// Its rows.
    Rows(SendableRecordBatchStream),
    /// Files, which nodes have written.
    Files(BoxStream<'static, datafusion::error::Result<Given>>),
}

impl Session {
    /// Writes the rows of a query, which has the table's columns in their order. After an error the target is good for nothing but to
    /// be aborted.
    ///
    /// # Errors
    /// `23502`, `23514`, what the query raises, and what the lake says.
    pub(crate) async fn fill(
        &self,
        target: &mut Target,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> Result<(), SqlError> {
        let checks = Arc::clone(target.checks());
        let filled = Filled { checks, metadata_location: target.metadata_location().to_owned() };
        match self.start_filling(&filled, plan, state).await? {
            Filling::Rows(mut rows) => {
                while let Some(batch) = rows.next().await {
                    target.write(batch.map_err(from_datafusion)?.columns().to_vec()).await?;
                }
            }
            Filling::Files(given) => target.take(all_files(&self.engine, given).await?),
        }
        Ok(())
    }

    async fn start_filling(
        &self,
        filled: &Filled,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> Result<Filling, SqlError> {
        let span = self.span("plan");
        let rows = physical_plan(plan, state).await?;
        drop(span);
        let (engine, task) = (&self.engine, task_context(state));
        if engine.fanout.nodes() < 2 {
            return execute_stream(rows, task).map(Filling::Rows).map_err(from_datafusion);
        }
        let limits = self.limits();
        let wanted = self.wanted(&limits);
        let files = over_files(engine, filled, Arc::clone(&rows)).map_err(from_datafusion)?;
        let spread = Box::pin(engine.spread(&files, &task, &wanted, &limits)).await?;
        if let Ok(spread) = spread
            && spread.has(|operator| operator.is::<WriteFilesExec>())
        {
            let given = engine.fanout.run_anew(spread, files, task, wanted).map_err(from_datafusion)?;
            return Ok(Filling::Files(given));
        }
        // What cannot travel may be a condition of the table: the rows may be computed on several nodes all the same.
        Box::pin(engine.start(rows, task, wanted, &limits)).await.map(Filling::Rows)
    }
}

/// What gives the files of rows. Fan-out knows scalar subqueries at the top of a plan, so they stay there.
fn over_files(
    engine: &Engine,
    filled: &Filled,
    rows: Arc<dyn ExecutionPlan>,
) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    if rows.is::<ScalarSubqueryExec>() {
        let mut children: Vec<_> = rows.children().into_iter().cloned().collect();
        if let Some(main) = children.first_mut() {
            *main = over_files(engine, filled, Arc::clone(main))?;
        }
        return rows.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute));
    }
    let checked = Arc::new(CheckRowsExec::new(rows, Arc::clone(&filled.checks)));
    let written = WriteFilesExec::new(checked, Arc::clone(&engine.warehouse), filled.metadata_location.clone());
    // Where rows are gathered is where plans are divided: each node writes its own below this.
    Ok(Arc::new(CoalescePartitionsExec::new(Arc::new(written))))
}

/// The files of a query that may begin anew.
async fn all_files(
    engine: &Engine,
    mut given: BoxStream<'static, datafusion::error::Result<Given>>,
) -> Result<Vec<WrittenFile>, SqlError> {
    let mut told = Told::new(engine);
    while let Some(next) = given.next().await {
        match next.map_err(from_datafusion)? {
            Given::Rows(rows) => {
                // As much as their descriptions take, though they are not kept as that.
                let grown = told.memory.try_grow(rows.get_array_memory_size());
                let files = written_files(&rows).map_err(|error| from_lake(&error))?;
                told.guard.add_files(&files);
                told.files.extend(files);
                grown.map_err(from_datafusion)?;
            }
            Given::Anew => told = Told::new(engine),
        }
    }
    let Told { files, mut guard, .. } = told;
    guard.let_go(&files);
    Ok(files)
}

/// The files that were told of so far, which are removed when this is dropped.
struct Told {
    files: Vec<WrittenFile>,
    guard: Uncommitted,
    memory: MemoryReservation,
}

impl Told {
    fn new(engine: &Engine) -> Told {
        let pool = &engine.base.runtime_env().memory_pool;
        Told {
            files: Vec::new(),
            guard: Uncommitted::new(&engine.warehouse),
            memory: MemoryConsumer::new("files of other nodes").register(pool),
        }
    }
}
