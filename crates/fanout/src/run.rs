//! Running a query on several nodes, and once more on others when one of them is lost.
//!
//! What always holds: as long as no row has left, the loss of other nodes is no error. The query begins anew on those that are left, a
//! few times, and then runs on its own node, which needs no other. Nor is it an error later, where whoever takes the rows does nothing
//! with them before it has them all, and lets go of them when it is told to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use url::Url;
use wharf_values::{SqlError, SqlState};

use crate::anew::anew;
use crate::eligible::Wanted;
use crate::explain::Ran;
use crate::fanout::{Fanout, Spread};
use crate::losses::Losses;
use crate::travelling::{self, Arrived, Lost, arrived};

/// What a query gives that may begin anew at any time.
#[derive(Debug)]
pub enum Given {
    /// Some of its rows.
    Rows(RecordBatch),
    /// It has begun anew: what it gave before is void, and will be given again.
    Anew,
}

/// A query under way.
struct Running {
    fanout: Arc<Fanout>,
    /// The plan for one node, of which others are made.
    whole: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    wanted: Wanted,
    rows: SendableRecordBatchStream,
    /// What is lost without its rows telling so.
    losses: Arc<Losses>,
    ran: Ran,
    lost: Vec<Url>,
    attempts_left: usize,
    /// A row has left: what begins anew would give it again.
    given: bool,
    /// Rows that have left are given back when the query begins anew.
    returns: bool,
}

impl Fanout {
    /// The rows of a plan that was divided. `whole` and `task` are what it was made of; should a node be lost before the first row is
    /// there, the plan is divided among the others, and is run whole when there are none. Beside the rows there is what knows how they
    /// were computed in the end.
    ///
    /// # Errors
    /// What the plan says before its first row.
    pub fn run(
        self: &Arc<Self>,
        spread: Spread,
        whole: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        wanted: Wanted,
    ) -> Result<(SendableRecordBatchStream, Ran)> {
        let schema: SchemaRef = whole.schema();
        let running = self.begin(spread, whole, task, wanted)?;
        let ran = running.ran.clone();
        let rows = running.stream().try_filter_map(|given| {
            future::ready(Ok(match given {
                Given::Rows(batch) => Some(batch),
                Given::Anew => None,
            }))
        });
        Ok((Box::pin(RecordBatchStreamAdapter::new(schema, rows)), ran))
    }

    /// The same for somebody who takes all rows before anything comes of them: the query begins anew also when a node is lost after
    /// rows were given, and says so.
    ///
    /// # Errors
    /// What the plan says before its first row.
    pub fn run_anew(
        self: &Arc<Self>,
        spread: Spread,
        whole: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        wanted: Wanted,
    ) -> Result<BoxStream<'static, Result<Given>>> {
        let running = self.begin(spread, whole, task, wanted)?;
        Ok(Running { returns: true, ..running }.stream().boxed())
    }

    fn begin(
        self: &Arc<Self>,
        spread: Spread,
        whole: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        wanted: Wanted,
    ) -> Result<Running> {
        let ran = Ran::new(&spread.plan, &spread.nodes);
        let losses = losses(&spread.task);
        Ok(Running {
            fanout: Arc::clone(self),
            whole,
            task,
            wanted,
            rows: execute_stream(spread.plan, spread.task)?,
            losses,
            ran,
            lost: Vec::new(),
            attempts_left: self.options().attempts.saturating_sub(1),
            given: false,
            returns: false,
        })
    }
}

