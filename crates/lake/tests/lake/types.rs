//! Every type comes back as it was written.

use arrow::array::{Array, AsArray, Float32Array, Float64Array, Int64Array};
use arrow::compute::concat_batches;
use datafusion::prelude::SessionConfig;
use wharf_lake::{Warehouse, WarehouseOptions, WriteOptions, commit};

use super::*;

#[tokio::test]
async fn every_type_round_trips() {
    let lake = Lake::new();
    let columns = values::columns();
    let rows = values::rows(&columns);
    let table = lake.table(&columns).await;
    let table = append(&lake.warehouse, &table, rows.clone()).await.unwrap();
    assert_eq!(table.row_count(), Some(4));

    // Through the files alone, without anything in memory.
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    assert_eq!(table.columns(), columns);
    assert_eq!(table.schema(), rows.schema());
    let session = session(&warehouse, &table).await;
    let read = query(&session, "SELECT * FROM t").await;
    let read = concat_batches(&rows.schema(), &read).unwrap();
    for (index, column) in columns.iter().enumerate() {
        assert_eq!(read.column(index), rows.column(index), "{}", column.name);
    }
}

#[tokio::test]
async fn every_type_can_be_counted_and_filtered() {
    let lake = Lake::new();
    let columns = values::columns();
    let table = lake.table(&columns).await;
    let table = append(&lake.warehouse, &table, values::rows(&columns)).await.unwrap();
    for pushdown in [false, true] {
        let mut config = SessionConfig::new();
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let session = session_with(&lake.warehouse, &table, config).await;
        for column in &columns {
            let name = &column.name;
            let nulls = number(&session, &format!("SELECT count(*) FROM t WHERE \"{name}\" IS NULL")).await;
            assert_eq!(nulls, i64::from(column.nullable), "{name}");
            let same = format!("SELECT count(*) FROM t AS x WHERE x.\"{name}\" IN (SELECT \"{name}\" FROM t)");
            assert_eq!(number(&session, &same).await, 4 - nulls, "{name}");
        }
        let filters = [
            ("\"c1 smallint\" = 7::smallint", 1),
            ("\"c1 smallint\" < 0", 1),
            ("\"c18 timestamp with time zone\" > '2000-01-01T00:00:00Z'", 2),
            ("\"c22 oid\" >= 7", 2),
            ("\"c15 date\" < '0002-01-01'", 1),
        ];
        for (filter, rows) in filters {
            let sql = format!("SELECT count(*) FROM (SELECT * FROM t WHERE {filter})");
            assert_eq!(number(&session, &sql).await, rows, "{filter}");
        }
    }
}

/// What `min`, `max` and `count` say must be what the rows say, whether or not it is read from statistics.
#[tokio::test]
async fn aggregates_from_statistics_are_those_of_the_rows() {
    let lake = Lake::new();
    let columns = [
        column("i", SqlType::BigInt, 1),
        column("nan", SqlType::Double, 2),
        column("zero", SqlType::Double, 3),
        column("f", SqlType::Real, 4),
        column("s", SqlType::Text, 5),
        column("b", SqlType::Bytea, 6),
    ];
    let mut table = lake.table(&columns).await;
    let long = "the same sixteen letters and then something that differs: ";
    for part in 0..3_i64 {
        let strings = (0..10).map(|i| format!("{long}{}", part * 10 + i));
        let strings: Vec<_> = strings.collect();
        let nan = |i: i64| if part == 1 && i == 5 { f64::NAN } else { (part * 10 + i) as f64 };
        let rows = batch([
            ("i", Arc::new((0..10).map(|i| (i != 0).then_some(part * 10 + i)).collect::<Int64Array>()) as _),
            ("nan", Arc::new(Float64Array::from_iter_values((0..10).map(nan))) as _),
            ("zero", Arc::new(Float64Array::from(vec![0.0; 10])) as _),
            ("f", Arc::new(Float32Array::from_iter_values((1..11).map(|i| (part * 10 + i) as f32))) as _),
            ("s", Arc::new(arrow::array::StringViewArray::from_iter_values(&strings)) as _),
            ("b", Arc::new(arrow::array::BinaryViewArray::from_iter_values(strings.iter().map(String::as_bytes))) as _),
        ]);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    let session = session(&lake.warehouse, &table).await;
    for column in ["i", "nan", "zero", "f", "s", "b"] {
        // The filter is true for every row, and keeps the optimizer from answering out of statistics.
        for aggregate in ["min", "max", "count"] {
            let fast = format!("SELECT {aggregate}({column}) FROM t");
            let slow = format!("SELECT {aggregate}({column}) FROM t WHERE coalesce(i, 0) * 2 >= 0");
            let (fast, slow) = (query(&session, &fast).await, query(&session, &slow).await);
            assert_eq!(fast[0].column(0), slow[0].column(0), "{aggregate}({column})");
        }
    }
    let max = query(&session, "SELECT max(nan), max(s) FROM t").await;
    assert!(max[0].column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
    assert_eq!(max[0].column(1).as_string_view().value(0), format!("{long}9"));

    // Those that statistics can answer read nothing.
    for sql in ["SELECT count(*), count(i), min(i), max(i) FROM t", "SELECT min(f), max(f) FROM t"] {
        assert!(!plan(&session, sql).await.contains("DataSourceExec"), "{sql}");
    }
    for sql in ["SELECT max(nan) FROM t", "SELECT min(s) FROM t", "SELECT max(zero) FROM t"] {
        assert!(plan(&session, sql).await.contains("DataSourceExec"), "{sql}");
    }
}

#[tokio::test]
async fn a_warehouse_in_memory_does_the_same() {
    let _guard = Guard::shared();
    let warehouse = Warehouse::open("memory://", WarehouseOptions::default()).unwrap();
    let table = create(&warehouse, &bigint()).await;
    let table = append(&warehouse, &table, bigints(0..1000)).await.unwrap();
    assert_eq!(all(&warehouse, &table).await, (0..1000).collect::<Vec<_>>());
    let files = write(&warehouse, &table, [bigints([7])], WriteOptions::default()).await;
    let location = commit::replace(&warehouse, &table, files).await.unwrap();
    let table = warehouse.load(&location).await.unwrap();
    assert_eq!(all(&warehouse, &table).await, [7]);
}

#[tokio::test]
async fn texts_of_other_arrow_types_are_taken() {
    let lake = Lake::new();
    let table = lake.table(&[column("s", SqlType::Text, 1), column("b", SqlType::Bytea, 2)]).await;
    let rows = batch([
        ("s", Arc::new(arrow::array::StringArray::from(vec![Some("a"), None])) as _),
        ("b", Arc::new(arrow::array::LargeBinaryArray::from(vec![Some(&b"x"[..]), None])) as _),
    ]);
    let table = append(&lake.warehouse, &table, rows).await.unwrap();
    let session = session(&lake.warehouse, &table).await;
    let read = query(&session, "SELECT * FROM t").await;
    assert_eq!(read[0].column(0).as_string_view().value(0), "a");
    assert_eq!(read[0].column(1).as_binary_view().value(0), b"x");
    assert!(read[0].column(0).is_null(1));
}
