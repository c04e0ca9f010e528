//! Commits: requirements, updates, and the races between writers.

use serde_json::{Value, json};

use crate::support::{Catalog, schema};

const TABLES: &str = "/wharf/namespaces/public/tables";

async fn commit(catalog: &Catalog, table: &str, requirements: Value, updates: Value) -> crate::support::Answer {
    catalog.post(&format!("{TABLES}/{table}"), json!({"requirements": requirements, "updates": updates})).await
}

fn set(key: &str, value: &str) -> Value {
    json!([{"action": "set-properties", "updates": {key: value}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_change_is_seen_at_once() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.sql("INSERT INTO t VALUES (1, 'a'); COMMENT ON COLUMN t.id IS 'the number'").await.unwrap();
    let mut changed = schema();
    changed["fields"][1]["name"] = json!("label");
    changed["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 3, "name": "price", "type": "decimal(9, 2)", "required": false}));
    let updates =
        json!([{"action": "add-schema", "schema": changed}, {"action": "set-current-schema", "schema-id": -1}]);
    let requirements = json!([{"type": "assert-current-schema-id", "current-schema-id": 0}]);
    let answer = commit(&catalog, "t", requirements.clone(), updates.clone()).await.ok();
    assert_eq!(answer["metadata"]["current-schema-id"], 1);
    assert_eq!(catalog.sql("SELECT id, label, price FROM t").await.unwrap(), ["1|a|"]);
    catalog.sql("INSERT INTO t (id, price) VALUES (2, 1.5)").await.unwrap();
    assert_eq!(catalog.sql("SELECT label, price FROM t WHERE id = 2").await.unwrap(), ["|1.50"]);
    let comment = "SELECT col_description('t'::regclass, 1)";
    assert_eq!(catalog.sql(comment).await.unwrap(), ["the number"]);
    let types =
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 3";
    assert_eq!(catalog.sql(types).await.unwrap(), ["numeric(9,2)"]);
    // The same again: the requirement does not hold any more.
    commit(&catalog, "t", requirements, updates).await.refused(409, "CommitFailedException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_sql_has_made_something_of_stay() {
    let catalog = Catalog::open().await;
    catalog.sql("CREATE TABLE t (id bigint, name text, n integer CHECK (n > 0))").await.unwrap();
    let before = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata"]["schemas"][0].clone();
    let change = async |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut schema = before.clone();
        edit(schema["fields"].as_array_mut().unwrap());
        let updates =
            json!([{"action": "add-schema", "schema": schema}, {"action": "set-current-schema", "schema-id": -1}]);
        commit(&catalog, "t", json!([]), updates).await
    };
    let message = change(&|fields| drop(fields.pop())).await.refused(400, "BadRequestException");
    assert_eq!(message, "column \"n\" cannot be changed because of constraint \"t_n_check\": change it in SQL");
    change(&|fields| fields[2]["name"] = json!("m")).await.refused(400, "BadRequestException");
    change(&|fields| fields[1]["name"] = json!("label")).await.ok();
    catalog.sql("CREATE VIEW v AS SELECT label FROM t").await.unwrap();
    let message = change(&|_| ()).await.refused(400, "BadRequestException");
    assert!(message.contains("because of view \"v\""), "{message}");
    catalog.sql("DROP VIEW v").await.unwrap();
    change(&|fields| drop(fields.remove(1))).await.ok();
    assert_eq!(catalog.sql("INSERT INTO t VALUES (1, 2); SELECT * FROM t").await.unwrap(), ["1|2"]);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requirement_that_does_not_hold_is_a_conflict() {
    let catalog = Catalog::open().await;
    let uuid = catalog.table("t").await["metadata"]["table-uuid"].clone();
    catalog.sql("INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let fits = json!([{"type": "assert-table-uuid", "uuid": uuid}]);
    commit(&catalog, "t", fits, set("a", "1")).await.ok();
    for requirement in [
        json!({"type": "assert-create"}),
        json!({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null}),
        json!({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 5}),
        json!({"type": "assert-ref-snapshot-id", "ref": "none", "snapshot-id": 5}),
        json!({"type": "assert-last-assigned-field-id", "last-assigned-field-id": 7}),
        json!({"type": "assert-table-uuid", "uuid": "01937d5e-0000-7000-8000-000000000000"}),
        json!({"type": "assert-default-spec-id", "default-spec-id": 4}),
        json!({"type": "assert-default-sort-order-id", "default-sort-order-id": 4}),
        json!({"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 4}),
    ] {
        let exception = match requirement["type"].as_str() {
            Some("assert-create") => "AlreadyExistsException",
            _ => "CommitFailedException",
        };
        commit(&catalog, "t", json!([requirement]), set("b", "1")).await.refused(409, exception);
    }
    let properties = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata"]["properties"].clone();
    assert_eq!((&properties["a"], &properties["b"]), (&json!("1"), &Value::Null));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    let nothing = json!([]);
    for (requirements, updates) in [
        (json!([{"type": "assert-the-moon"}]), nothing.clone()),
        (nothing.clone(), json!([{"action": "fly"}])),
        (nothing.clone(), json!([{"action": "set-current-schema", "schema-id": 77}])),
        (nothing.clone(), json!([{"action": "assign-uuid", "uuid": "01937d5e-0000-7000-8000-000000000000"}])),
        (nothing.clone(), json!([{"action": "upgrade-format-version", "format-version": 1}])),
        (
            nothing.clone(),
            json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 5}]),
        ),
    ] {
        let shown = updates.to_string();
        let answer = commit(&catalog, "t", requirements, updates).await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.body);
        answer.refused(400, "BadRequestException");
    }
    commit(&catalog, "nowhere", nothing.clone(), set("a", "1")).await.refused(404, "NoSuchTableException");
    // Nothing asked for, nothing changed.
    let before = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata-location"].clone();
    assert_eq!(commit(&catalog, "t", nothing.clone(), nothing).await.ok()["metadata-location"], before);
    catalog.close().await;
}

/// Brings a branch to a snapshot.
fn set_branch(branch: &str, snapshot: &str) -> Value {
    let id: i64 = snapshot.parse().unwrap();
    json!([{"action": "set-snapshot-ref", "ref-name": branch, "type": "branch", "snapshot-id": id}])
}

const CURRENT: &str = "SELECT snapshot_id::text FROM t$refs WHERE name = 'main'";

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_not_set_to_rows_without_values_for_a_column() {
    let catalog = Catalog::open().await;
    catalog.sql("CREATE TABLE t (id integer, v text); INSERT INTO t VALUES (1, 'abc')").await.unwrap();
    let first = catalog.sql(CURRENT).await.unwrap().remove(0);
    catalog.sql("ALTER TABLE t ALTER v TYPE integer USING length(v)").await.unwrap();
    for branch in ["main", "other"] {
        let answer = commit(&catalog, "t", json!([]), set_branch(branch, &first)).await;
        let message = answer.refused(400, "BadRequestException");
        assert!(message.contains("its rows have no values for column \"v\""), "{message}");
    }
    let mut tag = set_branch("then", &first);
    tag[0]["type"] = json!("tag");
    commit(&catalog, "t", json!([]), tag).await.ok();
    assert_eq!(catalog.sql("SELECT v FROM t FOR VERSION AS OF 'then'").await.unwrap(), ["abc"]);
    assert_eq!(catalog.sql("SELECT v FROM t").await.unwrap(), ["3"]);

    // Metadata that nobody has looked at: no query and no write takes the rows for others than they are.
    let removed = json!([{"action": "remove-properties", "removals": ["wharf.computed.3"]}]);
    commit(&catalog, "t", json!([]), removed).await.ok();
    commit(&catalog, "t", json!([]), set_branch("main", &first)).await.ok();
    commit(&catalog, "t", json!([]), set("wharf.computed.3", "true")).await.ok();
    for sql in [
        "SELECT * FROM t",
        "SELECT count(*) FROM t WHERE v IS NULL",
        "SELECT id FROM t WHERE v = 3",
        "SELECT count(v) FROM t",
        "INSERT INTO t VALUES (2, 2)",
        "UPDATE t SET id = 2",
        "CALL wharf.rewrite_data_files(table => 't', rewrite_all => true)",
    ] {
        let error = catalog.sql(sql).await.unwrap_err();
        assert!(error.starts_with("55000 ") && error.contains("column \"v\" has no values"), "{sql}: {error}");
    }
    assert_eq!(catalog.sql("SELECT id FROM t").await.unwrap(), ["1"]);
    assert_eq!(catalog.sql("ALTER TABLE t DROP COLUMN v; SELECT * FROM t").await.unwrap(), ["1"]);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_not_set_to_rows_with_null_where_none_may_be() {
    let catalog = Catalog::open().await;
    catalog.sql("CREATE TABLE t (id integer, v integer); INSERT INTO t VALUES (1, NULL)").await.unwrap();
    let with_null = catalog.sql(CURRENT).await.unwrap().remove(0);
    catalog.sql("DELETE FROM t; INSERT INTO t VALUES (2, 2)").await.unwrap();
    let without = catalog.sql(CURRENT).await.unwrap().remove(0);
    catalog.sql("INSERT INTO t VALUES (3, 3); ALTER TABLE t ALTER v SET NOT NULL").await.unwrap();
    let message = commit(&catalog, "t", json!([]), set_branch("main", &with_null)).await;
    let message = message.refused(400, "BadRequestException");
    assert!(message.contains("column \"v\" must not be null"), "{message}");
    // The manifests say that there is none.
    commit(&catalog, "t", json!([]), set_branch("main", &without)).await.ok();
    assert_eq!(catalog.sql("SELECT * FROM t WHERE v IS NOT NULL").await.unwrap(), ["2|2"]);

    // Metadata that nobody has looked at: IS NULL is asked of the rows.
    let mut nullable = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata"]["schemas"][0].clone();
    let schema = |schema: &Value| json!([{"action": "add-schema", "schema": schema}, {"action": "set-current-schema", "schema-id": -1}]);
    nullable["fields"][1]["required"] = json!(false);
    commit(&catalog, "t", json!([]), schema(&nullable)).await.ok();
    commit(&catalog, "t", json!([]), set_branch("main", &with_null)).await.ok();
    nullable["fields"][1]["required"] = json!(true);
    commit(&catalog, "t", json!([]), schema(&nullable)).await.ok();
    assert_eq!(catalog.sql("SELECT id FROM t WHERE v IS NULL").await.unwrap(), ["1"]);
    assert_eq!(catalog.sql("SELECT count(*), count(v) FROM t").await.unwrap(), ["1|0"]);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_table_exists_when_it_is_committed() {
    let catalog = Catalog::open().await;
    let spec =
        json!({"spec-id": 0, "fields": [{"source-id": 1, "field-id": 1000, "name": "id", "transform": "identity"}]});
    let body = json!({
        "name": "t", "schema": schema(), "partition-spec": spec, "stage-create": true, "properties": {"a": "b"},
    });
    let staged = catalog.post(TABLES, body.clone()).await.ok();
    assert_eq!(staged["metadata-location"], Value::Null);
    let metadata = &staged["metadata"];
    assert_eq!(catalog.head(&format!("{TABLES}/t")).await, 404);
    let updates = json!([
        {"action": "assign-uuid", "uuid": metadata["table-uuid"]},
        {"action": "upgrade-format-version", "format-version": 2},
        {"action": "add-schema", "schema": metadata["schemas"][0]},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": metadata["partition-specs"][0]},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": metadata["sort-orders"][0]},
        {"action": "set-default-sort-order", "sort-order-id": -1},
        {"action": "set-location", "location": metadata["location"]},
        {"action": "set-properties", "updates": {"a": "b"}},
    ]);
    let create = json!([{"type": "assert-create"}]);
    let made = commit(&catalog, "t", create.clone(), updates.clone()).await.ok();
    for part in
        ["table-uuid", "location", "schemas", "partition-specs", "sort-orders", "last-partition-id", "default-spec-id"]
    {
        assert_eq!(made["metadata"][part], metadata[part], "{part}");
    }
    assert_eq!(made["metadata"]["properties"]["a"], "b");
    assert_eq!(catalog.sql("SELECT count(*) FROM t").await.unwrap(), ["0"]);
    commit(&catalog, "t", create.clone(), updates.clone()).await.refused(409, "AlreadyExistsException");
    commit(&catalog, "u", create, updates).await.refused(400, "BadRequestException");
    catalog.post(TABLES, body).await.refused(409, "AlreadyExistsException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_all_or_nothing() {
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    catalog.table("u").await;
    let change = |table: &str, requirements: Value| {
        let identifier = json!({"namespace": ["public"], "name": table});
        json!({"identifier": identifier, "requirements": requirements, "updates": set("a", "1")})
    };
    let both = async |second: Value| {
        let changes = json!({"table-changes": [change("t", json!([])), change("u", second)]});
        catalog.post("/wharf/transactions/commit", changes).await
    };
    let property =
        async |table: &str| catalog.get(&format!("{TABLES}/{table}")).await.ok()["metadata"]["properties"]["a"].clone();
    let refused = both(json!([{"type": "assert-current-schema-id", "current-schema-id": 9}])).await;
    refused.refused(409, "CommitFailedException");
    assert_eq!((property("t").await, property("u").await), (Value::Null, Value::Null));
    assert_eq!(both(json!([])).await.status, 204);
    assert_eq!((property("t").await, property("u").await), (json!("1"), json!("1")));
    let twice = json!({"table-changes": [change("t", json!([])), change("t", json!([]))]});
    catalog.post("/wharf/transactions/commit", twice).await.refused(400, "BadRequestException");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_both_kinds_lose_nothing() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 8;
    let catalog = Catalog::open().await;
    catalog.table("t").await;
    let (one, other) = tokio::join!(
        futures::future::join_all((0..WRITERS).map(async |writer| {
            for round in 0..ROUNDS {
                commit(&catalog, "t", json!([]), set(&format!("ours.{writer}.{round}"), "x")).await.ok();
            }
        })),
        futures::future::join_all((0..WRITERS).map(async |writer| {
            for round in 0..ROUNDS {
                catalog.sql(&format!("INSERT INTO t VALUES ({}, 'x')", writer * ROUNDS + round)).await.unwrap();
            }
        })),
    );
    assert_eq!((one.len(), other.len()), (WRITERS, WRITERS));
    let properties = catalog.get(&format!("{TABLES}/t")).await.ok()["metadata"]["properties"].clone();
    let set = properties.as_object().unwrap().keys().filter(|key| key.starts_with("ours.")).count();
    let expected = WRITERS * ROUNDS;
    assert_eq!(set, expected);
    assert_eq!(
        catalog.sql("SELECT count(*), count(DISTINCT id) FROM t").await.unwrap(),
        [format!("{expected}|{expected}")]
    );
    catalog.close().await;
}
