//! What UPDATE, DELETE, MERGE and INSERT .. ON CONFLICT share: rows of a table change.
//!
//! The way: one query finds the rows, and says of each where it is, what happens to it and what it becomes. It runs once, so
//! whatever it computes is computed once for each row. New rows are written as they come, and the places of old ones
//! noted; then each file that has such places is written again without them ([`rewrite`](super::rewrite)), or the places
//! themselves are deleted ([`mode`](super::mode)). Other files are not touched. All of it sees one state of the tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use wharf_catalog::Table;
use wharf_lake::commit::Uncommitted;
use wharf_lake::{LakeProvider, RowPlaces, WrittenFile, failed_in_filter};
use wharf_values::{SqlError, SqlState};

use super::Command;
use super::inputs::Inputs;
use super::kept::KeptRows;
use super::keys::{Keys, Seen};
use super::mode::Mode;
use super::returning::{Returning, Running};
use super::rewrite::Rewrite;
use super::write::{Gone, Replaced, Target};
use crate::error::{from_datafusion, from_lake};
use crate::optimize::physical_plan;
use crate::session::{Session, task_context};

/// A planned statement that changes rows.
pub(crate) struct ChangePlan {
    pub(super) command: Command,
    pub(super) table: Arc<Table>,
    pub(super) provider: Arc<LakeProvider>,
    /// Finds the rows.
    pub(crate) found: LogicalPlan,
    pub(super) layout: Layout,
    /// What happens, by the number in the column that says it; of one there is no such column.
    pub(super) actions: Vec<Action>,
    /// The keys that new rows must not share.
    pub(super) keys: Option<Keys>,
    pub(super) returning: Option<Returning>,
}

/// The columns of the rows found, by their places.
pub(super) struct Layout {
    /// Of each column of the table, what the row becomes, or was where it is deleted; none where nobody asks.
    pub(super) row: Vec<Option<usize>>,
    /// The number of the file.
    pub(super) file: usize,
    /// The place in the file.
    pub(super) place: usize,
    /// The number of the action.
    pub(super) action: Option<usize>,
    /// What RETURNING reads, in its order.
    pub(super) returning: Vec<Value>,
}

/// Something that RETURNING reads.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Column(usize),
    /// `merge_action()`
    Action,
}

/// What happens to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Insert,
    Update,
    Delete,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::Nothing => "",
            Action::Insert => "INSERT",
            Action::Update => "UPDATE",
            Action::Delete => "DELETE",
        }
    }
}

/// What a statement did.
pub(crate) struct Changes {
    /// How many rows it changed.
    pub(crate) count: u64,
    /// The rows of its RETURNING clause.
    pub(crate) rows: Option<KeptRows>,
}

impl ChangePlan {
    /// Runs the statement.
    ///
    /// # Errors
    /// `40001` when somebody else has changed the same rows, `21000` for a row that would be changed twice, and what INSERT can
    /// raise.
    pub(crate) async fn run(&self, session: &mut Session, inputs: Inputs<'_>) -> Result<Changes, SqlError> {
        match self.attempt(session, inputs, true).await {
            Err(Failure::OfFilter) => self.attempt(session, inputs, false).await.map_err(Failure::into_error),
            result => result.map_err(Failure::into_error),
        }
    }