impl Running {
    /// All that it gives, up to the first error.
    fn stream(self) -> impl Stream<Item = Result<Given>> + Send + 'static {
        stream::unfold(Some(self), |running| async move {
            let mut running = running?;
            match running.next().await {
                Some(Ok(given)) => Some((Ok(given), Some(running))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        })
    }

    async fn next(&mut self) -> Option<Result<Given>> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.rows.next() => next?,
                lost = self.losses.next() => Err(travelling::lost(lost)),
            };
            let error = match next {
                Ok(batch) => {
                    self.given |= batch.num_rows() > 0;
                    return Some(Ok(Given::Rows(batch)));
                }
                Err(error) => error,
            };
            match arrived(&error) {
                None => return Some(Err(error)),
                Some(Arrived::Sql(sql)) => return Some(Err(DataFusionError::External(Box::new(sql)))),
                Some(Arrived::Lost(lost)) => {
                    tracing::warn!(node = lost.node, reason = lost.reason, given = self.given, "a query lost a node");
                    let node = Url::parse(&lost.node).ok();
                    if let Some(node) = &node {
                        self.fanout.lost(node);
                    }
                    if self.given && !self.returns {
                        return Some(Err(DataFusionError::External(Box::new(failed(&lost)))));
                    }
                    self.lost.extend(node);
                    if let Err(error) = self.again().await {
                        return Some(Err(error));
                    }
                    if self.given {
                        self.given = false;
                        return Some(Ok(Given::Anew));
                    }
                }
            }
        }
    }

    async fn again(&mut self) -> Result<()> {
        // What the other nodes still do for the attempt that failed ends before the next one begins.
        self.rows = Box::pin(EmptyRecordBatchStream::new(self.whole.schema()));
        self.whole = anew(Arc::clone(&self.whole))?;
        if self.attempts_left > 0 {
            self.attempts_left -= 1;
            let spread = self.fanout.spread(&self.whole, &self.task, &self.wanted, &self.lost).await;
            if let Ok(spread) = spread {
                self.losses = losses(&spread.task);
                self.ran.again(&spread.plan, &spread.nodes);
                self.rows = execute_stream(spread.plan, spread.task)?;
                return Ok(());
            }
        }
        tracing::info!("a query that lost nodes runs on this one alone");
        self.losses = Arc::default();
        self.ran.again(&self.whole, &[]);
        self.rows = execute_stream(Arc::clone(&self.whole), Arc::clone(&self.task))?;
        Ok(())
    }
}

/// Where the losses of a query that runs in `task` are told.
fn losses(task: &TaskContext) -> Arc<Losses> {
    task.session_config().get_extension::<Losses>().unwrap_or_default()
}

