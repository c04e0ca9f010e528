//! What a port answers: services that take bytes and answer bytes, by name, and other tonic services.
//!
//! What always holds: a service can be added while the port is open, since the first of them, Raft, has to be reachable before
//! what stands on it can start; until then its calls are refused. A service that answers as many calls as it may refuses the
//! next one at once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, Either};
use futures::{FutureExt, TryFutureExt};
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::Service;

use crate::codec::BytesCodec;
use crate::options::PeerOptions;

/// Where the paths of message services begin; the service's name follows.
pub(crate) const MESSAGES: &str = "/wharf.peers.v1.Messages/";

/// Answers messages of peers. What is in them is the service's own affair, its errors too.
#[async_trait::async_trait]
pub trait MessageService: Send + Sync + 'static {
    /// Answers one message. Dropped when the caller's deadline has passed.
    async fn answer(&self, request: Bytes) -> Bytes;
}

/// The services of a port; clones are the same.
#[derive(Clone)]
pub struct Services {
    messages: Arc<RwLock<HashMap<&'static str, Named>>>,
    routes: Arc<RwLock<Routes>>,
    max_calls: usize,
    max_message_bytes: usize,
}

/// A message service, and how many calls it answers at once.
#[derive(Clone)]
struct Named {
    service: Arc<dyn MessageService>,
    calls: Arc<Semaphore>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("messages", &self.messages.read().keys()).finish_non_exhaustive()
    }
}

impl Services {
    /// None yet.
    pub fn new(options: &PeerOptions) -> Services {
        Services {
            messages: Arc::default(),
            routes: Arc::default(),
            max_calls: options.max_calls,
            max_message_bytes: options.max_message_bytes,
        }
    }

    /// Answers messages to `name` from now on; a service that had the name before is no longer asked.
    pub fn set_messages(&self, name: &'static str, service: Arc<dyn MessageService>) {
        let calls = Arc::new(Semaphore::new(self.max_calls));
        self.messages.write().insert(name, Named { service, calls });
    }

    /// No longer answers messages to `name`.
    pub fn remove_messages(&self, name: &str) {
        self.messages.write().remove(name);
    }

    /// Everything else on the port from now on: other tonic services, which have limits of their own.
    pub fn set_routes(&self, routes: Routes) {
        *self.routes.write() = routes.prepare();
    }

    fn message_service(&self, name: &str) -> Result<Named, Status> {
        let named = self.messages.read().get(name).cloned();
        named.ok_or_else(|| Status::unavailable(format!("the node does not answer \"{name}\" yet")))
    }
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(name) = request.uri().path().strip_prefix(MESSAGES) else {
            let mut routes = self.routes.read().clone();
            return routes.call(request).boxed();
        };
        let answering = Answering(self.message_service(name));
        let max_message_bytes = self.max_message_bytes;
        async move {
            let grpc = tonic::server::Grpc::new(BytesCodec)
                .max_decoding_message_size(max_message_bytes)
                .max_encoding_message_size(max_message_bytes);
            Ok({ grpc }.unary(answering, request).await)
        }
        .boxed()
    }
}

/// One call of a message service.
struct Answering(Result<Named, Status>);

impl Service<Request<Bytes>> for Answering {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Either<Ready<Result<Response<Bytes>, Status>>, BoxFuture<'static, Result<Response<Bytes>, Status>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Named { service, calls } = match &self.0 {
            Ok(named) => named.clone(),
            Err(status) => return Either::Left(ready(Err(status.clone()))),
        };
        let Ok(place) = calls.try_acquire_owned() else {
            return Either::Left(ready(Err(Status::resource_exhausted("too many calls at once"))));
        };
        // A task of its own: a panic ends this call and not the connection.
        let answer = async move {
            let answer = service.answer(request.into_inner()).await;
            drop(place);
            Response::new(answer)
        };
        let answer = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(answer));
        Either::Right(answer.map_err(|_| Status::internal("a bug in the node: the service panicked")).boxed())
    }
}
