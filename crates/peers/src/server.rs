//! The port, from its first connection to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::accept::incoming;
use crate::identity::Identity;
use crate::options::PeerOptions;
use crate::services::Services;

/// What a stream may have under way before its reader has taken it up.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// What a connection may.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// What goes in one piece: rows come in messages of megabytes, which HTTP/2 would cut into pieces of 16 KiB, each written and read by itself.
/// No larger, since heartbeats wait for a piece that is on its way.
pub(crate) const FRAME_BYTES: u32 = 256 << 10;

/// The port could not be served.
#[derive(Debug, thiserror::Error)]
#[error("the port for peers failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves peers until `shutdown`, then lets calls that are being answered end within `options.drain_timeout`. Without an
/// identity nothing is encrypted and nobody proves anything.
///
/// # Errors
/// A socket that cannot be used.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    identity: Option<Arc<Identity>>,
    options: PeerOptions,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let closed = Arc::new(AtomicBool::new(false));
    let connections = incoming(listener, identity, &options, shutdown.clone(), Arc::clone(&closed));
    let server = Server::builder()
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_connection_age(options.max_connection_age)
        .max_concurrent_streams(u32::try_from(options.max_calls).unwrap_or(u32::MAX).saturating_mul(4));
    let stopped = shutdown.clone();
    let served = server.serve_with_incoming_shutdown(services, connections, async move { stopped.cancelled().await });
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return Ok(result?),
        () = shutdown.cancelled() => {}
    }
    // Calls that are still being answered are given up with the runtime.
    let drained = tokio::time::timeout(options.drain_timeout, served).await;
    closed.store(true, Ordering::Release);
    match drained {
        Ok(result) => Ok(result?),
        Err(_) => {
            tracing::warn!("giving up calls of peers that are still being answered");
            Ok(())
        }
    }
}
