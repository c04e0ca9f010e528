//! Running a query on several nodes, and once more on others when one of them is lost, or has too little memory or disk for its part.
//!
//! What always holds:
//! - As long as no row has left, the loss of other nodes is no error, nor is their lack of memory or disk. The query begins anew on those
//!   that are left, a few times, and then runs on its own node, which needs no other. Nor is it an error later, where whoever takes the rows
//!   does nothing with them before it has them all, and lets go of them when it is told to.
//! - A node that was lost is better left out by all queries for a while; one with too little memory or disk by this query alone.
//! - A query does not run alone on its own node if a part of it has found too little there: that is the statement's error.

use std::sync::Arc;
use std::time::Duration;

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
use crate::travelling::{self, Arrived, Lost, Short, arrived};

/// How long a query waits before it begins anew for want of memory or disk: what its parts have is given back only when they hear
/// that they are over.
const GIVEN_BACK: Duration = Duration::from_millis(200);

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
    /// The nodes that were lost, or had too little.
    without: Vec<Url>,
    /// What a part of it on its own node has lacked.
    lacking_here: Option<SqlError>,
    attempts_left: usize,
    /// A row has left: what begins anew would give it again.
    given: bool,
    /// Rows that have left are given back when the query begins anew.
    returns: bool,
}

impl Fanout {
    /// The rows of a plan that was divided. `whole` and `task` are what it was made of; should a node be lost, or have too little
    /// memory or disk, before the first row is there, the plan is divided among the others, and is run whole when there are none.
    /// Beside the rows there is what knows how they were computed in the end.
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

