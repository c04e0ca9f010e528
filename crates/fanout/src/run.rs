//! Running a query on several nodes, and once more on others when one of them is lost.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::{StreamExt, stream};
use url::Url;

use crate::eligible::Wanted;
use crate::fanout::{Fanout, Spread};
use crate::travelling::{Arrived, Lost, arrived};

/// A query under way.
struct Running {
    fanout: Arc<Fanout>,
    /// The plan for one node, of which others are made.
    whole: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    wanted: Wanted,
    rows: SendableRecordBatchStream,
    lost: Vec<Url>,
    attempts_left: usize,
    /// A row has left: what begins anew would give it again.
    given: bool,
}

impl Fanout {
    /// The rows of a plan that was divided. `whole` and `task` are what it was made of; should a node be lost before the first row is
    /// there, the plan is divided among the others, and is run whole when there are none.
    ///
    /// # Errors
    /// What the plan says before its first row.
    pub fn run(
        self: &Arc<Self>,
        spread: Spread,
        whole: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        wanted: Wanted,
    ) -> Result<SendableRecordBatchStream> {
        let schema: SchemaRef = whole.schema();
        let running = Running {
            fanout: Arc::clone(self),
            whole,
            task,
            wanted,
            rows: execute_stream(spread.plan, spread.task)?,
            lost: Vec::new(),
            attempts_left: self.options().attempts.saturating_sub(1),
            given: false,
        };
        let rows = stream::unfold(Some(running), |running| async move {
            let mut running = running?;
            match running.next().await {
                Some(Ok(batch)) => Some((Ok(batch), Some(running))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

impl Running {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            let error = match self.rows.next().await? {
                Ok(batch) => {
                    self.given |= batch.num_rows() > 0;
                    return Some(Ok(batch));
                }
                Err(error) => error,
            };
            match arrived(&error) {
                None => return Some(Err(error)),
                Some(Arrived::Sql(sql)) => return Some(Err(DataFusionError::External(Box::new(sql)))),
                Some(Arrived::Lost(lost)) => {
                    tracing::warn!(node = lost.node, reason = lost.reason, "a query lost a node");
                    if self.given || self.attempts_left == 0 {
                        return Some(Err(DataFusionError::External(Box::new(failed(&lost, self.given)))));
                    }
                    if let Err(error) = self.again(&lost).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    async fn again(&mut self, lost: &Lost) -> Result<()> {
        self.attempts_left -= 1;
        self.lost.extend(Url::parse(&lost.node));
        self.whole = reset_plan_states(Arc::clone(&self.whole))?;
        let spread = self.fanout.spread(&self.whole, &self.task, &self.wanted, &self.lost).await;
        self.rows = match spread {
            Ok(spread) => execute_stream(spread.plan, spread.task)?,
            Err(_) => execute_stream(Arc::clone(&self.whole), Arc::clone(&self.task))?,
        };
        Ok(())
    }
}

/// What the client is told of a node that was lost.
fn failed(lost: &Lost, given: bool) -> wharf_values::SqlError {
    let detail = match given {
        true => "Some rows had been sent, so the query could not be begun again.",
        false => "It was lost again each time the query was begun.",
    };
    wharf_values::SqlError::new(wharf_values::SqlState::CONNECTION_FAILURE, lost.to_string())
        .with_detail(detail)
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
    use wharf_values::{SqlError, SqlState};

    use super::*;
    use crate::eligible::Distribute;
    use crate::fanout::FanoutOptions;
    use crate::travelling;
    use crate::vocabulary::Vocabulary;

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
        fn write_session(&self, _: &SessionConfig) -> Result<String> {
            Ok(String::new())
        }
        fn read_session(&self, _: &str, config: SessionConfig) -> Result<SessionConfig> {
            Ok(config)
        }
        fn sql_error(&self, error: DataFusionError) -> SqlError {
            SqlError::internal(error.to_string())
        }
    }

    fn batch(value: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    /// What comes of a query whose rows these were, and whose plan gives the row 7 on one node.
    async fn outcome(rows: Vec<Result<RecordBatch>>) -> Vec<Result<RecordBatch>> {
        let warehouse = Warehouse::open("memory://", WarehouseOptions::default()).unwrap();
        let options = FanoutOptions::default();
        let fanout = Fanout::new(Arc::new(Speechless), warehouse, Arc::default(), Default::default(), options);
        let schema = batch(0).schema();
        let whole = MemorySourceConfig::try_new_exec(&[vec![batch(7)]], Arc::clone(&schema), None).unwrap();
        let running = Running {
            fanout,
            whole,
            task: Arc::default(),
            wanted: Wanted { distribute: Distribute::On, min_bytes: 0, deadline: None },
            rows: Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(rows))),
            lost: Vec::new(),
            attempts_left: 1,
            given: false,
        };
        stream::unfold(running, |mut running| async move { Some((running.next().await?, running)) }).collect().await
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
    async fn a_query_whose_rows_have_left_fails() {
        let rows = outcome(vec![Ok(batch(1)), Err(lost())]).await;
        assert_eq!(rows.len(), 2);
        let DataFusionError::External(error) = rows[1].as_ref().unwrap_err() else { panic!("{rows:?}") };
        let error = error.downcast_ref::<SqlError>().unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (SqlState::CONNECTION_FAILURE, "node http://b/ was lost: gone")
        );
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
