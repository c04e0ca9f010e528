//! Commits: what they change, what they keep, what they leave behind when they fail.

use wharf_lake::{FAILPOINTS, FILE_NUMBER, RemovedFiles, TableWriter, WriteOptions, commit};

use super::*;

#[tokio::test]
async fn states_of_a_table_do_not_change() {
    let lake = Lake::new();
    let empty = lake.table(&bigint()).await;
    assert_eq!((empty.row_count(), empty.snapshot_id()), (Some(0), None));
    let one = append(&lake.warehouse, &empty, bigints([1])).await.unwrap();
    let two = append(&lake.warehouse, &one, bigints([2])).await.unwrap();
    let none = commit::replace(&lake.warehouse, &two, Vec::new()).await.unwrap();
    let none = lake.warehouse.load(&none).await.unwrap();
    let again = append(&lake.warehouse, &none, bigints([5, 6])).await.unwrap();
    for warehouse in [Arc::clone(&lake.warehouse), lake.reopened()] {
        for (table, expected) in
            [(&empty, vec![]), (&one, vec![1]), (&two, vec![1, 2]), (&none, vec![]), (&again, vec![5, 6])]
        {
            let table = warehouse.load(table.metadata_location()).await.unwrap();
            assert_eq!(all(&warehouse, &table).await, expected);
            assert_eq!(table.row_count(), Some(expected.len() as u64));
        }
    }
}

#[tokio::test]
async fn nothing_to_change_is_no_change() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let location = commit::append(&lake.warehouse, &table, Vec::new()).await.unwrap();
    assert_eq!(location, table.metadata_location());
    let location = commit::replace(&lake.warehouse, &table, Vec::new()).await.unwrap();
    assert_eq!(location, table.metadata_location());
}

#[tokio::test]
async fn an_append_that_lost_the_race_is_repeated_on_the_new_head() {
    let lake = Lake::new();
    let base = lake.table(&bigint()).await;
    let base = append(&lake.warehouse, &base, bigints([0])).await.unwrap();
    let ours = write(&lake.warehouse, &base, [bigints([1])], WriteOptions::default()).await;
    let theirs = write(&lake.warehouse, &base, [bigints([2])], WriteOptions::default()).await;
    let (lost, won) = futures::join!(
        commit::append(&lake.warehouse, &base, ours.clone()),
        commit::append(&lake.warehouse, &base, theirs),
    );
    let (lost, won) = (lost.unwrap(), won.unwrap());
    assert_ne!(lost, won);
    let head = lake.warehouse.load(&won).await.unwrap();
    assert_eq!(all(&lake.warehouse, &head).await, [0, 2]);
    let repeated = commit::append(&lake.warehouse, &head, ours).await.unwrap();
    let warehouse = lake.reopened();
    let head = warehouse.load(&repeated).await.unwrap();
    assert_eq!(all(&warehouse, &head).await, [0, 1, 2]);
}

