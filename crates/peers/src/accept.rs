//! Accepting connections: counted, and with TLS shaken hands on before HTTP/2 begins.
//!
//! What always holds: a peer that is slow to shake hands keeps nobody waiting but itself, and not for ever; each handshake uses
//! the certificates of its time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::options::PeerOptions;
use crate::stream::{Accepted, PeerStream};

/// How long to wait before accepting again when the operating system refuses, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be taken up.
const READY: usize = 16;
/// How long a peer that was refused may take to read why, and how much it may say until then.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

/// The connections of a port, until `shutdown`; when it is `closed`, nothing is written to them any more.
pub(crate) fn incoming(
    listener: TcpListener,
    identity: Option<Arc<Identity>>,
    options: &PeerOptions,
    shutdown: CancellationToken,
    closed: Arc<AtomicBool>,
) -> ReceiverStream<io::Result<Accepted>> {
    let (ready, connections) = mpsc::channel(READY);
    let places = Arc::new(Semaphore::new(options.max_connections));
    let timeout = options.connect_timeout;
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accept(listener, identity, places, timeout, closed, ready) => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    identity: Option<Arc<Identity>>,
    places: Arc<Semaphore>,
    timeout: Duration,
    closed: Arc<AtomicBool>,
    ready: mpsc::Sender<io::Result<Accepted>>,
) {
    loop {
        // Without a place peers wait in the kernel.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a peer");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let Some(identity) = identity.as_deref() else {
            let accepted =
                Accepted { stream: PeerStream::Plain(stream), peer, closed: Arc::clone(&closed), _place: place };
            if ready.send(Ok(accepted)).await.is_err() {
                return;
            }
            continue;
        };
        let acceptor = TlsAcceptor::from(identity.server());
        let (ready, closed) = (ready.clone(), Arc::clone(&closed));
        tokio::spawn(async move {
            match tokio::time::timeout(timeout, acceptor.accept(stream).into_fallible()).await {
                Ok(Ok(stream)) => {
                    let stream = PeerStream::Tls(Box::new(TlsStream::Server(stream)));
                    // Nobody takes it up any more when the server stops.
                    drop(ready.send(Ok(Accepted { stream, peer, closed, _place: place })).await);
                }
                // Whoever may not come in tries again and again; who operates the port shall know why.
                Ok(Err((error, stream))) => {
                    tracing::info!(%peer, %error, "refused a peer: no TLS handshake");
                    linger(stream).await;
                }
                Err(_) => tracing::info!(%peer, "refused a peer: no TLS handshake in time"),
            }
        });
    }
}

/// Lets a peer read why it was refused: closing a socket with unread bytes in it takes back what was sent.
async fn linger(mut stream: TcpStream) {
    let read = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whoever has gone has nothing to read.
    drop(tokio::time::timeout(LINGER, read).await);
}
