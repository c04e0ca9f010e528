//! Partitioned tables: where rows go, and which files a query reads.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use wharf_catalog::SqlType;
use wharf_lake::commit::{Edit, Step, Uncommitted};
use wharf_lake::partition::{Layout, PartitionChange, PartitionField, PartitionTerm, SortTerm, Term, Transform};
use wharf_lake::{WriteOptions, commit};

use super::{Lake, append, batch, column, create_with, number, plan, session, write};

const DAY_US: i64 = 86_400_000_000;

fn columns() -> [wharf_catalog::Column; 3] {
    [column("id", SqlType::BigInt, 1), column("at", SqlType::Timestamp, 2), column("name", SqlType::Text, 3)]
}

fn term(column: &str, transform: Transform) -> Term {
    Term { column: column.to_owned(), transform }
}

fn part(column: &str, transform: Transform) -> PartitionTerm {
    PartitionTerm { term: term(column, transform), name: None }
}

/// Rows of ten days around 1970, and texts that agree in more than a bound keeps.
fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let at = ids.clone().map(|id| (id % 10 - 5) * DAY_US + 1_500_000);
    let names = ids.clone().map(|id| format!("{}{}", "x".repeat(20), id % 3));
    batch([
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(at))),
        ("name", Arc::new(StringArray::from_iter_values(names))),
    ])
}

#[tokio::test]
async fn a_query_by_partition_key_reads_one_file() {
    let lake = Lake::new();
    let partition = vec![part("at", Transform::Day), part("id", Transform::Bucket(4))];
    let layout = Layout { partition, sort: Vec::new() };
    let table = create_with(&lake.warehouse, &columns(), layout, HashMap::new()).await;
    let table = append(&lake.warehouse, &table, rows(0..400)).await.unwrap();
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    let files = table.file_count().unwrap();
    assert!(files >= 20, "{files} files");
    let in_folder = |file: &std::path::PathBuf| file.to_string_lossy().contains("/at_day=1969-12-30/id_bucket=");
    assert!(lake.files(".parquet").iter().any(in_folder));
    let session = session(&warehouse, &table).await;
    let query = "SELECT count(*) FROM t WHERE at = timestamp '1969-12-30 00:00:01.5' AND id = 23";
    assert_eq!(number(&session, query).await, 1);
    let explained = plan(&session, query).await;
    assert!(explained.contains(&format!("read=1 of {files} files")), "{explained}");
    assert_eq!(number(&session, "SELECT count(*) FROM t WHERE at < timestamp '1969-12-28'").await, 40);
    assert_eq!(number(&session, "SELECT count(*) FROM t WHERE at IS NULL").await, 0);
    assert_eq!(number(&session, "SELECT count(*) FROM t WHERE id IN (1, 2, 1000)").await, 2);
}

#[tokio::test]
async fn files_of_several_specs_are_pruned_each_by_its_own() {
    let lake = Lake::new();
    let table = create_with(&lake.warehouse, &columns(), Layout::default(), HashMap::new()).await;
    let mut table = append(&lake.warehouse, &table, rows(0..100)).await.unwrap();
    let changes = [
        PartitionChange::Add(part("id", Transform::Bucket(8))),
        PartitionChange::Replace(
            PartitionField::Made(term("id", Transform::Bucket(8))),
            part("name", Transform::Identity),
        ),
        PartitionChange::Drop(PartitionField::Named("name".to_owned())),
    ];
    for (index, change) in (1..).zip(changes) {
        let mut written = Uncommitted::new(&lake.warehouse);
        let step = Step::Edit(Edit::Partition(change));
        let location = commit::apply(&lake.warehouse, &table, &[step], &mut written).await.unwrap().unwrap();
        written.set_in_doubt(true);
        table = lake.warehouse.load(&location).await.unwrap();
        table = append(&lake.warehouse, &table, rows(index * 100..(index + 1) * 100)).await.unwrap();
    }
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    let session = session(&warehouse, &table).await;
    assert_eq!(number(&session, "SELECT count(*) FROM t").await, 400);
    let files = table.file_count().unwrap();
    assert_eq!(files, 1 + 8 + 3 + 1);
    // Bounds leave the files of the second spec, its buckets one of them.
    let query = "SELECT count(*) FROM t WHERE id = 150";
    let explained = plan(&session, query).await;
    assert!(explained.contains(&format!("read=1 of {files} files")), "{explained}");
    assert_eq!(number(&session, query).await, 1);
    let query = "SELECT count(*) FROM t WHERE name = 'xxxxxxxxxxxxxxxxxxxx1' AND id >= 200 AND id < 300";
    assert_eq!(number(&session, query).await, 33);
}

#[tokio::test]
async fn rows_are_in_order_and_partitions_one_after_the_other() {
    let lake = Lake::new();
    let layout = Layout {
        partition: vec![part("name", Transform::Truncate(20))],
        sort: vec![SortTerm { term: term("id", Transform::Identity), descending: true, nulls_first: true }],
    };
    let table = create_with(&lake.warehouse, &columns(), layout, HashMap::new()).await;
    let files = write(&lake.warehouse, &table, [rows(0..50), rows(50..100)], WriteOptions::default()).await;
    assert_eq!(files.len(), 1);
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    let session = session(&lake.warehouse, &table).await;
    assert_eq!(number(&session, "SELECT id FROM t LIMIT 1").await, 99);
}

#[tokio::test]
async fn too_many_partitions_are_finished_early_and_lose_nothing() {
    let lake = Lake::new();
    let layout = Layout { partition: vec![part("id", Transform::Identity)], sort: Vec::new() };
    let table = create_with(&lake.warehouse, &columns(), layout, HashMap::new()).await;
    let options = WriteOptions { open_partitions: 5, ..WriteOptions::default() };
    let files = write(&lake.warehouse, &table, [rows(0..20), rows(10..30)], options).await;
    assert_eq!(files.iter().map(|file| file.rows()).sum::<u64>(), 40);
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    let session = session(&lake.warehouse, &table).await;
    assert_eq!(number(&session, "SELECT count(DISTINCT id) FROM t").await, 30);
}
