//! A connection whose other end is gone without a word: a proxy that goes on to hold the sockets and no longer forwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wharf_peers::{CallError, PeerChannels, PeerOptions};

use crate::support::{Authority, PATIENCE, Port};

/// Forwards connections; those that were made before [`Proxy::stall`] lie dead from then on.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// How many there were.
    pub(crate) connections: Arc<AtomicUsize>,
    stalled: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn before(port: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stalled, stalls) = watch::channel(0);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(port).await.unwrap();
                let mut stalls = stalls.clone();
                stalls.mark_unchanged();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(forward(from_client, to_server, stalls.clone()));
                tokio::spawn(forward(from_server, to_client, stalls));
            }
        });
        Proxy { address, connections, stalled }
    }

    fn stall(&self) {
        self.stalled.send_modify(|stalls| *stalls += 1);
    }
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut stalls: watch::Receiver<u64>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            biased;
            _ = stalls.changed() => break,
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => if to.write_all(&buffer[..length]).await.is_err() { return },
            }
        }
    }
    // Both sockets stay open, and nothing comes through.
    std::future::pending().await
}

fn quick() -> PeerOptions {
    PeerOptions {
        keepalive_interval: Duration::from_millis(200),
        keepalive_timeout: Duration::from_millis(400),
        ..PeerOptions::default()
    }
}

#[tokio::test]
async fn a_call_over_a_dead_connection_fails_within_seconds_and_the_next_one_gets_through() {
    let identity = Authority::new("wharf").identity();
    let port = Port::open(Some(identity.clone()), quick()).await;
    let proxy = Proxy::before(port.address).await;
    let (address, channels) = (proxy.address.to_string(), PeerChannels::new(Some(identity), quick()));
    channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();

    let begun = Instant::now();
    let call = channels.call(&address, "sleep", Bytes::new(), PATIENCE);
    let stall = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.stall();
    };
    let (answer, ()) = tokio::join!(call, stall);
    let error = answer.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    channels.call(&address, "echo", Bytes::new(), Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced_before_it_is_used() {
    let port = Port::open(None, quick()).await;
    let proxy = Proxy::before(port.address).await;
    let (address, channels) = (proxy.address.to_string(), PeerChannels::new(None, quick()));
    channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap();
    proxy.stall();
    tokio::time::sleep(Duration::from_secs(2)).await;
    channels.call(&address, "echo", Bytes::new(), Duration::from_secs(2)).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_vanished_gives_its_place_back() {
    let options = PeerOptions { max_connections: 1, ..quick() };
    let port = Port::open(None, options).await;
    let proxy = Proxy::before(port.address).await;
    // Its own keepalive would close the connection too.
    let patient = PeerOptions { keepalive_interval: PATIENCE, ..quick() };
    let vanished = PeerChannels::new(None, patient);
    vanished.call(&proxy.address.to_string(), "echo", Bytes::new(), PATIENCE).await.unwrap();
    proxy.stall();
    let next = PeerChannels::new(None, quick());
    // It waits to be taken up, and gives up waiting by its own keepalive.
    let begun = Instant::now();
    while let Err(error) = next.call(&port.address(), "echo", Bytes::new(), Duration::from_secs(5)).await {
        assert!(begun.elapsed() < Duration::from_secs(5), "{error:?}");
    }
}

#[tokio::test]
async fn somebody_who_takes_connections_and_says_nothing_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let options = PeerOptions { connect_timeout: Duration::from_millis(300), ..quick() };
    let channels = PeerChannels::new(Some(Authority::new("wharf").identity()), options);
    let begun = Instant::now();
    let error = channels.call(&address, "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("within 300 ms")), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