#[tokio::test]
async fn many_small_commits_stay_small() {
    let lake = Lake::new();
    let mut table = lake.table(&bigint()).await;
    for i in 0..230 {
        // Sometimes from the files alone, as after a restart.
        if i % 37 == 0 {
            table = lake.reopened().load(table.metadata_location()).await.unwrap();
        }
        table = append(&lake.warehouse, &table, bigints([i])).await.unwrap();
    }
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    assert_eq!(all(&warehouse, &table).await, (0..230).collect::<Vec<_>>());
    let path = table.metadata_location().strip_prefix("file://").unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for list in ["snapshots", "snapshot-log", "metadata-log"] {
        assert_eq!(metadata[list].as_array().unwrap().len(), 50, "{list}");
    }
    assert!(path.contains("/metadata/00230-"), "{path}");
    let summary = &metadata["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .find(|snapshot| snapshot["snapshot-id"] == metadata["current-snapshot-id"])
        .unwrap()["summary"];
    assert_eq!((summary["total-records"].as_str(), summary["total-data-files"].as_str()), (Some("230"), Some("230")));
}

/// The files with these numbers.
async fn locations(table: &Arc<LakeTable>, numbers: &[i64]) -> RemovedFiles {
    let files = table.rewritable().await.unwrap();
    files.only(&numbers.iter().copied().collect()).removed_files().await.unwrap()
}

#[tokio::test]
async fn rows_name_their_file_and_files_are_overwritten() {
    let lake = Lake::new();
    let mut table = lake.table(&bigint()).await;
    for values in [vec![1, 2], vec![3], vec![4, 5]] {
        table = append(&lake.warehouse, &table, bigints(values)).await.unwrap();
    }
    let session = SessionContext::new();
    let (url, store) = lake.warehouse.object_store();
    session.register_object_store(url.as_ref(), store);
    session.register_table("t", Arc::new(table.rewritable().await.unwrap())).unwrap();
    let sql = format!("SELECT DISTINCT \"{FILE_NUMBER}\" FROM t WHERE a > 2 AND a < 5 ORDER BY 1");
    let found = query(&session, &sql).await;
    let numbers: Vec<_> =
        found.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(numbers.len(), 2);
    let removed = locations(&table, &numbers).await;
    let ours = write(&lake.warehouse, &table, [bigints([5])], WriteOptions::default()).await;
    let new = commit::overwrite(&lake.warehouse, &table, &removed, ours.clone()).await.unwrap().unwrap();
    for warehouse in [Arc::clone(&lake.warehouse), lake.reopened()] {
        let new = warehouse.load(&new).await.unwrap();
        assert_eq!(all(&warehouse, &new).await, [1, 2, 5]);
        assert_eq!((new.row_count(), new.file_count()), (Some(3), Some(2)));
    }

    // On a head that somebody else appended to, the same works; on one where the files are gone it does not.
    let appended = append(&lake.warehouse, &table, bigints([6])).await.unwrap();
    let again = commit::overwrite(&lake.warehouse, &appended, &removed, ours.clone()).await.unwrap().unwrap();
    let again = lake.warehouse.load(&again).await.unwrap();
    assert_eq!(all(&lake.warehouse, &again).await, [1, 2, 5, 6]);
    assert!(commit::overwrite(&lake.warehouse, &again, &removed, ours).await.unwrap().is_none());
}

#[tokio::test]
async fn many_small_overwrites_stay_small() {
    let lake = Lake::new();
    let mut table = lake.table(&bigint()).await;
    table = append(&lake.warehouse, &table, bigints([-1])).await.unwrap();
    for i in 0..130 {
        if i % 37 == 0 {
            table = lake.reopened().load(table.metadata_location()).await.unwrap();
        }
        table = append(&lake.warehouse, &table, bigints([i, i])).await.unwrap();
        // The newest file first.
        let removed = locations(&table, &[0]).await;
        let ours = write(&lake.warehouse, &table, [bigints([i])], WriteOptions::default()).await;
        let new = commit::overwrite(&lake.warehouse, &table, &removed, ours).await.unwrap().unwrap();
        table = lake.warehouse.load(&new).await.unwrap();
    }
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    assert_eq!(all(&warehouse, &table).await, (-1..130).collect::<Vec<_>>());
    assert_eq!(table.row_count(), Some(131));
}

#[tokio::test]
async fn a_table_that_was_read_is_planned_without_the_store() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1])).await.unwrap();
    let warehouse = lake.reopened();
    let read = warehouse.load(table.metadata_location()).await.unwrap();
    plan(&session(&warehouse, &read).await, "SELECT * FROM t").await;
    for file in lake.files(".avro").into_iter().chain(lake.files(".json")) {
        std::fs::remove_file(file).unwrap();
    }
    for warehouse in [warehouse, Arc::clone(&lake.warehouse)] {
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        assert_eq!(all(&warehouse, &table).await, [1]);
    }
}

