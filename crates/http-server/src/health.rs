//! `/health/live` and `/health/ready`.
//!
//! What always holds: both answer within a few seconds. However often they are asked, the object store is asked at most once in
//! [`STORE_PAUSE`]; why something does not answer goes to the log, and not to whoever asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use wharf_engine::Engine;

/// How long the catalog may take to show that it answers.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the object store may.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long what the store has answered holds.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What is looked at.
pub(crate) struct Health {
    engine: Arc<Engine>,
    shutdown: CancellationToken,
    /// Whether the store was reached, and when that was.
    store: Mutex<Option<(bool, Instant)>>,
}

impl Health {
    pub(crate) fn new(engine: Arc<Engine>, shutdown: CancellationToken) -> Health {
        Health { engine, shutdown, store: Mutex::default() }
    }

    /// Does the catalog answer with what everybody has been answered so far?
    async fn catalog(&self) -> bool {
        match tokio::time::timeout(CATALOG_TIMEOUT, self.engine.catalog()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready: the catalog does not answer");
                false
            }
            Err(_) => {
                tracing::warn!("not ready: the catalog does not answer in time");
                false
            }
        }
    }

    async fn store(&self) -> bool {
        let mut known = self.store.lock().await;
        if let Some((reached, at)) = *known
            && at.elapsed() < STORE_PAUSE
        {
            return reached;
        }
        let reached = match tokio::time::timeout(STORE_TIMEOUT, self.engine.warehouse().reach()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready: the object store cannot be reached");
                false
            }
            Err(_) => {
                tracing::warn!("not ready: the object store does not answer in time");
                false
            }
        };
        *known = Some((reached, Instant::now()));
        reached
    }
}

/// The process answers.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Statements can run.
pub(crate) async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<Value>) {
    if health.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "stopping"})));
    }
    let (catalog, store) = tokio::join!(health.catalog(), health.store());
    let word = |well: bool| if well { "ok" } else { "unreachable" };
    let (code, status) =
        if catalog && store { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(json!({"status": status, "catalog": word(catalog), "store": word(store)})))
}
