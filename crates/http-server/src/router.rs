//! The routes of the port.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use wharf_engine::Engine;

use crate::health::{self, Health};
use crate::metrics;

/// The port as a service. It is not ready any more once `shutdown` was cancelled.
pub fn router(engine: Arc<Engine>, catalog: wharf_iceberg_rest::Options, shutdown: CancellationToken) -> Router {
    let mut registry = Registry::default();
    engine.register_metrics(&mut registry);
    let health = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(Arc::new(Health::new(Arc::clone(&engine), shutdown)));
    let metrics = Router::new().route("/metrics", get(metrics::metrics)).with_state(Arc::new(registry));
    wharf_iceberg_rest::router(engine, catalog).merge(health).merge(metrics)
}