    /// Runs it; `early` says whether rows are left out while files are read. Then columns that no condition needs are read for the
    /// rows found alone; but the reader keeps of a condition that fails only its text.
    async fn attempt(&self, session: &mut Session, inputs: Inputs<'_>, early: bool) -> Result<Changes, Failure> {
        let catalog = session.catalog().await?;
        let state = session.execution_state(&catalog);
        let plan = inputs.put(self.found.clone())?;
        let returning = self.returning.as_ref().map(|returning| returning.start(&state, inputs)).transpose()?;
        let mut pass = Pass {
            plan: self,
            target: Target::open(session, &self.table).await?,
            returning,
            places: RowPlaces::default(),
            seen: self.keys.as_ref().map(|keys| keys.seen(&state)).transpose()?,
            count: 0,
        };
        // Files that are complete and not of the target's writer: gone, unless they are committed.
        let mut uncommitted = Uncommitted::new(&session.engine.warehouse);
        let written = async {
            let mut rows = stream(&plan, &finding(&state, early)).await?;
            while let Some(batch) = rows.next().await {
                pass.take(&batch.map_err(|error| Failure::of_reading(error, early))?).await?;
            }
            let rows = match pass.returning.take() {
                Some(returning) => Some(returning.finish(&state).await?),
                None => None,
            };
            let (gone, rewritten) = pass.take_out(&state, &mut uncommitted).await?;
            Ok::<_, Failure>((gone, rewritten, rows))
        }
        .await;
        let Pass { target, count, .. } = pass;
        let (gone, rewritten, rows) = match written {
            Ok(written) => written,
            Err(error) => {
                target.abort().await;
                return Err(error);
            }
        };
        let (_, mut files) = target.into_files().await?;
        uncommitted.let_go(&rewritten);
        files.extend(rewritten);
        let alone = self.keys.as_ref().map(|_| self.provider.table().snapshot_id());
        Replaced { gone, added: files, alone }.commit(session, &self.table).await?;
        Ok(Changes { count, rows })
    }
}

/// Why a run of a statement has failed.
enum Failure {
    /// A condition, while a file was read; what it said is lost.
    OfFilter,
    Other(SqlError),
}

impl Failure {
    fn of_reading(error: DataFusionError, early: bool) -> Failure {
        match early && failed_in_filter(&error) {
            true => Failure::OfFilter,
            false => Failure::Other(from_datafusion(error)),
        }
    }

    fn into_error(self) -> SqlError {
        match self {
            Failure::OfFilter => SqlError::internal("a condition has failed while a file was read"),
            Failure::Other(error) => error,
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        Failure::Other(error)
    }
}

/// What the query that finds the rows runs in.
fn finding(state: &Arc<SessionState>, early: bool) -> Arc<SessionState> {
    if !early {
        return Arc::clone(state);
    }
    let mut state = SessionState::clone(state);
    state.config_mut().options_mut().execution.parquet.pushdown_filters = true;
    Arc::new(state)
}

/// One run of a statement.
struct Pass<'a> {
    plan: &'a ChangePlan,
    target: Target,
    returning: Option<Running>,
    /// The rows that are no longer as they were.
    places: RowPlaces,
    /// The keys of the rows written.
    seen: Option<Seen>,
    count: u64,
}

/// The rows of a batch that something happens to.
#[derive(Default)]
struct Acted {
    /// Those that are written.
    written: Vec<u32>,
    /// All of them.
    all: Vec<u32>,
    actions: Vec<Action>,
}

