//! Row-level deletes that another engine has written are not there for any query.

use arrow::array::{Int64Array, StringViewArray};
use iceberg::spec::FormatVersion;
use wharf_lake::{WriteOptions, commit};

use super::foreign::{commit_deletes, equality_deletes, position_deletes};
use super::*;

/// A table of the numbers from 0 to 999 in one file of ten row groups, and those to 1999 in another.
async fn table(lake: &Lake) -> Arc<LakeTable> {
    let mut table = lake.table(&bigint()).await;
    for begin in [0, 1000] {
        let options = WriteOptions { row_group_rows: 100, ..WriteOptions::default() };
        let files = write(&lake.warehouse, &table, [bigints(begin..begin + 1000)], options).await;
        assert_eq!(files.len(), 1);
        let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
        table = lake.warehouse.load(&location).await.unwrap();
    }
    table
}

/// Where the file is that begins with this number.
async fn location(warehouse: &Warehouse, table: &Arc<LakeTable>, number: i64) -> String {
    let provider = Arc::new(table.rewritable().await.unwrap());
    let session = SessionContext::new();
    let (url, store) = warehouse.object_store();
    session.register_object_store(url.as_ref(), store);
    session.register_table("t", provider.clone()).unwrap();
    let sql = format!("SELECT \"{}\" FROM t WHERE a = {number}", wharf_lake::FILE_NUMBER);
    let index = self::number(&session, &sql).await;
    provider.locations()[index as usize].clone()
}

#[tokio::test]
async fn position_deletes_compose_with_pruning_limits_and_counts() {
    let lake = Lake::new();
    let table = table(&lake).await;
    let [first, second] = [location(&lake.warehouse, &table, 0).await, location(&lake.warehouse, &table, 1000).await];
    // One delete file for both, and another one for the second alone; a row group is gone altogether.
    let mut rows: Vec<_> = [0, 99, 100, 555].map(|position| (first.as_str(), position)).into();
    rows.extend((300..400).map(|position| (second.as_str(), position)));
    let both = position_deletes(&table, "both", &rows).build().unwrap();
    let one = position_deletes(&table, "one", &[(&second, 999), (&second, 300)])
        .referenced_data_file(Some(second.clone()))
        .build()
        .unwrap();
    let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![both, one]).await;
    let gone = |n: &i64| [0, 99, 100, 555, 1999].contains(n) || (1300..1400).contains(n);
    let expected: Vec<_> = (0..2000).filter(|n| !gone(n)).collect();
    for warehouse in [Arc::clone(&lake.warehouse), lake.reopened()] {
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        assert_eq!(all(&warehouse, &table).await, expected);
        assert_eq!(table.row_count(), None);
        let session = session(&warehouse, &table).await;
        for (sql, expected) in [
            ("SELECT count(*) FROM t", 1895),
            ("SELECT count(*) FROM t WHERE a < 100", 98),
            ("SELECT count(*) FROM t WHERE a BETWEEN 1250 AND 1450", 101),
            ("SELECT count(*) FROM t WHERE a = 555", 0),
            ("SELECT count(*) FROM t WHERE a = 1350", 0),
            ("SELECT min(a) FROM t", 1),
            ("SELECT max(a) FROM t", 1998),
            ("SELECT count(*) FROM (SELECT a FROM t LIMIT 1890)", 1890),
            ("SELECT count(*) FROM (SELECT a FROM t WHERE a >= 0 LIMIT 1890)", 1890),
            ("SELECT max(a) FROM (SELECT a FROM t ORDER BY a DESC LIMIT 3)", 1998),
        ] {
            assert_eq!(number(&session, sql).await, expected, "{sql}");
        }
        let exact = SessionConfig::new().set_bool("datafusion.execution.parquet.pushdown_filters", true);
        let session = session_with(&warehouse, &table, exact).await;
        assert_eq!(number(&session, "SELECT count(*) FROM t WHERE a % 5 = 0 AND a < 1500").await, 277);
    }
    // What is appended later is not deleted, whatever its position.
    let table = append(&lake.warehouse, &table, bigints([5000])).await.unwrap();
    assert_eq!(all(&lake.warehouse, &table).await.len(), expected.len() + 1);
}

