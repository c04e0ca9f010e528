//! Tables: made, loaded, taken over, renamed and dropped.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Catalog, schema};

const TABLES: &str = "/wharf/namespaces/public/tables";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_one_for_both_sides() {
    let catalog = Catalog::open().await;
    let made = catalog.table("t").await;
    assert_eq!(made["metadata"]["format-version"], 2);
    assert_eq!(catalog.sql("SELECT * FROM t").await.unwrap(), Vec::<String>::new());
    catalog
        .sql("INSERT INTO t VALUES (1, 'a'); CREATE TABLE made_here (a integer NOT NULL, b varchar(3))")
        .await
        .unwrap();

    let listed = catalog.get(TABLES).await.ok();
    let name = |name: &str| json!({"namespace": ["public"], "name": name});
    assert_eq!(listed["identifiers"], json!([name("made_here"), name("t")]));
    let loaded = catalog.get(&format!("{TABLES}/t")).await.ok();
    assert_ne!(loaded["metadata-location"], made["metadata-location"]);
    assert_eq!(loaded["metadata"]["table-uuid"], made["metadata"]["table-uuid"]);
    assert_eq!(loaded["metadata"]["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(loaded["config"], json!({}));
    let fields = catalog.get(&format!("{TABLES}/made_here")).await.ok()["metadata"]["schemas"][0]["fields"].clone();
    assert_eq!(fields[0]["required"], true);
    assert_eq!((&fields[0]["type"], &fields[1]["type"]), (&json!("int"), &json!("string")));

    assert_eq!(catalog.head(&format!("{TABLES}/t")).await, 204);
    assert_eq!(catalog.get(&format!("{TABLES}/t/credentials")).await.ok(), json!({"storage-credentials": []}));
    let report = catalog.post(&format!("{TABLES}/t/metrics"), json!({"report-type": "scan-report"})).await;
    assert_eq!(report.status, 204);
    assert_eq!(catalog.delete(&format!("{TABLES}/t?purgeRequested=true")).await.status, 204);
    assert_eq!(catalog.head(&format!("{TABLES}/t")).await, 404);
    assert!(catalog.sql("SELECT * FROM t").await.unwrap_err().starts_with("42P01"));
    catalog.get(&format!("{TABLES}/t")).await.refused(404, "NoSuchTableException");
    catalog.delete(&format!("{TABLES}/t")).await.refused(404, "NoSuchTableException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_table_is_not_sent_again() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    let path = format!("{TABLES}/t");
    let first = catalog.get(&path).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let again = |tag: String| async move {
        catalog.send(Method::GET, &path, &[("if-none-match", &tag)], Vec::new()).await.status.as_u16()
    };
    assert_eq!(again(tag).await, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_referenced_snapshots_on_request() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.sql("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'b')").await.unwrap();
    let count = async |query: &str| {
        let loaded = catalog.get(&format!("{TABLES}/t{query}")).await.ok();
        loaded["metadata"]["snapshots"].as_array().unwrap().len()
    };
    assert_eq!([count("").await, count("?snapshots=all").await, count("?snapshots=refs").await], [2, 2, 1]);
    catalog.get(&format!("{TABLES}/t?snapshots=some")).await.refused(400, "BadRequestException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_is_refused() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    let create = async |body: Value| catalog.post(TABLES, body).await;
    create(json!({"name": "t", "schema": schema()})).await.refused(409, "AlreadyExistsException");
    create(json!({"name": "", "schema": schema()})).await.refused(400, "BadRequestException");
    create(json!({"name": "u"})).await.refused(400, "BadRequestException");
    create(json!({"name": "u", "schema": {"type": "struct", "fields": "x"}})).await.refused(400, "BadRequestException");
    let properties = json!({"format-version": "9"});
    create(json!({"name": "u", "schema": schema(), "properties": properties}))
        .await
        .refused(400, "BadRequestException");
    let elsewhere = catalog.post("/wharf/namespaces/nowhere/tables", json!({"name": "u", "schema": schema()})).await;
    elsewhere.refused(404, "NoSuchNamespaceException");
    assert!(catalog.sql("SELECT * FROM u").await.unwrap_err().starts_with("42P01"));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_sql_are_listed_and_not_read() {
    let catalog = Catalog::open().await;
    let struct_type = json!({"type": "struct", "fields": [{"id": 3, "name": "x", "type": "int", "required": false}]});
    let fields = json!([
        {"id": 1, "name": "id", "type": "long", "required": false},
        {"id": 2, "name": "s", "type": struct_type, "required": false},
    ]);
    let schema = json!({"type": "struct", "schema-id": 0, "fields": fields});
    catalog.post(TABLES, json!({"name": "t", "schema": schema})).await.ok();
    assert_eq!(catalog.get(&format!("{TABLES}/t")).await.ok()["metadata"]["schemas"][0]["fields"][1]["name"], "s");
    for sql in ["SELECT id FROM t", "INSERT INTO t (id) VALUES (1)", "DELETE FROM t"] {
        let error = catalog.sql(sql).await.expect_err(sql);
        assert!(error.starts_with("0A000 column \"s\" of Iceberg type struct"), "{sql}: {error}");
    }
    // Others may still change it.
    catalog.sql("ALTER TABLE t RENAME TO u").await.unwrap();
    let updates = json!([{"action": "set-properties", "updates": {"a": "b"}}]);
    catalog.post(&format!("{TABLES}/u"), json!({"requirements": [], "updates": updates})).await.ok();
    catalog.sql("DROP TABLE u").await.unwrap();
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_change_within_their_schema() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.table("taken").await;
    catalog.sql("CREATE SCHEMA s; INSERT INTO t VALUES (1, 'a'); CREATE VIEW v AS SELECT id FROM t").await.unwrap();
    let name = |namespace: &str, name: &str| json!({"namespace": [namespace], "name": name});
    let rename = async |from: Value, to: Value| {
        catalog.post("/wharf/tables/rename", json!({"source": from, "destination": to})).await
    };
    rename(name("public", "t"), name("public", "taken")).await.refused(409, "AlreadyExistsException");
    rename(name("public", "x"), name("public", "y")).await.refused(404, "NoSuchTableException");
    rename(name("public", "v"), name("public", "y")).await.refused(404, "NoSuchTableException");
    rename(name("public", "t"), name("s", "t")).await.refused(406, "UnsupportedOperationException");
    rename(name("public", "t"), name("nowhere", "t")).await.refused(404, "NoSuchNamespaceException");
    assert_eq!(rename(name("public", "t"), name("public", "The \"new\" one")).await.status, 204);
    assert_eq!(catalog.sql("SELECT name FROM \"The \"\"new\"\" one\"").await.unwrap(), ["a"]);
    assert_eq!(catalog.sql("SELECT * FROM v").await.unwrap(), ["1"], "views follow");
    let dependent = catalog.delete("/wharf/namespaces/public/tables/The%20%22new%22%20one").await;
    dependent.refused(409, "ConflictException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_file_is_taken_over() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.sql("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let location = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata-location"].clone();
    let register = async |name: &str, location: &Value| {
        let body = json!({"name": name, "metadata-location": location});
        catalog.post("/wharf/namespaces/public/register", body).await
    };
    register("again", &location).await.refused(409, "CommitFailedException");
    catalog.delete(&format!("{TABLES}/t")).await.ok();
    register("again", &location).await.ok();
    assert_eq!(catalog.sql("SELECT * FROM again").await.unwrap(), ["1|a"]);
    register("again", &location).await.refused(409, "AlreadyExistsException");
    register("x", &json!(format!("file://{}/none.json", catalog.folder.path().display())))
        .await
        .refused(404, "NotFoundException");
    register("x", &json!("s3://bucket/none.json")).await.refused(400, "BadRequestException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_superuser_leaves_the_warehouse() {
    let trust = wharf_iceberg_rest::Authentication::Trust { role: "ann".to_owned() };
    let options = wharf_iceberg_rest::Options { authentication: trust, ..Default::default() };
    let catalog = Catalog::with(options).await;
    catalog.sql("CREATE ROLE ann LOGIN").await.unwrap();
    let outside = format!("file://{}/elsewhere", catalog.folder.path().display());
    let create = async |location: &str| {
        catalog.post(TABLES, json!({"name": "t", "schema": schema(), "location": location})).await
    };
    for location in [outside.as_str(), "file:///etc", &format!("{outside}/../warehouse/x")] {
        create(location).await.refused(400, "BadRequestException");
    }
    let body = json!({"name": "t", "metadata-location": "file:///etc/passwd"});
    let message = catalog.post("/wharf/namespaces/public/register", body).await.refused(400, "BadRequestException");
    assert!(message.contains("outside of the warehouse"), "{message}");
    create(&format!("file://{}/warehouse/mine", catalog.folder.path().display())).await.ok();
    let set = async |location: &str| {
        let updates = json!([{"action": "set-location", "location": location}]);
        catalog.post(&format!("{TABLES}/t"), json!({"requirements": [], "updates": updates})).await
    };
    set(&outside).await.refused(400, "BadRequestException");
    set(&format!("file://{}/warehouse/moved", catalog.folder.path().display())).await.ok();
    catalog.close().await;
}
