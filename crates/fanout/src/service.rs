//! The service that does parts of queries, and how they hear that their query is over.
//!
//! The node of a query keeps a channel open to each node that has a plan of it, and closes it when the query has ended, however it
//! has. The library then forgets the plan, but some time later, when it has others to do; until then operators that copy or divide
//! rows for several readers work on for nobody. So each plan is told here as soon as its channel is closed or broken.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request};
use tonic::codegen::{Bytes, Service};
use tonic::server::NamedService;

/// By which a plan finds its channel: set here, whatever a peer says.
const CHANNEL: HeaderName = HeaderName::from_static("x-wharf-channel");

/// The end of the path of the call that brings a plan and stays open.
const BRINGS_PLAN: &str = "/CoordinatorChannel";

/// The channels that are open.
#[derive(Debug, Default)]
pub(crate) struct OpenChannels {
    next: AtomicU64,
    open: Mutex<HashMap<u64, watch::Receiver<()>>>,
}

impl OpenChannels {
    /// What tells the plan that came with these headers of the end of its query.
    pub(crate) fn end(&self, headers: &HeaderMap) -> Option<End> {
        let number = headers.get(CHANNEL)?.to_str().ok()?.parse().ok()?;
        self.open.lock().get(&number).cloned().map(End)
    }

    fn begin(self: &Arc<Self>) -> OpenChannel {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (open, end) = watch::channel(());
        self.open.lock().insert(number, end);
        OpenChannel { number, all: Arc::clone(self), _open: open }
    }
}

/// The end of a query; in the extensions of the configuration of the session that a part of it runs in.
#[derive(Clone, Debug)]
pub(crate) struct End(watch::Receiver<()>);

impl End {
    /// Waits for it.
    pub(crate) async fn reached(mut self) {
        // Nothing is ever sent: it fails when the other side is gone.
        while self.0.changed().await.is_ok() {}
    }
}

/// A channel; dropping it ends what came with it.
#[derive(Debug)]
struct OpenChannel {
    number: u64,
    all: Arc<OpenChannels>,
    _open: watch::Sender<()>,
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.all.open.lock().remove(&self.number);
    }
}

/// A worker's service, with its channels watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched<S> {
    service: S,
    channels: Arc<OpenChannels>,
}

impl<S> Watched<S> {
    pub(crate) fn new(service: S, channels: Arc<OpenChannels>) -> Watched<S> {
        Watched { service, channels }
    }
}

impl<S: NamedService> NamedService for Watched<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Watched<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.headers_mut().remove(CHANNEL);
        if request.uri().path().ends_with(BRINGS_PLAN) {
            let channel = self.channels.begin();
            request.headers_mut().insert(CHANNEL, HeaderValue::from(channel.number));
            request = request.map(|body| Body::new(WatchedBody { body, channel: Some(channel) }));
        }
        self.service.call(request)
    }
}

/// What comes over a channel.
struct WatchedBody {
    body: Body,
    channel: Option<OpenChannel>,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.channel = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_plan_hears_of_the_end_of_its_channel_alone() {
        let channels = Arc::new(OpenChannels::default());
        let (one, other) = (channels.begin(), channels.begin());
        let headers = |channel: &OpenChannel| HeaderMap::from_iter([(CHANNEL, HeaderValue::from(channel.number))]);
        let (end, late) = (channels.end(&headers(&one)).unwrap(), headers(&one));
        let still = channels.end(&headers(&other)).unwrap();
        drop(one);
        end.reached().await;
        assert!(channels.end(&late).is_none());
        let waited = tokio::time::timeout(std::time::Duration::from_millis(10), still.reached()).await;
        assert!(waited.is_err(), "the other channel is open");
    }
}
