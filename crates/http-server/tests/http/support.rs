//! An engine on a folder of its own, and a client that calls the router without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;
use wharf_catalog::{Command, Envelope};
use wharf_consensus::{Group, GroupOptions};
use wharf_engine::{Engine, EngineOptions, Outcome, Startup};
use wharf_http_server::router;
use wharf_iceberg_rest::Authentication;
use wharf_lake::{Warehouse, WarehouseOptions};

pub(crate) fn catalog_options() -> wharf_iceberg_rest::Options {
    let authentication = Authentication::Trust { role: "wharf".to_owned() };
    wharf_iceberg_rest::Options { authentication, ..wharf_iceberg_rest::Options::default() }
}

/// A catalog that answers.
pub(crate) struct Catalog {
    pub(crate) engine: Arc<Engine>,
    pub(crate) group: Arc<Group>,
    pub(crate) shutdown: CancellationToken,
    router: axum::Router,
    pub(crate) folder: TempDir,
}

impl Catalog {
    pub(crate) async fn open() -> Catalog {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::open(GroupOptions::new(folder.path().join("catalog"))).await.unwrap();
        let command =
            Command::Bootstrap { database: "wharf".to_owned(), superuser: "wharf".to_owned(), verifier: None };
        let envelope = Envelope { request_id: Uuid::new_v4(), now_ms: 0, command };
        group.propose(envelope).await.unwrap().unwrap();
        let url = format!("file://{}", folder.path().join("warehouse").display());
        let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
        let spill_directory = folder.path().join("spill");
        std::fs::create_dir(&spill_directory).unwrap();
        let options = EngineOptions { spill_directory, ..EngineOptions::default() };
        let engine = Engine::open(Arc::clone(&group), warehouse, options).await.unwrap();
        let shutdown = CancellationToken::new();
        let router = router(Arc::clone(&engine), catalog_options(), shutdown.clone());
        Catalog { engine, group, shutdown, router, folder }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let sent = self.router.clone().oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(60), sent).await.unwrap().unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Runs statements of one session and takes their rows; whether each went well.
    pub(crate) async fn sql(&self, texts: &[&str]) -> Vec<bool> {
        use futures::StreamExt;
        let (user, database) = ("wharf".to_owned(), "wharf".to_owned());
        let mut session = self.engine.open_session(Startup { user, database, ..Startup::default() }).await.unwrap();
        let mut well = Vec::new();
        for text in texts {
            let Ok(statements) = session.split(text) else {
                well.push(false);
                continue;
            };
            let outcome = session.run(&statements[0]).await;
            well.push(match outcome {
                Ok(Outcome::Rows(mut rows)) => {
                    let mut fine = true;
                    while let Some(batch) = rows.batches.next().await {
                        fine &= batch.is_ok();
                    }
                    fine
                }
                Ok(_) => true,
                Err(_) => false,
            });
        }
        well
    }

    pub(crate) async fn close(self) {
        self.group.shutdown().await.unwrap();
    }
}
