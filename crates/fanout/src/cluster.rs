//! Which nodes there are, and how they are reached.

use std::convert::Infallible;
use std::fmt::Debug;

use async_trait::async_trait;
use datafusion_distributed::grpc::BoxCloneSyncChannel;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::service::Routes;
use tower::ServiceExt;
use url::Url;

/// A way to a node's port: connected, encrypted and kept alive by whoever made it. Clones share the connection.
pub type Channel = BoxCloneSyncChannel;

/// The nodes that can take part in a query.
#[async_trait]
pub trait Cluster: Debug + Send + Sync + 'static {
    /// The nodes that are thought to be up, this one among them, by the URLs under which all of them know one another. In the same order
    /// as long as they are the same.
    fn nodes(&self) -> Vec<Url>;

    /// Those of them that take parts of a new query of this node: itself, and the others that do not say that they are busy.
    fn free(&self) -> Vec<Url> {
        self.nodes()
    }

    /// Whether it is this node.
    fn is_own(&self, _node: &Url) -> bool {
        false
    }

    /// How many [`Cluster::nodes`] there are. Asked for each statement.
    fn count(&self) -> usize {
        self.nodes().len()
    }

    /// A channel to one of them. Called for each part of each query: a connection is made once and kept.
    ///
    /// # Errors
    /// Why the node cannot be reached.
    async fn channel(&self, node: &Url) -> Result<Channel, String>;

    /// A query has lost this node: it is better left out for a while.
    fn lost(&self, _node: &Url) {}
}

/// No other node: nothing is ever divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone;

#[async_trait]
impl Cluster for Alone {
    fn nodes(&self) -> Vec<Url> {
        Vec::new()
    }

    fn count(&self) -> usize {
        0
    }

    async fn channel(&self, node: &Url) -> Result<Channel, String> {
        Err(format!("there is no node {node}"))
    }
}

/// Several workers in this process, which talk as nodes do, over memory instead of sockets.
pub(crate) struct InProcess {
    workers: Vec<(Url, Channel)>,
}

impl Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.workers.iter().map(|(url, _)| url.as_str())).finish()
    }
}

impl InProcess {
    pub(crate) fn new(workers: impl IntoIterator<Item = Routes>) -> InProcess {
        let workers = workers.into_iter().zip(1..).map(|(worker, number)| {
            let url = Url::parse(&format!("http://worker-{number}.in-process/")).expect("it is a URL");
            (url, channel(worker))
        });
        InProcess { workers: workers.collect() }
    }
}

#[async_trait]
impl Cluster for InProcess {
    fn nodes(&self) -> Vec<Url> {
        self.workers.iter().map(|(url, _)| url.clone()).collect()
    }

    async fn channel(&self, node: &Url) -> Result<Channel, String> {
        let found = self.workers.iter().find(|(url, _)| url == node);
        found.map(|(_, channel)| channel.clone()).ok_or_else(|| format!("there is no worker {node}"))
    }
}

/// A channel to a worker of this process.
fn channel(worker: Routes) -> Channel {
    Channel::new(ServiceExt::<Request<Body>>::map_err(worker, |never: Infallible| match never {}))
}
