//! Whether a node is said to be well, and only then.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::Catalog;

fn read((status, body): (StatusCode, String)) -> (StatusCode, Value) {
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_is_live_and_ready_until_it_stops() {
    let catalog = Catalog::open().await;
    assert_eq!(read(catalog.get("/health/live").await), (StatusCode::OK, json!({"status": "live"})));
    let ready = json!({"status": "ready", "catalog": "ok", "store": "ok"});
    assert_eq!(read(catalog.get("/health/ready").await), (StatusCode::OK, ready));
    catalog.shutdown.cancel();
    let stopping = json!({"status": "stopping"});
    assert_eq!(read(catalog.get("/health/ready").await), (StatusCode::SERVICE_UNAVAILABLE, stopping));
    assert_eq!(read(catalog.get("/health/live").await).0, StatusCode::OK);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_store_is_live_and_not_ready() {
    let catalog = Catalog::open().await;
    std::fs::remove_dir_all(catalog.folder.path().join("warehouse")).unwrap();
    let expected = json!({"status": "not ready", "catalog": "ok", "store": "unreachable"});
    assert_eq!(read(catalog.get("/health/ready").await), (StatusCode::SERVICE_UNAVAILABLE, expected));
    assert_eq!(read(catalog.get("/health/live").await).0, StatusCode::OK);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_catalog_does_not_answer_is_not_ready() {
    let catalog = Catalog::open().await;
    catalog.group.shutdown().await.unwrap();
    let expected = json!({"status": "not ready", "catalog": "unreachable", "store": "ok"});
    assert_eq!(read(catalog.get("/health/ready").await), (StatusCode::SERVICE_UNAVAILABLE, expected));
}
