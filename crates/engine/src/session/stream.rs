//! Rows on their way out: a DataFusion stream that can be cancelled and times out.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use wharf_values::{SqlError, SqlState};

use super::result::ResultColumn;
use crate::error::{canceled, from_datafusion};

/// The rows of a statement.
pub struct RowStream {
    /// The columns.
    pub columns: Arc<[ResultColumn]>,
    /// The rows, computed as they are asked for.
    pub batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
    /// The command tag.
    pub tag: String,
    /// The number of rows follows the tag.
    pub counts: bool,
}

impl RowStream {
    /// Rows that are there already.
    pub(crate) fn ready(columns: Arc<[ResultColumn]>, batches: Vec<RecordBatch>, tag: &str) -> Self {
        RowStream {
            columns,
            batches: futures::stream::iter(batches.into_iter().map(Ok)).boxed(),
            tag: tag.to_owned(),
            counts: false,
        }
    }
}

/// When a statement must have ended, and whether it was told to.
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Option<tokio::time::Instant>,
}

impl Limits {
    pub(crate) fn new(cancel: CancellationToken, timeout: Option<Duration>) -> Self {
        Limits { cancel, deadline: timeout.map(|timeout| tokio::time::Instant::now() + timeout) }
    }

    /// Runs a future within the limits.
    ///
    /// # Errors
    /// `57014` when the statement was cancelled or took too long.
    pub(crate) async fn within<T>(&self, future: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(canceled()),
            () = deadline => Err(timed_out()),
            result = future => result,
        }
    }

    /// A stream that ends with an error when the limits are reached.
    pub(crate) fn guard(self, stream: SendableRecordBatchStream) -> BoxStream<'static, Result<RecordBatch, SqlError>> {
        futures::stream::unfold(Some((stream, self)), |state| async move {
            let (mut stream, limits) = state?;
            let next = limits.within(async { stream.next().await.transpose().map_err(from_datafusion) }).await;
            match next {
                Ok(Some(batch)) => Some((Ok(batch), Some((stream, limits)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

fn timed_out() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}
