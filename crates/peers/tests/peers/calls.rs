//! Calls: their answers, their deadlines, and what the port does not answer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::{Service, ServiceExt};
use wharf_peers::{CallError, MessageService, PeerOptions};

use crate::support::{Authority, PATIENCE, Port, channels, until};

#[tokio::test]
async fn a_message_comes_back_encrypted_or_not() {
    let identity = Authority::new("wharf").identity();
    for identity in [None, Some(identity)] {
        let port = Port::open(identity.clone(), PeerOptions::default()).await;
        let channels = channels(identity);
        for message in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![1; 10 << 20])] {
            let answer = channels.call(&port.address(), "echo", message.clone(), PATIENCE).await;
            assert_eq!(answer.unwrap(), message);
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = Port::open(None, PeerOptions::default()).await;
    let address = port.address();
    let channels = channels(None);
    channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    drop(port);
    // The connection that was there ends, and no new one comes about.
    let begun = Instant::now();
    while channels.call(&address, "echo", Bytes::new(), PATIENCE).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE);
    }
    for _ in 0..3 {
        let error = channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap_err();
        assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = channels.call("nowhere.invalid:1", "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
    let error = channels.call("nowhere", "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::Refused("\"nowhere\" is not a host and a port".to_owned()));
}

#[tokio::test]
async fn a_node_that_comes_back_is_reached_again() {
    let first = Port::open(None, PeerOptions::default()).await;
    let (address, channels) = (first.address, channels(None));
    channels.call(&address.to_string(), "echo", Bytes::new(), PATIENCE).await.unwrap();
    drop(first);
    let listener = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let services = Port::open(None, PeerOptions::default()).await.services.clone();
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(wharf_peers::serve(listener, services, None, PeerOptions::default(), shutdown.clone()));
    let started = Instant::now();
    while let Err(error) = channels.call(&address.to_string(), "echo", Bytes::new(), PATIENCE).await {
        assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
        assert!(started.elapsed() < PATIENCE, "{error:?}");
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let port = Port::open(None, PeerOptions::default()).await;
    let (channels, begun) = (channels(None), Instant::now());
    let error = channels.call(&port.address(), "sleep", Bytes::new(), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error, CallError::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until(|| port.sleeping.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_service_that_is_not_there_yet_is_refused_until_it_is() {
    struct Late;
    #[async_trait::async_trait]
    impl MessageService for Late {
        async fn answer(&self, _: Bytes) -> Bytes {
            Bytes::from_static(b"here")
        }
    }
    let port = Port::open(None, PeerOptions::default()).await;
    let channels = channels(None);
    let error = channels.call(&port.address(), "late", Bytes::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::Refused("the node does not answer \"late\" yet".to_owned()));
    port.services.set_messages("late", Arc::new(Late));
    assert_eq!(channels.call(&port.address(), "late", Bytes::new(), PATIENCE).await.unwrap(), "here");
}

#[tokio::test]
async fn a_service_that_panics_ends_its_own_call_alone() {
    let port = Port::open(None, PeerOptions::default()).await;
    let channels = channels(None);
    let address = port.address();
    let sleeper = channels.call(&address, "sleep", Bytes::new(), PATIENCE);
    tokio::pin!(sleeper);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut sleeper).await.is_err());
    let error = channels.call(&address, "panic", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(why) if why.contains("a bug")), "{error:?}");
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut sleeper).await.is_err(), "the other call has ended");
}

/// A tonic service as a compiler of schemas would make it.
#[derive(Clone)]
struct Other;

impl NamedService for Other {
    const NAME: &'static str = "other.Service";
}

impl Service<http::Request<Body>> for Other {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::already_exists("of another kind").into_http()))
    }
}

#[tokio::test]
async fn other_tonic_services_stand_beside_the_messages() {
    let port = Port::open(None, PeerOptions::default()).await;
    let channels = channels(None);
    let status_of = |path: &'static str| {
        let channel = channels.data_channel(&port.address()).unwrap();
        async move {
            let request = http::Request::post(path).header("content-type", "application/grpc");
            let response = channel.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            Status::from_header_map(response.headers()).unwrap().code()
        }
    };
    assert_eq!(status_of("/other.Service/Method").await, tonic::Code::Unimplemented);
    port.services.set_routes(Routes::new(Other));
    assert_eq!(status_of("/other.Service/Method").await, tonic::Code::AlreadyExists);
    assert_eq!(channels.call(&port.address(), "echo", Bytes::from_static(b"x"), PATIENCE).await.unwrap(), "x");
}
