//! Certificates that change while the port is open.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wharf_peers::{CallError, Identity, PeerOptions};

use crate::half_open::Proxy;
use crate::support::{Authority, PATIENCE, Port, channels, files, until, write};

#[tokio::test]
async fn an_authority_takes_the_place_of_another() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = old.folder();
    let identity = Identity::load(files(folder.path())).unwrap();
    let port = Port::open(Some(identity.clone()), PeerOptions::default()).await;
    let (same, stale, fresh) =
        (channels(Some(identity.clone())), channels(Some(old.identity())), channels(Some(new.identity())));
    let address = port.address();
    same.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    fresh.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(!identity.reload().unwrap(), "nothing is new");

    // A moment at which the files do not fit together: what was there stays.
    std::fs::write(folder.path().join("node.key.pem"), new.node("127.0.0.1").key).unwrap();
    identity.reload().unwrap_err();
    std::fs::write(folder.path().join("node.key.pem"), "").unwrap();
    identity.reload().unwrap_err();
    same.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();

    write(folder.path(), &new.pem(), &new.node("127.0.0.1"));
    assert!(identity.reload().unwrap());
    same.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    fresh.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    let error = stale.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_with_the_next_call() {
    let authority = Authority::new("wharf");
    let folder = authority.folder();
    let identity = Identity::load(files(folder.path())).unwrap();
    let port = Port::open(Some(authority.identity()), PeerOptions::default()).await;
    let proxy = Proxy::before(port.address).await;
    let (address, channels) = (proxy.address.to_string(), channels(Some(identity.clone())));
    for _ in 0..2 {
        channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    }
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 1, "a connection is used again");
    write(folder.path(), &authority.pem(), &authority.node("127.0.0.1"));
    assert!(identity.reload().unwrap());
    channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 2, "what was shown on the old one is out of date");
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = old.folder();
    let identity = Identity::load(files(folder.path())).unwrap();
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(identity.clone().watch(Duration::from_millis(20), shutdown.clone()));
    write(folder.path(), &new.pem(), &new.node("127.0.0.1"));
    // Whether it has noticed is seen from outside: a node of the new authority is let in.
    let port = Port::open(Some(identity.clone()), PeerOptions::default()).await;
    let fresh = channels(Some(new.identity()));
    let begun = std::time::Instant::now();
    while fresh.call(&port.address(), "echo", Bytes::new(), PATIENCE).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    until(|| watching.is_finished()).await;
}
