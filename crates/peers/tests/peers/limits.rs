//! What is limited: messages, calls, connections.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use wharf_peers::{CallError, PeerChannels, PeerOptions};

use crate::support::{PATIENCE, Port, channels, until};

const LIMIT: usize = 100_000;

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_channel_goes_on() {
    let small = PeerOptions { max_message_bytes: LIMIT, ..PeerOptions::default() };
    let port = Port::open(None, small.clone()).await;
    let (address, ours, theirs) = (port.address(), PeerChannels::new(None, small), channels(None));
    // The first is refused by this side, the second by the other: its sender allows itself more.
    for channels in [&ours, &theirs] {
        let fits = Bytes::from(vec![0; LIMIT]);
        channels.call(&address, "echo", fits, PATIENCE).await.unwrap();
        let error = channels.call(&address, "echo", Bytes::from(vec![0; LIMIT + 1]), PATIENCE).await.unwrap_err();
        assert!(matches!(&error, CallError::Refused(why) if why.contains("too large")), "{error:?}");
        let error = channels.call(&address, "swell", Bytes::from((LIMIT + 1).to_string()), PATIENCE).await.unwrap_err();
        assert!(matches!(&error, CallError::Refused(why) if why.contains("too large")), "{error:?}");
        assert_eq!(channels.call(&address, "echo", Bytes::from_static(b"x"), PATIENCE).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn a_service_that_has_too_many_calls_refuses_the_next() {
    let one = PeerOptions { max_calls: 1, ..PeerOptions::default() };
    let port = Port::open(None, one.clone()).await;
    let (address, first, second) = (port.address(), PeerChannels::new(None, one), channels(None));
    let sleeping = tokio::spawn({
        let (first, address) = (first.clone(), address.clone());
        async move { first.call(&address, "sleep", Bytes::new(), PATIENCE).await }
    });
    until(|| port.sleeping.load(Ordering::SeqCst) == 1).await;
    let error = second.call(&address, "sleep", Bytes::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error, CallError::Refused("too many calls at once".to_owned()));
    // Another service has places of its own.
    second.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    // Where it is this side that has too many, they wait as long as they may.
    let error = first.call(&address, "echo", Bytes::new(), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error, CallError::Timeout);
    sleeping.abort();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let one = PeerOptions { max_connections: 1, ..PeerOptions::default() };
    let port = Port::open(None, one).await;
    let (first, second) = (channels(None), channels(None));
    first.call(&port.address(), "echo", Bytes::new(), PATIENCE).await.unwrap();
    let error = second.call(&port.address(), "echo", Bytes::new(), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error, CallError::Timeout);
    drop(first);
    second.call(&port.address(), "echo", Bytes::new(), PATIENCE).await.unwrap();
}
