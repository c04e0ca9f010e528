//! Accepting connections: counted, and with TLS shaken hands on before HTTP begins.
//!
//! What always holds: a client that is slow to shake hands keeps nobody waiting but itself, and not for ever.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::connection::Connection;
use crate::options::Options;

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when the operating system refuses, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be taken up.
const READY: usize = 16;

/// The connections of a port.
pub(crate) struct Connections {
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Connections {
    /// Begins to accept.
    ///
    /// # Errors
    /// A socket that has no address.
    pub(crate) fn new(listener: TcpListener, options: &Options) -> io::Result<Connections> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY);
        let accepting = tokio::spawn(accept(listener, options.clone(), sender));
        Ok(Connections { ready, address, accepting })
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task that accepts never ends while this is alive.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(listener: TcpListener, options: Options, ready: mpsc::Sender<(Connection, SocketAddr)>) {
    let places = Arc::new(Semaphore::new(options.max_connections));
    let silence = options.silence_timeout;
    loop {
        // Without a place clients wait in the kernel.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let Some(tls) = options.tls.clone() else {
            if ready.send((Connection::plain(stream, silence, place), peer)).await.is_err() {
                return;
            }
            continue;
        };
        let ready = ready.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor.accept(stream)).await {
                // Nobody takes it up any more when the server stops.
                Ok(Ok(stream)) => drop(ready.send((Connection::tls(stream, silence, place), peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
            }
        });
    }
}
