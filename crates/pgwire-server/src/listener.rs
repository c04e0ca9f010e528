//! Accepting connections, and ending them when the server stops.
//!
//! What always holds: every connection has a task of its own and a place that is counted; an error or even a panic in one
//! ends that one alone. A connection ends when its client says goodbye or goes, breaks the protocol, is not authenticated
//! in time or at all, or when the server stops: idle ones at once, running ones when their statement is done or the drain
//! time is over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharf_values::SqlState;

use crate::backend::Backend;
use crate::cancel::CancelRegistry;
use crate::encode::messages;
use crate::error::End;
use crate::limits::ConnectionLimit;
use crate::options::Options;
use crate::protocol::Connection;
use crate::startup;
use crate::wire::Wire;

/// How long to wait before accepting again when the operating system refuses, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long statements may take to stop when they are cancelled at the end of the drain time.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// What all connections share.
pub(crate) struct Shared<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) options: Options,
    pub(crate) limit: ConnectionLimit,
    pub(crate) cancels: Arc<CancelRegistry>,
    /// The server stops: idle connections end.
    pub(crate) shutdown: CancellationToken,
    /// The drain time is over: all connections end.
    deadline: CancellationToken,
}

/// Serves clients until `shutdown`, then lets running statements finish within `options.drain_timeout` and returns when
/// the last connection has ended. `cancels` gets to know their sessions, so that cancel requests that come to other
/// servers reach them.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    options: Options,
    cancels: Arc<CancelRegistry>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        limit: ConnectionLimit::new(options.max_connections),
        backend,
        options,
        cancels,
        shutdown,
        deadline: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    accept(&listener, &shared, &connections).await;
    // From here on new clients are refused by the operating system.
    drop(listener);
    connections.close();
    if tokio::time::timeout(shared.options.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cancelling the statements that still run");
        shared.cancels.cancel_all();
        if tokio::time::timeout(CANCEL_GRACE, connections.wait()).await.is_err() {
            shared.deadline.cancel();
            connections.wait().await;
        }
    }
    Ok(())
}

/// Accepts until the server stops.
async fn accept<B: Backend>(listener: &TcpListener, shared: &Arc<Shared<B>>, connections: &TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = shared.limit.socket() else {
                    // Closing is all that can be afforded when even the sockets are used up.
                    tracing::warn!(%peer, "too many open connections");
                    continue;
                };
                let shared = shared.clone();
                connections.spawn(async move {
                    connection(stream, peer, shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its first byte to its last.
async fn connection<B: Backend>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<B>>) {
    if let Err(error) = prepare_socket(&stream, &shared.options) {
        tracing::debug!(%peer, %error, "cannot set the options of a socket");
    }
    let mut wire = startup::wire(stream);
    let end = tokio::select! {
        biased;
        end = session(&mut wire, peer, &shared) => end,
        () = shared.deadline.cancelled() => End::Disconnected,
    };
    match end {
        End::Terminated | End::Disconnected => tracing::debug!(%peer, "connection closed"),
        End::Fatal(error) => {
            tracing::info!(%peer, code = %error.code, %error, "connection ended");
            messages::error_response(&mut wire.output, "FATAL", &error);
            // Nothing is on its way from a client that was idle when the server stopped.
            wire.farewell(error.code != SqlState::ADMIN_SHUTDOWN).await;
        }
    }
}

/// A session from startup to its end.
async fn session<B: Backend>(wire: &mut Wire, peer: SocketAddr, shared: &Arc<Shared<B>>) -> End {
    let started = tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => {
            Err(End::fatal(SqlState::CANNOT_CONNECT_NOW, "the database system is shutting down"))
        }
        started = tokio::time::timeout(
            shared.options.authentication_timeout,
            Box::pin(startup::start(wire, shared, peer)),
        ) => started.unwrap_or_else(|_| {
            Err(End::fatal(SqlState::QUERY_CANCELED, "canceling authentication due to timeout"))
        }),
    };
    match started {
        Ok(Some(started)) => Connection::new(wire, started, shared).run().await,
        Ok(None) => End::Terminated,
        Err(end) => end,
    }
}

/// Small answers go at once, and a vanished client is noticed.
fn prepare_socket(stream: &TcpStream, options: &Options) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(keepalive) = options.keepalive {
        let parameters = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
        SockRef::from(stream).set_tcp_keepalive(&parameters)?;
    }
    Ok(())
}
