//! Namespaces are schemas.

use serde_json::json;

use crate::support::Catalog;

#[tokio::test(flavor = "multi_thread")]
async fn schemas_come_and_go_on_both_sides() {
    let catalog = Catalog::open().await;
    assert_eq!(catalog.get("/wharf/namespaces").await.ok()["namespaces"], json!([["public"]]));
    let properties = json!({"comment": "of the sales", "owner": "ann"});
    catalog.post("/wharf/namespaces", json!({"namespace": ["sales"], "properties": properties})).await.ok();
    catalog.sql("CREATE TABLE sales.t (a integer); CREATE SCHEMA other").await.unwrap();
    let listed = catalog.get("/wharf/namespaces").await.ok();
    assert_eq!(listed["namespaces"], json!([["other"], ["public"], ["sales"]]));
    assert_eq!(catalog.get("/wharf/namespaces/sales").await.ok()["properties"], properties);
    let comment = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'sales'";
    assert_eq!(catalog.sql(comment).await.unwrap(), ["of the sales"]);

    catalog.delete("/wharf/namespaces/sales").await.refused(409, "NamespaceNotEmptyException");
    catalog.sql("DROP TABLE sales.t").await.unwrap();
    assert_eq!(catalog.delete("/wharf/namespaces/sales").await.status, 204);
    assert_eq!(catalog.head("/wharf/namespaces/sales").await, 404);
    assert_eq!(catalog.head("/wharf/namespaces/other").await, 204);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_set_and_removed() {
    let catalog = Catalog::open().await;
    let path = "/wharf/namespaces/public/properties";
    catalog.post(path, json!({"updates": {"a": "1", "b": "2"}})).await.ok();
    let answer = catalog.post(path, json!({"updates": {"c": "3"}, "removals": ["a", "z", "comment"]})).await.ok();
    assert_eq!(answer, json!({"updated": ["c"], "removed": ["a", "comment"], "missing": ["z"]}));
    assert_eq!(catalog.get("/wharf/namespaces/public").await.ok()["properties"], json!({"b": "2", "c": "3"}));
    let both = catalog.post(path, json!({"updates": {"b": "3"}, "removals": ["b"]})).await;
    both.refused(422, "UnprocessableEntityException");
    let large = catalog.post(path, json!({"updates": {"b": "x".repeat(70_000)}})).await;
    large.refused(400, "BadRequestException");
    catalog.post("/wharf/namespaces/nowhere/properties", json!({})).await.refused(404, "NoSuchNamespaceException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_schema_is_refused() {
    let catalog = Catalog::open().await;
    let create = |namespace: serde_json::Value| catalog.post("/wharf/namespaces", json!({"namespace": namespace}));
    create(json!(["public"])).await.refused(409, "AlreadyExistsException");
    create(json!(["a", "b"])).await.refused(406, "UnsupportedOperationException");
    create(json!(["pg_mine"])).await.refused(400, "BadRequestException");
    create(json!([""])).await.refused(400, "BadRequestException");
    catalog.get("/wharf/namespaces/pg_catalog").await.refused(404, "NoSuchNamespaceException");
    catalog.get("/wharf/namespaces/a%1Fb").await.refused(404, "NoSuchNamespaceException");
    catalog.get("/elsewhere/namespaces").await.refused(404, "NoSuchWarehouseException");
    catalog.get("/wharf/namespaces?parent=nowhere").await.refused(404, "NoSuchNamespaceException");
    assert_eq!(catalog.get("/wharf/namespaces?parent=public").await.ok()["namespaces"], json!([]));
    catalog.get("/wharf/nonsense").await.refused(404, "NotFoundException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let catalog = Catalog::open().await;
    catalog.sql("CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA c").await.unwrap();
    let mut seen = Vec::new();
    let mut path = "/wharf/namespaces?pageSize=3&pageToken=".to_owned();
    loop {
        let page = catalog.get(&path).await.ok();
        seen.push(page["namespaces"].as_array().unwrap().len());
        let Some(token) = page["next-page-token"].as_str() else { break };
        path = format!("/wharf/namespaces?pageSize=3&pageToken={token}");
    }
    assert_eq!(seen, [3, 1]);
    catalog.close().await;
}
