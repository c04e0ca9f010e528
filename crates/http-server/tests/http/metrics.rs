//! What is counted.

use std::collections::BTreeMap;

use axum::http::StatusCode;

use crate::support::Catalog;

/// The samples of a scrape, by name and labels.
async fn scrape(catalog: &Catalog) -> BTreeMap<String, f64> {
    let (status, text) = catalog.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
    };
    samples.map(sample).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_counted_by_kind_and_class_of_their_sqlstate() {
    let catalog = Catalog::open().await;
    let well = catalog
        .sql(&[
            "SELECT 1",
            "SELECT 2",
            "SELECT 1 / 0",
            "SELECT * FROM nowhere",
            "SELEC",
            "CREATE TABLE t (a int)",
            "INSERT INTO t VALUES (1), (2)",
        ])
        .await;
    assert_eq!(well, [true, true, false, false, false, true, true]);
    let samples = scrape(&catalog).await;
    let statements = |kind: &str, class: &str| {
        samples.get(&format!("wharf_statements_total{{kind=\"{kind}\",sqlstate_class=\"{class}\"}}")).copied()
    };
    assert_eq!(statements("SELECT", "00"), Some(2.0), "{samples:?}");
    assert_eq!(statements("SELECT", "22"), Some(1.0), "division by zero");
    assert_eq!(statements("SELECT", "42"), Some(1.0), "no such table");
    assert_eq!(statements("UNKNOWN", "42"), Some(1.0), "no statement");
    assert_eq!(statements("INSERT", "00"), Some(1.0));
    assert_eq!(samples["wharf_statement_duration_seconds_count{kind=\"SELECT\"}"], 4.0);
    assert_eq!((samples["wharf_statements_running"], samples["wharf_sessions"]), (0.0, 0.0));
    assert_eq!((samples["wharf_statements_queued"], samples["wharf_statement_wait_seconds_count"]), (0.0, 0.0));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layers_below_are_asked() {
    let catalog = Catalog::open().await;
    let before = scrape(&catalog).await;
    assert_eq!(before["wharf_raft_leads"], 1.0);
    assert!(before["wharf_memory_pool_limit_bytes"] > 0.0);
    catalog.sql(&["CREATE TABLE t (a int)"]).await;
    let after = scrape(&catalog).await;
    assert!(after["wharf_raft_applied_index"] > before["wharf_raft_applied_index"]);
    assert_eq!(after["wharf_raft_lag_entries"], 0.0);
    catalog.close().await;
}
