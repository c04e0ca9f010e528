//! The top of the part of a plan that one node runs.
//!
//! What always holds: its rows end without an error only if there are no more. The library runs it in a task of its own, and takes a
//! panic of that task for the end of the rows.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use datafusion_distributed::DistributedTaskContext;
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt, stream};
use tokio::time::Instant;
use tracing::Span;
use wharf_values::{SqlError, SqlState};

use crate::filters::{Arrivals, Awaited, Exchange};
use crate::parts::{Part, Parts, QueryTag};
use crate::service::End;
use crate::travelling::{self, Lost};
use crate::vocabulary::Vocabulary;

/// In the extensions of a session's configuration: when the statement must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Rows of a part of a query as they leave a node: errors are made ready to travel, and nothing goes on past the statement's
/// deadline, even when the node that asked has gone without a word.
#[derive(Debug)]
pub(crate) struct TaskExec {
    input: Arc<dyn ExecutionPlan>,
    /// The number of the stage it is a part of.
    stage: u64,
    /// The filters that its scans get from other stages.
    awaited: Vec<Awaited>,
    arrivals: Arc<Arrivals>,
    vocabulary: Arc<dyn Vocabulary>,
}

impl TaskExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        stage: u64,
        awaited: Vec<Awaited>,
        vocabulary: Arc<dyn Vocabulary>,
    ) -> TaskExec {
        let arrivals = Arc::new(Arrivals::new(&awaited, &input));
        TaskExec { input, stage, awaited, arrivals, vocabulary }
    }

    /// The number of the stage it is a part of.
    pub(crate) fn stage(&self) -> u64 {
        self.stage
    }

    /// The filters that its scans get from other stages.
    pub(crate) fn awaited(&self) -> &[Awaited] {
        &self.awaited
    }
}

impl DisplayAs for TaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskExec")
    }
}

impl ExecutionPlan for TaskExec {
    fn name(&self) -> &'static str {
        "TaskExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] =
            <[_; 1]>::try_from(children).map_err(|_| DataFusionError::Internal("a task has one input".to_owned()))?;
        let vocabulary = Arc::clone(&self.vocabulary);
        Ok(Arc::new(TaskExec::new(input, self.stage, self.awaited.clone(), vocabulary)))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let deadline = context.session_config().get_extension::<Deadline>();
        let vocabulary = Arc::clone(&self.vocabulary);
        let departing = move |error| travelling::departing(error, vocabulary.as_ref());
        let end = context.session_config().get_extension::<End>();
        let span = self.span(&context);
        // Listed as long as the rows are there.
        let part = self.begin(&context);
        let rows = span.in_scope(|| self.rows(partition, context)).map_err(&departing)?;
        let rows: SendableRecordBatchStream = match deadline {
            Some(deadline) => until(rows, tokio::time::sleep_until(deadline.0), timed_out),
            None => rows,
        };
        let rows: SendableRecordBatchStream = match end {
            Some(end) => until(rows, (*end).clone().reached(), over),
            None => rows,
        };
        let rows = whole(rows).map_err(departing).inspect(move |next| {
            if let (Some(part), Ok(batch)) = (&part, next) {
                part.gave(batch.num_rows());
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), within(span, rows))))
    }
}

impl TaskExec {
    /// What is logged for it goes there, with the id that the log of the statement's node has; none where that is not told.
    fn span(&self, context: &TaskContext) -> Span {
        match context.session_config().get_extension::<QueryTag>() {
            Some(query) => {
                tracing::info_span!("part", query_id = %query.id, process = query.process, stage = self.stage)
            }
            None => Span::none(),
        }
    }