    /// The same for somebody who takes all rows before anything comes of them: the query begins anew also when that happens after
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
            without: Vec::new(),
            lacking_here: None,
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
                Some(Arrived::Sql(sql)) => return Some(Err(statements(sql))),
                Some(Arrived::Lost(lost)) => {
                    tracing::warn!(node = lost.node, reason = lost.reason, given = self.given, "a query lost a node");
                    let node = Url::parse(&lost.node).ok();
                    if let Some(node) = &node {
                        self.fanout.lost(node);
                    }
                    if self.given && !self.returns {
                        return Some(Err(statements(failed(&lost))));
                    }
                    self.without.extend(node);
                    self.stop();
                }
                Some(Arrived::Short(short)) => {
                    let reason = &short.error.message;
                    tracing::warn!(
                        node = short.node,
                        reason,
                        given = self.given,
                        "a part of a query lacks room on its node"
                    );
                    if self.given && !self.returns {
                        return Some(Err(statements(cut_short(short))));
                    }
                    let node = Url::parse(&short.node).ok();
                    if node.as_ref().is_some_and(|node| self.fanout.is_own(node)) {
                        self.lacking_here = Some(short.error);
                    }
                    self.without.extend(node);
                    self.stop();
                    tokio::time::sleep(GIVEN_BACK).await;
                }
            }
            if let Err(error) = self.again().await {
                return Some(Err(error));
            }
            if self.given {
                self.given = false;
                return Some(Ok(Given::Anew));
            }
        }
    }

    /// Ends what the other nodes still do for the attempt that failed.
    fn stop(&mut self) {
        self.rows = Box::pin(EmptyRecordBatchStream::new(self.whole.schema()));
    }

    async fn again(&mut self) -> Result<()> {
        self.whole = anew(Arc::clone(&self.whole))?;
        if self.attempts_left > 0 {
            self.attempts_left -= 1;
            let spread = self.fanout.spread(&self.whole, &self.task, &self.wanted, &self.without).await;
            if let Ok(spread) = spread {
                self.losses = losses(&spread.task);
                self.ran.again(&spread.plan, &spread.nodes);
                self.rows = execute_stream(spread.plan, spread.task)?;
                return Ok(());
            }
        }
        if let Some(error) = self.lacking_here.take() {
            return Err(statements(error));
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

/// An error of the statement on its way to the session.
fn statements(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What the client is told of a node that was lost.
fn failed(lost: &Lost) -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, lost.to_string())
        .with_detail("Some rows had been sent, so the query could not be begun again.")
        .with_hint("Run the statement again.")
}

/// What the client is told of a node that had too little memory or disk.
fn cut_short(short: Short) -> SqlError {
    let Short { node, error } = short;
    let hint = match error.code {
        SqlState::DISK_FULL => "Run the statement again, or free some space on the disk of that node.",
        _ => "Run the statement again, or give that node more memory (engine.memory_limit_bytes).",
    };
    let said = error.detail.as_deref().map(|detail| format!(" {detail}")).unwrap_or_default();
    let detail =
        format!("It was node {node}, and some rows had been sent, so the query could not be begun again.{said}");
    error.with_detail(detail).with_hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use async_trait::async_trait;
    use datafusion::catalog::memory::MemorySourceConfig;
    use datafusion::common::internal_err;
    use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
    use datafusion::prelude::SessionConfig;
    use wharf_lake::{Warehouse, WarehouseOptions};

    use super::*;
    use crate::cluster::{Channel, Cluster};
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
            without: Vec::new(),
            lacking_here: None,
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

    /// A node that lacks memory or disk, by the error of its part.
    fn short(node: &str, code: SqlState) -> DataFusionError {
        let error = SqlError::new(code, "too little").with_detail("It was taken.").with_hint("Take less.");
        travelling::short(Short { node: node.to_owned(), error })
    }

    fn sql(rows: &Result<RecordBatch>) -> &SqlError {
        let Err(DataFusionError::External(error)) = rows else { panic!("{rows:?}") };
        error.downcast_ref().unwrap()
    }

    #[tokio::test]
    async fn a_query_without_rows_begins_anew_when_another_node_lacks_memory_or_disk() {
        for code in [SqlState::OUT_OF_MEMORY, SqlState::DISK_FULL] {
            let rows = outcome(vec![Err(short("http://b/", code))]).await;
            let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
            assert_eq!(rows, [batch(7)]);
        }
    }

    #[tokio::test]
    async fn a_lack_of_memory_after_rows_is_the_statements_error() {
        let rows = outcome(vec![Ok(batch(1)), Err(short("http://b/", SqlState::OUT_OF_MEMORY))]).await;
        assert_eq!(rows.len(), 2);
        let error = sql(&rows[1]);
        assert_eq!((error.code, error.message.as_str()), (SqlState::OUT_OF_MEMORY, "too little"));
        let detail = error.detail.as_deref().unwrap();
        assert!(detail.contains("http://b/") && detail.contains("It was taken."), "{detail}");
        assert!(error.hint.as_deref().unwrap().starts_with("Run the statement again"));
    }

    #[tokio::test]
    async fn rows_that_can_be_given_back_are_void_when_memory_is_lacking() {
        let rows = stream::iter(vec![Ok(batch(1)), Err(short("http://b/", SqlState::OUT_OF_MEMORY))]);
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

    /// A cluster whose only business is to say which node this one is.
    #[derive(Debug)]
    struct Here(Url, Arc<AtomicUsize>);

    #[async_trait]
    impl Cluster for Here {
        fn nodes(&self) -> Vec<Url> {
            Vec::new()
        }

        async fn channel(&self, node: &Url) -> Result<Channel, String> {
            Err(format!("no way to {node}"))
        }

        fn is_own(&self, node: &Url) -> bool {
            *node == self.0
        }

        fn lost(&self, _: &Url) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_lacks_memory_on_its_own_node_does_not_run_there_alone() {
        let rows = stream::iter(vec![Err(short("http://a/", SqlState::OUT_OF_MEMORY))]);
        let mut running = running(Box::pin(rows), Arc::default());
        let lost = Arc::default();
        running.fanout.join(Arc::new(Here(Url::parse("http://a/").unwrap(), Arc::clone(&lost))));
        let error = rows_of(running.next().await.unwrap());
        let error = sql(&error);
        assert_eq!((error.code, error.hint.as_deref()), (SqlState::OUT_OF_MEMORY, Some("Take less.")));
        assert_eq!(lost.load(Ordering::Relaxed), 0, "other queries were told of a loss");
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