/// What the client is told of a node that was lost.
fn failed(lost: &Lost) -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, lost.to_string())
        .with_detail("Some rows had been sent, so the query could not be begun again.")
        .with_hint("Run the statement again.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::catalog::memory::MemorySourceConfig;
    use datafusion::common::internal_err;
    use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
    use datafusion::prelude::SessionConfig;
    use wharf_lake::{Warehouse, WarehouseOptions};

    use super::*;
    use crate::eligible::Distribute;
    use crate::fanout::FanoutOptions;
    use crate::parts::QueryTag;
    use crate::vocabulary::{Vocabulary, WrittenOperator};

    /// The vocabulary of plans without functions.
    #[derive(Debug)]
    struct Speechless;

    impl Vocabulary for Speechless {
        fn write_scalar(&self, function: &ScalarUDF) -> Result<Vec<u8>> {
            internal_err!("{}", function.name())
        }
        fn read_scalar(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>> {
            internal_err!("{name}")
        }
        fn aggregate(&self, name: &str) -> Result<Arc<AggregateUDF>> {
            internal_err!("{name}")
        }
        fn window(&self, name: &str) -> Result<Arc<WindowUDF>> {
            internal_err!("{name}")
        }
        fn write_operator(&self, _: &Arc<dyn ExecutionPlan>) -> Result<Option<WrittenOperator>> {
            Ok(None)
        }
        fn read_operator(
            &self,
            _: &WrittenOperator,
            input: &Arc<dyn ExecutionPlan>,
            _: &SessionConfig,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            internal_err!("{}", input.name())
        }
        fn write_session(&self, _: &SessionConfig) -> Result<String> {
            Ok(String::new())
        }
        fn read_session(&self, _: &str, config: SessionConfig) -> Result<SessionConfig> {
            Ok(config)
        }
        fn sql_error(&self, error: DataFusionError) -> SqlError {
            match error {
                DataFusionError::ExecutionJoin(ended) => SqlError::new(SqlState::ADMIN_SHUTDOWN, ended.to_string()),
                error => SqlError::internal(error.to_string()),
            }
        }
    }

    fn batch(value: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    /// What comes of a query whose rows these were, and whose plan gives the row 7 on one node.
    async fn outcome(rows: Vec<Result<RecordBatch>>) -> Vec<Result<RecordBatch>> {
        outcome_of(Box::pin(stream::iter(rows)), Arc::default()).await
    }

    fn rows_of(given: Result<Given>) -> Result<RecordBatch> {
        given.map(|given| match given {
            Given::Rows(batch) => batch,
            Given::Anew => panic!("nobody would give rows back"),
        })
    }

    async fn outcome_of(
        rows: BoxStream<'static, Result<RecordBatch>>,
        losses: Arc<Losses>,
    ) -> Vec<Result<RecordBatch>> {
        let running = running(rows, losses);
        stream::unfold(running, |mut running| async move { Some((rows_of(running.next().await?), running)) })
            .collect()
            .await
    }

    /// A query whose rows these are, and whose plan gives the row 7 on one node.
    fn running(rows: BoxStream<'static, Result<RecordBatch>>, losses: Arc<Losses>) -> Running {
        let warehouse = Warehouse::open("memory://", WarehouseOptions::default()).unwrap();
        let options = FanoutOptions::default();
        let vocabulary = Arc::new(Speechless);
        let fanout = Fanout::new(vocabulary, warehouse, Arc::default(), Default::default(), options, Arc::default());
        let schema = batch(0).schema();
        let whole = MemorySourceConfig::try_new_exec(&[vec![batch(7)]], Arc::clone(&schema), None).unwrap();
        let whole: Arc<dyn ExecutionPlan> = whole;
        let ran = Ran::new(&whole, &[]);
        Running {
            fanout,
            whole,
            task: Arc::default(),
            wanted: Wanted {
                distribute: Distribute::On,
                min_bytes: 0,
                split_hot_keys: true,
                deadline: None,
                query: QueryTag::default(),
                measured: false,
            },
            rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            losses,
            ran,
            lost: Vec::new(),
            attempts_left: 0,
            given: false,
            returns: false,
        }
    }

    fn lost() -> DataFusionError {
        travelling::lost(Lost { node: "http://b/".to_owned(), reason: "gone".to_owned() })
    }

    #[tokio::test]
    async fn a_query_without_rows_begins_anew() {
        let empty = batch(0).slice(0, 0);
        let rows = outcome(vec![Ok(empty.clone()), Err(lost())]).await;
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        assert_eq!(rows, [empty, batch(7)]);
    }

    #[tokio::test]
    async fn a_loss_that_no_row_tells_of_is_heard() {
        let losses = Arc::new(Losses::default());
        losses.tell(Lost { node: "http://b/".to_owned(), reason: "the plan did not arrive".to_owned() });
        let rows = outcome_of(Box::pin(stream::pending()), losses).await;
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        assert_eq!(rows, [batch(7)]);
    }

    #[tokio::test]
    async fn a_part_whose_node_is_stopped_is_a_loss() {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        let ended = DataFusionError::ExecutionJoin(Box::new(task.await.unwrap_err()));
        let rows = outcome(vec![Err(travelling::departing(ended, &Speechless))]).await;
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        assert_eq!(rows, [batch(7)]);
    }

    #[tokio::test]
    async fn a_query_whose_rows_have_left_fails() {
        let rows = outcome(vec![Ok(batch(1)), Err(lost())]).await;
        assert_eq!(rows.len(), 2);
        let DataFusionError::External(error) = rows[1].as_ref().unwrap_err() else { panic!("{rows:?}") };
        let error = error.downcast_ref::<SqlError>().unwrap();
        assert_eq!((error.code, error.message.as_str()), (SqlState::ADMIN_SHUTDOWN, "node http://b/ was lost: gone"));
    }

    #[tokio::test]
    async fn rows_that_can_be_given_back_are_void_when_the_query_begins_anew() {
        let rows = stream::iter(vec![Ok(batch(1)), Ok(batch(2)), Err(lost())]);
        let running = Running { returns: true, ..running(Box::pin(rows), Arc::default()) };
        let mut kept = Vec::new();
        for given in running.stream().collect::<Vec<_>>().await {
            match given.unwrap() {
                Given::Rows(batch) => kept.push(batch),
                Given::Anew => kept.clear(),
            }
        }
        assert_eq!(kept, [batch(7)]);
    }

    #[tokio::test]
    async fn an_error_of_the_query_is_what_it_was() {
        let division = SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero").with_hint("Do not.");
        let departed = travelling::departing(DataFusionError::External(Box::new(division)), &Speechless);
        let rows = outcome(vec![Err(DataFusionError::Shared(Arc::new(departed)))]).await;
        let DataFusionError::External(error) = rows[0].as_ref().unwrap_err() else { panic!("{rows:?}") };
        // What the vocabulary has made of it.
        let error = error.downcast_ref::<SqlError>().unwrap();
        assert_eq!(error.code, SqlState::INTERNAL_ERROR);
        assert!(error.message.contains("division by zero"));
    }
}
