//! Views: SQL's, in Iceberg's form.

use serde_json::{Value, json};

use crate::support::Catalog;

const VIEWS: &str = "/wharf/namespaces/public/views";

fn version(sql: &str, dialect: &str) -> Value {
    json!({
        "version-id": 1, "timestamp-ms": 0, "schema-id": 0, "summary": {}, "default-namespace": ["public"],
        "representations": [{"type": "sql", "sql": sql, "dialect": dialect}],
    })
}

fn view(name: &str, sql: &str, dialect: &str) -> Value {
    let field = json!({"id": 1, "name": "n", "type": "long", "required": false});
    let schema = json!({"type": "struct", "schema-id": 0, "fields": [field]});
    json!({"name": name, "schema": schema, "view-version": version(sql, dialect), "properties": {}})
}

#[tokio::test(flavor = "multi_thread")]
async fn views_come_and_go_on_both_sides() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE VIEW here AS SELECT name FROM t").await.unwrap();
    let made = catalog.post(VIEWS, view("v", "SELECT count(*) FROM t", "postgresql")).await.ok();
    assert_eq!(catalog.sql("SELECT n FROM v").await.unwrap(), ["2"]);
    let loaded = catalog.get(&format!("{VIEWS}/v")).await.ok();
    assert_eq!(loaded, made);
    assert_eq!(loaded["metadata"]["versions"][0]["representations"][0]["dialect"], "postgresql");
    assert_eq!(loaded["metadata"]["schemas"][0]["fields"][0]["type"], "long");
    let names = catalog.get(VIEWS).await.ok()["identifiers"].clone();
    assert_eq!((&names[0]["name"], &names[1]["name"]), (&json!("here"), &json!("v")));
    let tables = catalog.get("/wharf/namespaces/public/tables").await.ok()["identifiers"].clone();
    assert_eq!(tables.as_array().unwrap().len(), 1, "views are no tables");

    let uuid = &loaded["metadata"]["view-uuid"];
    let replace = async |uuid: &Value, sql: &str| {
        let requirements = json!([{"type": "assert-view-uuid", "uuid": uuid}]);
        let updates = json!([
            {"action": "add-view-version", "view-version": version(sql, "wharf")},
            {"action": "set-current-view-version", "view-version-id": -1},
        ]);
        catalog.post(&format!("{VIEWS}/v"), json!({"requirements": requirements, "updates": updates})).await
    };
    let replaced = replace(uuid, "SELECT max(id) AS n FROM t").await.ok();
    assert_eq!(&replaced["metadata"]["view-uuid"], uuid);
    assert_ne!(replaced["metadata"]["current-version-id"], loaded["metadata"]["current-version-id"]);
    replace(&json!("x"), "SELECT 1 AS n").await.refused(409, "CommitFailedException");
    replace(uuid, "SELECT 'text' AS other").await.refused(400, "BadRequestException");

    let name = |name: &str| json!({"namespace": ["public"], "name": name});
    let rename = json!({"source": name("v"), "destination": name("w")});
    assert_eq!(catalog.post("/wharf/views/rename", rename.clone()).await.status, 204);
    catalog.post("/wharf/views/rename", rename).await.refused(404, "NoSuchViewException");
    assert_eq!(catalog.head(&format!("{VIEWS}/w")).await, 204);
    assert_eq!(catalog.delete(&format!("{VIEWS}/w")).await.status, 204);
    catalog.get(&format!("{VIEWS}/w")).await.refused(404, "NoSuchViewException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_view_is_refused() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    let create = async |view: Value| catalog.post(VIEWS, view).await;
    create(view("t", "SELECT 1", "postgresql")).await.refused(409, "AlreadyExistsException");
    create(view("v", "SELECT 1", "spark")).await.refused(406, "UnsupportedOperationException");
    create(view("v", "SELECT * FROM nowhere", "postgresql")).await.refused(404, "NoSuchTableException");
    create(view("v", "SELECT 1; DROP TABLE t", "postgresql")).await.refused(400, "BadRequestException");
    create(view("v", "nonsense", "postgresql")).await.refused(400, "BadRequestException");
    assert_eq!(catalog.head("/wharf/namespaces/public/tables/t").await, 204);
    catalog.get(&format!("{VIEWS}/t")).await.refused(404, "NoSuchViewException");
    catalog.close().await;
}
