//! Filters leave out files, row groups and pages, and never a row that is wanted.

use arrow::array::{Date32Array, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use datafusion::prelude::SessionConfig;
use wharf_lake::{WriteOptions, commit};

use super::*;

/// How many data files the plan of a query scans.
async fn scanned(session: &SessionContext, sql: &str) -> usize {
    let plan = plan(session, sql).await;
    let mut files: Vec<_> =
        plan.split(['[', ',', ' ', ']']).filter_map(|word| Some(word.split_once(".parquet")?.0)).collect();
    files.sort_unstable();
    files.dedup();
    files.len()
}

#[tokio::test]
async fn files_are_left_out_at_planning() {
    let lake = Lake::new();
    let columns = [
        column("i", SqlType::BigInt, 1),
        column("s", SqlType::Text, 2),
        column("d", SqlType::Date, 3),
        column("ts", SqlType::TimestampTz, 4),
        column("f", SqlType::Double, 5),
        column("si", SqlType::SmallInt, 6),
        column("n", SqlType::BigInt, 7),
    ];
    let mut table = lake.table(&columns).await;
    for part in 0..4_i64 {
        let ten = || (0..10).map(move |i| part * 10 + i);
        let zoned = TimestampMicrosecondArray::from_iter_values(ten().map(|i| i * 86_400_000_000));
        let floats = ten().map(|i| if i == 5 { f64::NAN } else { i as f64 });
        let null = Int64Array::from(vec![(part == 3).then_some(1); 10]);
        let rows = batch([
            ("i", Arc::new(Int64Array::from_iter_values(ten())) as _),
            (
                "s",
                Arc::new(StringViewArray::from_iter_values(
                    ten().map(|i| format!("key {i:02} and a tail beyond the bound")),
                )) as _,
            ),
            ("d", Arc::new(Date32Array::from_iter_values(ten().map(|i| i as i32))) as _),
            ("ts", Arc::new(zoned.with_timezone("+00:00")) as _),
            ("f", Arc::new(Float64Array::from_iter_values(floats)) as _),
            ("si", Arc::new(arrow::array::Int16Array::from_iter_values(ten().map(|i| i as i16))) as _),
            ("n", Arc::new(null) as _),
        ]);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    let session = session(&warehouse, &table).await;
    let cases = [
        ("i = 15", 1, 1),
        ("i > 19", 2, 20),
        ("i > 39", 0, 0),
        ("i BETWEEN 8 AND 12", 2, 5),
        ("i IN (1, 39)", 2, 2),
        // DataFusion does not reason about arithmetic.
        ("i + 1 = 16", 4, 1),
        ("s = 'key 15 and a tail beyond the bound'", 1, 1),
        // The bounds know sixteen characters, in which the third file has this value.
        ("s > 'key 29 and a tail beyond the bound'", 2, 10),
        ("s > 'key 29 and a tale'", 1, 10),
        ("s LIKE 'key 0%'", 1, 10),
        ("d < DATE '1970-01-06'", 1, 5),
        ("ts >= TIMESTAMP '1970-01-31T00:00:00Z'", 1, 10),
        ("si = 3", 1, 1),
        // The first file has a NaN, which is above everything.
        ("f > 25", 3, 15),
        ("f < 10", 1, 9),
        ("n IS NOT NULL", 1, 10),
        ("n = 1", 1, 10),
    ];
    for (filter, files, rows) in cases {
        let sql = format!("SELECT i, s, d, ts, f, si, n FROM t WHERE {filter}");
        assert_eq!(number(&session, &format!("SELECT count(*) FROM ({sql})")).await, rows, "{filter}");
        assert_eq!(scanned(&session, &sql).await, files, "{filter}");
    }
    assert_eq!(scanned(&session, "SELECT * FROM t LIMIT 15").await, 2);
    assert_eq!(scanned(&session, "SELECT * FROM t").await, 4);
}

/// Parquet's own bounds leave NaN out, and DataFusion trusts them: such chunks must have none.
#[tokio::test]
async fn row_groups_and_pages_with_nan_are_read() {
    let lake = Lake::new();
    let table = lake.table(&[column("f", SqlType::Double, 1), column("i", SqlType::BigInt, 2)]).await;
    let values = (0..100_000).map(|i| if i == 54_321 { f64::NAN } else { f64::from(i) });
    let rows = batch([
        ("f", Arc::new(Float64Array::from_iter_values(values)) as _),
        ("i", Arc::new(Int64Array::from_iter_values(0..100_000)) as _),
    ]);
    let options = WriteOptions { row_group_rows: 30_000, ..WriteOptions::default() };
    let files = write(&lake.warehouse, &table, [rows], options).await;
    assert_eq!(files.len(), 1);
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    for pushdown in [false, true] {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let session = session_with(&lake.warehouse, &table, config).await;
        let found = number(&session, "SELECT i FROM t WHERE f > 1e9").await;
        assert_eq!(found, 54_321);
        assert_eq!(number(&session, "SELECT count(*) FROM t WHERE f > 99990").await, 10);
        assert_eq!(number(&session, "SELECT count(*) FROM t WHERE f < 10").await, 10);
    }
}

#[tokio::test]
async fn row_groups_are_units_of_scanning() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let options = WriteOptions { row_group_rows: 10_000, ..WriteOptions::default() };
    let batches = (0..100).map(|i| bigints(i * 1000..(i + 1) * 1000));
    let files = write(&lake.warehouse, &table, batches, options).await;
    assert_eq!((files.len(), files[0].rows()), (1, 100_000));
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let warehouse = lake.reopened();
    let table = warehouse.load(&location).await.unwrap();
    for partitions in [1, 2, 3, 16] {
        let config = SessionConfig::new().with_target_partitions(partitions);
        let session = session_with(&warehouse, &table, config).await;
        let sum = number(&session, "SELECT sum(a) FROM t").await;
        assert_eq!(sum, (0..100_000).sum::<i64>());
        let text = plan(&session, "SELECT sum(a) FROM t").await;
        assert!(text.contains(&format!("{{{} group", partitions.min(10))), "{text}");
        assert_eq!(number(&session, "SELECT count(*) FROM t WHERE a >= 98765").await, 1235);
    }
}