impl Pass<'_> {
    /// Takes rows that were found.
    async fn take(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let acted = self.choose(batch)?;
        self.count += acted.all.len() as u64;
        if !acted.written.is_empty() {
            let rows = Picked::new(batch, &acted.written);
            let columns = self.plan.layout.row.iter().map(|column| match column {
                Some(column) => rows.column(*column),
                None => Err(SqlError::internal("a row is written without one of its columns")),
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            self.target.write(columns).await?;
        }
        if let Some(returning) = &mut self.returning {
            let rows = Picked::new(batch, &acted.all);
            let columns = self.plan.layout.returning.iter().map(|value| match value {
                Value::Column(column) => rows.column(*column),
                Value::Action => {
                    let names = acted.actions.iter().map(|action| Some(action.name()));
                    Ok(Arc::new(names.collect::<arrow::array::StringViewArray>()) as ArrayRef)
                }
            });
            returning.take(columns.collect::<Result<_, _>>()?, acted.all.len())?;
        }
        Ok(())
    }

    /// Says what happens to which of the rows.
    fn choose(&mut self, batch: &RecordBatch) -> Result<Acted, SqlError> {
        let layout = &self.plan.layout;
        let integers = |column: usize| {
            let column = batch.column(column).as_primitive_opt::<Int64Type>();
            column.ok_or_else(|| SqlError::internal("the place of a row is two integers"))
        };
        let (files, places) = (integers(layout.file)?, integers(layout.place)?);
        let actions = match layout.action {
            Some(column) => {
                let column = batch.column(column).as_primitive_opt::<Int32Type>();
                Some(column.ok_or_else(|| SqlError::internal("the number of an action is an integer"))?)
            }
            None => None,
        };
        let mut repeats = match &mut self.seen {
            Some(seen) => Some(seen.batch(batch, &layout.row)?),
            None => None,
        };
        let mut acted = Acted::default();
        for row in 0..batch.num_rows() {
            let number = actions.map_or(0, |actions| actions.value(row));
            let action = usize::try_from(number).ok().and_then(|number| self.plan.actions.get(number));
            let action = action.copied().unwrap_or(Action::Nothing);
            if action == Action::Nothing {
                continue;
            }
            if action != Action::Insert && !self.places.insert(files.value(row), places.value(row)) {
                if self.plan.command.takes_first() {
                    continue;
                }
                return Err(self.plan.command.second_time());
            }
            if let Some(repeats) = &mut repeats
                && action != Action::Delete
                && repeats.is_repeated(row)?
            {
                if self.plan.command.takes_first() {
                    continue;
                }
                return Err(self.plan.command.second_time());
            }
            let row = u32::try_from(row).map_err(|error| SqlError::internal(error.to_string()))?;
            if action != Action::Delete {
                acted.written.push(row);
            }
            acted.all.push(row);
            acted.actions.push(action);
        }
        Ok(acted)
    }

    /// Takes the changed rows out of the table: some of the files that have them are written again without them. Gives what goes, and
    /// the files that come beside those of `target`.
    async fn take_out(
        &mut self,
        state: &Arc<SessionState>,
        uncommitted: &mut Uncommitted,
    ) -> Result<(Gone, Vec<WrittenFile>), SqlError> {
        let provider = &self.plan.provider;
        let touched = provider.touched(&self.places).await.map_err(|error| from_lake(&error))?;
        let ways = Mode::of(self.plan.command, provider.table()).divide(&touched);
        let places = Arc::new(std::mem::take(&mut self.places));
        let rewritten: Vec<_> = touched.into_iter().filter(|file| ways.rewritten.contains(&file.number)).collect();
        let rewrite = Rewrite { provider: Arc::clone(provider), gone: Arc::clone(&places), state: Arc::clone(state) };
        let written = rewrite.run(&rewritten, &mut self.target, uncommitted).await?;
        let files = provider.only(&ways.rewritten).removed_files().await.map_err(|error| from_lake(&error))?;
        Ok((Gone { files, rows: provider.row_deletes(&places, &ways.kept) }, written))
    }
}

/// Some rows of a batch.
struct Picked<'a> {
    batch: &'a RecordBatch,
    /// None: all of them.
    rows: Option<UInt32Array>,
}

impl<'a> Picked<'a> {
    fn new(batch: &'a RecordBatch, rows: &[u32]) -> Picked<'a> {
        Picked { batch, rows: (rows.len() < batch.num_rows()).then(|| UInt32Array::from(rows.to_vec())) }
    }

    fn column(&self, index: usize) -> Result<ArrayRef, SqlError> {
        let column = self.batch.column(index);
        match &self.rows {
            Some(rows) => take(column, rows, None).map_err(|error| SqlError::internal(error.to_string())),
            None => Ok(Arc::clone(column)),
        }
    }
}

/// Starts a plan.
pub(super) async fn stream(
    plan: &LogicalPlan,
    state: &Arc<SessionState>,
) -> Result<SendableRecordBatchStream, SqlError> {
    let physical = physical_plan(plan, state).await?;
    execute_stream(physical, task_context(state)).map_err(from_datafusion)
}

/// Can the plan give other rows when it is run again over the same tables?
pub(super) fn is_volatile(plan: &LogicalPlan) -> bool {
    let mut volatile = false;
    // The closures cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    volatile |= call.func.signature().volatility == Volatility::Volatile;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    volatile
}

/// `21000`
pub(super) fn second_time(command: &str, hint: &str) -> SqlError {
    let message = format!("{command} command cannot affect row a second time");
    SqlError::new(SqlState::CARDINALITY_VIOLATION, message).with_hint(hint)
}
