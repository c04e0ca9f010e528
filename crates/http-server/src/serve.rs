//! The port, from its first connection to its last.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wharf_engine::Engine;

use crate::listener::Connections;
use crate::options::Options;
use crate::router::router;

/// Serves clients until `shutdown`, then lets running requests finish within `options.drain_timeout`.
///
/// # Errors
/// A socket that cannot be used.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    catalog: wharf_iceberg_rest::Options,
    options: Options,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let connections = Connections::new(listener, &options)?;
    let drain_timeout = options.drain_timeout;
    let stopped = shutdown.clone();
    let served = axum::serve(connections, router(engine, catalog, shutdown.clone()))
        .with_graceful_shutdown(async move { stopped.cancelled().await })
        .into_future();
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return result,
        () = shutdown.cancelled() => {}
    }
    // Requests that are still running are given up with the runtime.
    tokio::time::timeout(drain_timeout, served).await.unwrap_or_else(|_| {
        tracing::warn!("giving up requests that still run");
        Ok(())
    })
}