#[tokio::test]
async fn columns_are_renamed_added_and_described() {
    let lake = Lake::new();
    let mut columns = vec![
        column("a", SqlType::BigInt, 1),
        column("b", SqlType::Text, 2),
        column("c", SqlType::Array(Box::new(SqlType::Text)), 3),
    ];
    let table = lake.table(&columns).await;
    let rows = |a: i64, b: &str| {
        let mut list = arrow::array::ListBuilder::new(arrow::array::StringViewBuilder::new());
        list.append_value([Some(b)]);
        let b = arrow::array::StringViewArray::from_iter_values([b]);
        (Arc::new(Int64Array::from(vec![a])) as ArrayRef, Arc::new(b) as ArrayRef, Arc::new(list.finish()) as ArrayRef)
    };
    let (a, b, c) = rows(1, "one");
    let table = append(&lake.warehouse, &table, batch([("a", a), ("b", b), ("c", c)])).await.unwrap();

    // The names of two columns change places, which only field ids can follow.
    columns[0].name = "b".to_owned();
    columns[1].name = "a".to_owned();
    columns[1].comment = Some("was b".to_owned());
    columns[2].default = Some("'{}'".to_owned());
    assert_eq!(table.last_column_id(), 4, "an element has an id, too");
    columns.push(column("d", SqlType::Varchar(Some(3)), 5));
    let location =
        commit::set_columns(&lake.warehouse, &table, &commit::SchemaChange::of(&table, &columns)).await.unwrap();
    let table = lake.reopened().load(&location).await.unwrap();
    assert_eq!(table.columns(), columns);
    assert_eq!(table.last_column_id(), 5);
    let (b, a, c) = rows(2, "two");
    let d = Arc::new(arrow::array::StringViewArray::from_iter_values(["new"]));
    let table = append(&lake.warehouse, &table, batch([("b", b), ("a", a), ("c", c), ("d", d)])).await.unwrap();

    let session = session(&lake.warehouse, &table).await;
    let rows = query(&session, "SELECT b, a, c[1] AS c, d FROM t WHERE a >= 'one' AND b < 3 ORDER BY b").await;
    let text = arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    let expected = "\
+---+-----+-----+-----+
| b | a   | c   | d   |
+---+-----+-----+-----+
| 1 | one | one |     |
| 2 | two | two | new |
+---+-----+-----+-----+";
    assert_eq!(text, expected);
    assert_eq!(number(&session, "SELECT max(b) FROM t").await, 2);
    assert_eq!(number(&session, "SELECT count(d) FROM t").await, 1);
}

#[tokio::test]
async fn columns_that_would_not_fit_the_rows_are_refused() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1])).await.unwrap();
    let with = |change: &dyn Fn(&mut Vec<Column>)| {
        let mut columns = bigint().to_vec();
        change(&mut columns);
        columns
    };
    let refused = [
        (with(&|c| c[0].ty = SqlType::Text), "column \"a\" is stored as another type"),
        (with(&|c| c[0].nullable = false), "column \"a\" may contain null values"),
        (
            with(&|c| c.push(Column { nullable: false, ..column("b", SqlType::Text, 2) })),
            "column \"b\" contains null values",
        ),
    ];
    for (columns, message) in refused {
        let error = commit::set_columns(&lake.warehouse, &table, &commit::SchemaChange::of(&table, &columns))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn a_failure_anywhere_leaves_the_base_and_the_files_as_they_were() {
    let lake = Lake::alone();
    let scenario = fail::FailScenario::setup();
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1])).await.unwrap();
    let files = write(&lake.warehouse, &table, [bigints([2])], WriteOptions::default()).await;
    let before = lake.files("");
    for failpoint in FAILPOINTS {
        fail::cfg(*failpoint, "1*return").unwrap();
        let error = if *failpoint == "lake::data_file_written" {
            let mut writer = TableWriter::new(&lake.warehouse, &table, WriteOptions::default());
            writer.write(bigints([3])).await.unwrap();
            writer.finish().await.unwrap_err()
        } else {
            commit::append(&lake.warehouse, &table, files.clone()).await.unwrap_err()
        };
        assert_eq!(error.to_string(), format!("failpoint \"{failpoint}\""));
        assert_eq!(lake.files(""), before, "{failpoint}");
        fail::remove(*failpoint);
    }
    let location = commit::append(&lake.warehouse, &table, files.clone()).await.unwrap();
    let head = lake.warehouse.load(&location).await.unwrap();
    assert_eq!(all(&lake.warehouse, &head).await, [1, 2]);
    assert_eq!(all(&lake.warehouse, &table).await, [1]);
    scenario.teardown();
}