#[tokio::test]
async fn position_deletes_apply_to_files_that_are_not_newer() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1, 2, 3])).await.unwrap();
    let file = location(&lake.warehouse, &table, 1).await;
    let deletes = position_deletes(&table, "d", &[(&file, 1)]).build().unwrap();
    let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![deletes]).await;
    assert_eq!(all(&lake.warehouse, &table).await, [1, 3]);
    let more = position_deletes(&table, "e", &[(&file, 2)]).build().unwrap();
    let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![more]).await;
    assert_eq!(all(&lake.warehouse, &table).await, [1]);
}

#[tokio::test]
async fn equality_deletes_apply_to_older_files_and_null_equals_null() {
    let lake = Lake::new();
    let table = lake.table(&[column("a", SqlType::BigInt, 1), column("b", SqlType::Text, 2)]).await;
    let rows = |values: &[(Option<i64>, Option<&str>)]| {
        let a = Int64Array::from_iter(values.iter().map(|(a, _)| *a));
        let b = StringViewArray::from_iter(values.iter().map(|(_, b)| *b));
        batch([("a", Arc::new(a) as ArrayRef), ("b", Arc::new(b) as ArrayRef)])
    };
    let old = [(Some(1), Some("x")), (Some(1), None), (None, Some("x")), (None, None), (Some(2), Some("y"))];
    let table = append(&lake.warehouse, &table, rows(&old)).await.unwrap();
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(7)]));
    let b: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![None, None, Some("z")]));
    // The delete file has another integer type, a third column, and another order of columns.
    let narrow = arrow::compute::cast(&a, &arrow::datatypes::DataType::Int32).unwrap();
    let both = equality_deletes(&table, "both", vec![("b", 2, b), ("a", 1, narrow)]);
    let one: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["y"]));
    let one = equality_deletes(&table, "one", vec![("renamed", 2, one)]);
    let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![both, one]).await;
    let table = append(&lake.warehouse, &table, rows(&[(Some(2), Some("y")), (None, None)])).await.unwrap();
    for warehouse in [Arc::clone(&lake.warehouse), lake.reopened()] {
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        let session = session(&warehouse, &table).await;
        let found = query(&session, "SELECT a, b FROM t ORDER BY a, b").await;
        let text = arrow::util::pretty::pretty_format_batches(&found).unwrap().to_string();
        let expected = "\
+---+---+
| a | b |
+---+---+
| 1 | x |
| 2 | y |
|   | x |
|   |   |
+---+---+";
        assert_eq!(text, expected);
        assert_eq!(number(&session, "SELECT count(*) FROM t").await, 4);
        // The columns that are compared need not be those that are asked for.
        assert_eq!(number(&session, "SELECT count(*) FROM t WHERE a = 1").await, 1);
    }
}

#[tokio::test]
async fn damaged_and_missing_delete_files_are_errors_that_name_them() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1, 2, 3])).await.unwrap();
    let data = location(&lake.warehouse, &table, 1).await;
    let good = position_deletes(&table, "d", &[(&data, 1)]).build().unwrap();
    let path = good.file_path().strip_prefix("file://").unwrap().to_owned();
    let scan = async |table: &Arc<LakeTable>| {
        let warehouse = lake.reopened();
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        let session = session(&warehouse, &table).await;
        session.sql("SELECT a FROM t").await.unwrap().collect().await.map(|_| ()).map_err(|error| error.to_string())
    };
    let deleted = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![good]).await;
    scan(&deleted).await.unwrap();
    let content = std::fs::read(&path).unwrap();
    for keep in (0..content.len()).step_by(151) {
        std::fs::write(&path, &content[..keep]).unwrap();
        let error = scan(&deleted).await.unwrap_err();
        assert!(error.contains(&format!("file \"file://{path}\" is damaged")), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = scan(&deleted).await.unwrap_err();
    assert!(error.contains(&format!("file \"file://{path}\" does not exist")), "{error}");

    for (name, positions, message) in
        [("beyond", [1, 3], "deletes row 3 of"), ("negative", [-1, 2], "it has a negative position")]
    {
        let rows = positions.map(|position| (data.as_str(), position));
        let bad = position_deletes(&table, name, &rows).build().unwrap();
        let bad = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![bad]).await;
        let error = scan(&bad).await.unwrap_err();
        assert!(error.contains(message), "{error}");
        // The same number of snapshot was taken: the next one needs another name.
        std::fs::remove_file(bad.metadata_location().strip_prefix("file://").unwrap()).unwrap();
    }
}