    /// The rows of a partition of its input, which begins when the filters of its scans are there.
    fn rows(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let exchange = context.session_config().get_extension::<Exchange>();
        let Some(exchange) = exchange.filter(|_| !self.arrivals.is_empty()) else {
            return self.input.execute(partition, context);
        };
        let (input, arrivals) = (Arc::clone(&self.input), Arc::clone(&self.arrivals));
        let rows = async move {
            arrivals.wait(&exchange).await;
            input.execute(partition, context)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.try_flatten_stream())))
    }

    /// Lists a partition of it among what its node does; not where nobody keeps a list.
    fn begin(&self, context: &Arc<TaskContext>) -> Option<Part> {
        let config = context.session_config();
        let (parts, query) = (config.get_extension::<Parts>()?, config.get_extension::<QueryTag>()?);
        Some(parts.begin(*query, self.stage, DistributedTaskContext::from_ctx(context).task_index))
    }
}

/// Rows that do not end before their end: a panic is an error.
fn whole(rows: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch>> + Send {
    AssertUnwindSafe(rows).catch_unwind().map(|next| next.unwrap_or_else(|_| Err(panicked())))
}

/// Rows whose making is logged within a span.
fn within(
    span: Span,
    mut rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::poll_fn(move |cx| span.in_scope(|| rows.poll_next_unpin(cx)))
}

/// Rows until something happens, and an error then.
fn until(
    rows: SendableRecordBatchStream,
    happens: impl Future<Output = ()> + Send + 'static,
    error: fn() -> DataFusionError,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = stream::unfold(Some((rows, Box::pin(happens))), move |state| async move {
        let (mut rows, mut happens) = state?;
        tokio::select! {
            biased;
            () = &mut happens => Some((Err(error()), None)),
            next = rows.next() => {
                let batch: Result<RecordBatch> = next?;
                Some((batch, Some((rows, happens))))
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Nobody hears of it, unless it is the channel that broke, and not the query that ended.
fn over() -> DataFusionError {
    let reason = "the node of the query has closed its channel, or is gone".to_owned();
    travelling::lost(Lost { node: String::new(), reason })
}

fn panicked() -> DataFusionError {
    DataFusionError::Internal("a part of the query panicked; the log of its node says where".to_owned())
}

fn timed_out() -> DataFusionError {
    let message = "canceling statement due to statement timeout";
    DataFusionError::External(Box::new(SqlError::new(SqlState::QUERY_CANCELED, message)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use arrow::datatypes::Schema;
    use datafusion::physical_plan::EmptyRecordBatchStream;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    #[tokio::test]
    async fn rows_that_end_in_a_panic_end_in_an_error() {
        let schema = Arc::new(Schema::empty());
        let rows = EmptyRecordBatchStream::new(Arc::clone(&schema));
        let panics = rows.chain(stream::once(async { panic!("a bug") }));
        let rows = whole(Box::pin(RecordBatchStreamAdapter::new(schema, panics)));
        let rows: Vec<Result<RecordBatch>> = rows.collect().await;
        assert!(rows.len() == 1 && rows[0].is_err(), "{rows:?}");
    }

    /// Takes all spans, and knows whether one is entered.
    #[derive(Default)]
    struct OneSpan(Arc<AtomicBool>);

    impl Subscriber for OneSpan {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn exit(&self, _: &Id) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    #[test]
    fn rows_are_made_within_their_span() {
        let subscriber = OneSpan::default();
        let entered = Arc::clone(&subscriber.0);
        let seen = Arc::new(AtomicBool::default());
        tracing::subscriber::with_default(subscriber, || {
            let (entered, seen) = (Arc::clone(&entered), Arc::clone(&seen));
            let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
            let rows = stream::iter([Ok(batch)]);
            let rows = rows.inspect(move |_| seen.store(entered.load(Ordering::Relaxed), Ordering::Relaxed));
            let rows = within(tracing::info_span!("part"), rows);
            assert_eq!(futures::executor::block_on(rows.collect::<Vec<_>>()).len(), 1);
        });
        assert!(seen.load(Ordering::Relaxed), "the span is not entered");
        assert!(!entered.load(Ordering::Relaxed), "the span is not left");
    }
}
