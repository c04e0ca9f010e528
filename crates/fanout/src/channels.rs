//! Calls to other nodes: plans go in our own codec, waits have a limit, and a node that does not answer is known for it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::create_worker_client;
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    MaybeEncoded, SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tonic::codegen::http::HeaderMap;
use url::Url;

use crate::cluster::Cluster;
use crate::codec::{Codec, Envelope};
use crate::losses::Losses;
use crate::travelling::{self, Arrived, Lost, Short};
use crate::vocabulary::Vocabulary;

/// What the library says on a node to which no plan was sent in time: whoever was to send it is cut off from it, or too busy.
const NO_PLAN: &str = "timed-out while waiting for the plan";

/// Reaches the nodes of a cluster.
#[derive(Clone)]
pub(crate) struct Channels {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) codec: Arc<Codec>,
    /// How long a node may take to begin to answer.
    pub(crate) answer_timeout: Duration,
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let vocabulary = Arc::clone(self.codec.vocabulary());
        let node = Node { url: url.clone(), answer_timeout: self.answer_timeout, vocabulary };
        let channel = node.within(async { Ok(self.cluster.channel(url).await) }).await?;
        let inner = create_worker_client(channel.map_err(|reason| node.lost(&reason))?);
        Ok(Box::new(NodeChannel { inner, node, codec: Arc::clone(&self.codec) }))
    }
}

/// A node as calls know it.
#[derive(Clone)]
struct Node {
    url: Url,
    answer_timeout: Duration,
    vocabulary: Arc<dyn Vocabulary>,
}

impl Node {
    fn lost(&self, reason: &str) -> DataFusionError {
        travelling::lost(Lost { node: self.url.to_string(), reason: reason.to_owned() })
    }

    /// What a call failed with: the loss of the node, if it is the connection that failed. A node does not know its own name, which
    /// is written here into what it says of itself.
    fn failed(&self, error: DataFusionError) -> DataFusionError {
        let error = match travelling::is_shortage(&error) {
            true => travelling::departing(error, self.vocabulary.as_ref()),
            false => error,
        };
        match travelling::arrived(&error) {
            Some(Arrived::Lost(lost)) if lost.node.is_empty() => return self.lost(&lost.reason),
            Some(Arrived::Short(short)) if short.node.is_empty() => {
                return travelling::short(Short { node: self.url.to_string(), ..short });
            }
            Some(Arrived::Lost(_) | Arrived::Short(_) | Arrived::Sql(_)) => return error,
            None => {}
        }
        let reason = match error.find_root() {
            DataFusionError::External(inner) => inner.downcast_ref::<tonic::Status>().map(reasons),
            DataFusionError::Execution(text) if text.contains(NO_PLAN) => Some("no plan has come in time".to_owned()),
            _ => None,
        };
        match reason {
            Some(reason) => self.lost(&reason),
            None => error,
        }
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.answer_timeout, call).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(self.lost(&format!("no answer within {} ms", self.answer_timeout.as_millis()))),
        }
    }

    fn watched<T: 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let node = self.clone();
        stream.map_err(move |error| node.failed(error)).boxed()
    }
}

/// What a status says, and what is behind it.
fn reasons(status: &tonic::Status) -> String {
    let mut text = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    let mut next = std::error::Error::source(status);
    while let Some(source) = next {
        let message = source.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = source.source();
    }
    text
}

struct NodeChannel {
    inner: Box<dyn WorkerChannel>,
    node: Node,
    codec: Arc<Codec>,
}

#[async_trait]
impl WorkerChannel for NodeChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        mut request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        if let MaybeEncoded::Decoded(plan) = &request.plan {
            let contents = self.codec.write(Arc::clone(plan))?;
            request.plan = MaybeEncoded::Decoded(Arc::new(Envelope::new(contents, plan)));
        }
        let call = self.inner.coordinator_channel(headers, request, messages, metrics, context);
        let answered = self.node.within(call).await;
        let losses = context.session_config().get_extension::<Losses>();
        if let (Err(error), Some(losses)) = (&answered, losses)
            && let Some(Arrived::Lost(lost)) = travelling::arrived(error)
        {
            losses.tell(lost);
        }
        Ok(self.node.watched(answered?))
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let call = self.inner.execute_task(headers, request, metrics, context);
        let streams = self.node.within(call).await?;
        Ok(streams.into_iter().map(|stream| self.node.watched(stream)).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.node.within(self.inner.get_worker_info(request)).await
    }
}
