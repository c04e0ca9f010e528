//! An engine on a folder of its own, and a client that calls the router without a socket.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;
use wharf_catalog::{Command, Envelope};
use wharf_consensus::{Group, GroupOptions};
use wharf_engine::{Engine, EngineOptions, Outcome, Session, Startup};
use wharf_iceberg_rest::{Authentication, Options, router};
use wharf_lake::{Warehouse, WarehouseOptions};

/// The superuser's password.
pub(crate) const PASSWORD: &str = "pencil";

/// A catalog that answers.
pub(crate) struct Catalog {
    pub(crate) engine: Arc<Engine>,
    router: Router,
    group: Arc<Group>,
    pub(crate) folder: TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Catalog {
    /// One that lets everybody in.
    pub(crate) async fn open() -> Catalog {
        Catalog::with(Options {
            authentication: Authentication::Trust { role: "wharf".to_owned() },
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn with(options: Options) -> Catalog {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::open(GroupOptions::new(folder.path().join("catalog"))).await.unwrap();
        let command = Command::Bootstrap {
            database: "wharf".to_owned(),
            superuser: "wharf".to_owned(),
            verifier: Some(wharf_engine::scram_verifier(PASSWORD).unwrap()),
        };
        let envelope = Envelope { request_id: Uuid::new_v4(), now_ms: 0, command };
        group.propose(envelope).await.unwrap().unwrap();
        let url = format!("file://{}", folder.path().join("warehouse").display());
        let warehouse = Warehouse::open(&url, WarehouseOptions::default()).unwrap();
        let spill_directory = folder.path().join("spill");
        std::fs::create_dir(&spill_directory).unwrap();
        let engine_options = EngineOptions { spill_directory, ..EngineOptions::default() };
        let engine = Engine::open(Arc::clone(&group), warehouse, engine_options).await.unwrap();
        Catalog { router: router(Arc::clone(&engine), options), engine, group, folder }
    }

    /// From now on another node of the same cluster answers.
    pub(crate) fn at_another_node(&mut self, options: Options) {
        self.router = router(Arc::clone(&self.engine), options);
    }

    /// Sends a request; `path` begins after `/iceberg/v1`.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/iceberg/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = self.router.clone().oneshot(request.body(Body::from(body)).unwrap());
        let response = tokio::time::timeout(Duration::from_secs(60), sent).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}")),
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub(crate) async fn head(&self, path: &str) -> StatusCode {
        self.send(Method::HEAD, path, &[], Vec::new()).await.status
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let body = serde_json::to_vec(&body).unwrap();
        self.send(Method::POST, path, &[(header::CONTENT_TYPE.as_str(), "application/json")], body).await
    }

    /// A table `public.name` with columns `id` (long) and `name` (string).
    pub(crate) async fn table(&self, name: &str) -> Value {
        let made = self.post("/wharf/namespaces/public/tables", json!({"name": name, "schema": schema()})).await;
        made.ok()
    }

    pub(crate) async fn session(&self) -> Session {
        let (user, database) = ("wharf".to_owned(), "wharf".to_owned());
        self.engine.open_session(Startup { user, database, ..Startup::default() }).await.unwrap()
    }

    /// Runs SQL; returns the values of the rows as text, or the error as text.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Vec<String>, String> {
        let mut session = self.session().await;
        let mut rows = Vec::new();
        for statement in session.split(sql).unwrap() {
            let outcome = session.run(&statement).await;
            let outcome = match outcome {
                Ok(outcome) => session.end_implicit(true).await.map(|()| outcome),
                Err(error) => Err(error),
            };
            let Outcome::Rows(mut stream) = outcome.map_err(|error| format!("{} {error}", error.code.as_str()))? else {
                continue;
            };
            while let Some(batch) = stream.batches.next().await {
                rows.extend(lines(&batch.map_err(|error| format!("{} {error}", error.code.as_str()))?));
            }
        }
        Ok(rows)
    }

    pub(crate) async fn close(self) {
        self.group.shutdown().await.unwrap();
    }
}

/// The rows of a batch, their values parted by bars.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let value = |column: usize, row: usize| array_value_to_string(batch.column(column), row).unwrap();
    let line = |row| (0..batch.num_columns()).map(|column| value(column, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// Columns `id` and `name`.
pub(crate) fn schema() -> Value {
    json!({
        "type": "struct", "schema-id": 0,
        "fields": [
            {"id": 1, "name": "id", "type": "long", "required": false},
            {"id": 2, "name": "name", "type": "string", "required": false},
        ],
    })
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }

    /// Expects an error of the specification's form.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, exception: &str) -> String {
        assert_eq!((self.status.as_u16(), &self.body["error"]["type"]), (status, &json!(exception)), "{}", self.body);
        assert_eq!(self.body["error"]["code"], json!(status));
        self.body["error"]["message"].as_str().unwrap().to_owned()
    }
}
