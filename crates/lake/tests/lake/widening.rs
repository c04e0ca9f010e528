//! Partition columns that are given a wider type: what manifests have of before is what they have of after.

use arrow::array::Int32Array;
use iceberg::spec::{DataContentType, Datum, FormatVersion, Literal, Manifest, Struct};
use wharf_lake::commit::{Edit, RewriteManifests, SchemaChange, Step, Uncommitted};
use wharf_lake::partition::{PartitionChange, PartitionField, PartitionTerm, Term, Transform};
use wharf_lake::{Inspection, inspect};

use super::delta::delete;
use super::foreign::{commit_deletes, parquet};
use super::manifests::manifests;
use super::*;

fn columns(ty: SqlType) -> [Column; 2] {
    [column("a", SqlType::BigInt, 1), column("r", ty, 2)]
}

fn rows(values: std::ops::Range<i64>, r: ArrayRef) -> RecordBatch {
    batch([("a", Arc::new(Int64Array::from_iter_values(values))), ("r", r)])
}

/// Of the numbers, even ones are in partition 10, odd ones in 20.
fn partitions(count: i64) -> impl Iterator<Item = i64> {
    (0..count).map(|number| 10 + number % 2 * 10)
}

/// Rows of the table after the change.
fn more(values: std::ops::Range<i64>) -> RecordBatch {
    let r = Arc::new(Int64Array::from_iter_values(partitions(values.end - values.start)));
    rows(values, r)
}

/// A table that is partitioned by an integer, of two commits of four rows, whose column was then made a bigint.
async fn widened(lake: &Lake, transform: Transform, properties: &[(&str, &str)]) -> Arc<LakeTable> {
    let term = Term { column: "r".to_owned(), transform };
    let layout = Layout { partition: vec![PartitionTerm { term, name: None }], sort: Vec::new() };
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut table = create_with(&lake.warehouse, &columns(SqlType::Integer), layout, properties).await;
    for first in [0, 4] {
        let r = Arc::new(Int32Array::from_iter_values(partitions(4).map(|value| value as i32)));
        table = append(&lake.warehouse, &table, rows(first..first + 4, r)).await.unwrap();
    }
    set_columns(lake, &table, &columns(SqlType::BigInt)).await
}

async fn set_columns(lake: &Lake, table: &Arc<LakeTable>, columns: &[Column]) -> Arc<LakeTable> {
    let change = SchemaChange::of(table, columns);
    let location = commit::set_columns(&lake.warehouse, table, &change).await.unwrap();
    lake.warehouse.load(&location).await.unwrap()
}

/// The rows of a state of the table, for a reader who has nothing in memory.
async fn expect(lake: &Lake, location: &str, expected: &[i64]) -> Arc<LakeTable> {
    let warehouse = lake.reopened();
    let table = warehouse.load(location).await.unwrap();
    assert_eq!(all(&warehouse, &table).await, expected);
    let session = session(&warehouse, &table).await;
    let of_ten = expected.iter().filter(|value| **value % 2 == 0).count();
    assert_eq!(number(&session, "SELECT count(*) FROM t WHERE r = 10").await, of_ten as i64);
    lake.warehouse.load(location).await.unwrap()
}

/// The partition values and the lower bounds of the partition's column as Iceberg's own library reads them.
fn listed(table: &LakeTable) -> Vec<(Option<Literal>, Option<Datum>)> {
    let mut listed = Vec::new();
    for file in manifests(table) {
        let content = std::fs::read(file.manifest_path.strip_prefix("file://").unwrap()).unwrap();
        for entry in Manifest::parse_avro(&content).unwrap().entries() {
            let file = entry.data_file();
            let value = file.partition().iter().next().and_then(|value| value.cloned());
            listed.push((value, file.lower_bounds().get(&2).cloned()));
        }
    }
    listed
}

fn is_long(value: Option<&Literal>) -> bool {
    value.is_some_and(|value| [Literal::long(10), Literal::long(20)].contains(value))
}

fn are_long(listed: &[(Option<Literal>, Option<Datum>)]) -> bool {
    let literal = |bound: &Datum| Literal::Primitive(bound.literal().clone());
    let all = listed.iter().all(|(value, bound)| is_long(value.as_ref()) && *value == bound.as_ref().map(literal));
    all && !listed.is_empty()
}

#[tokio::test]
async fn a_table_whose_partition_column_was_widened_is_written_to() {
    for transform in [Transform::Identity, Transform::Truncate(10)] {
        for version in ["2", "3"] {
            let lake = Lake::new();
            let table = widened(&lake, transform, &[("format-version", version)]).await;
            expect(&lake, table.metadata_location(), &[0, 1, 2, 3, 4, 5, 6, 7]).await;
            let table = append(&lake.warehouse, &table, more(8..12)).await.unwrap();
            // A file of before and one of after lose rows, another goes; and then all go.
            let deleted = delete(&lake, &table, |value| [1, 4, 6, 8].contains(&value)).await;
            expect(&lake, deleted.metadata_location(), &[0, 2, 3, 5, 7, 9, 10, 11]).await;
            let none = commit::replace(&lake.warehouse, &deleted, Vec::new()).await.unwrap();
            let none = expect(&lake, &none, &[]).await;
            let entries = listed(&none);
            assert!(entries.len() >= 5 && entries.iter().all(|(value, _)| is_long(value.as_ref())), "{entries:?}");
        }
    }
}

#[tokio::test]
async fn manifests_of_before_and_after_are_written_together() {
    let lake = Lake::new();
    let table = widened(&lake, Transform::Identity, &[]).await;
    let done = commit::rewrite_manifests(&lake.warehouse, &table, RewriteManifests::default()).await.unwrap().unwrap();
    let rewritten = expect(&lake, &done.location, &[0, 1, 2, 3, 4, 5, 6, 7]).await;
    assert_eq!(manifests(&rewritten).len(), 1);
    assert!(are_long(&listed(&rewritten)), "{:?}", listed(&rewritten));

    let merging = widened(&lake, Transform::Identity, &[("commit.manifest.min-count-to-merge", "2")]).await;
    let merged = append(&lake.warehouse, &merging, more(8..10)).await.unwrap();
    expect(&lake, merged.metadata_location(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    assert_eq!(manifests(&merged).len(), 2);
    assert!(are_long(&listed(&merged)), "{:?}", listed(&merged));
    // And the state before is what it was.
    expect(&lake, merging.metadata_location(), &[0, 1, 2, 3, 4, 5, 6, 7]).await;
}

#[tokio::test]
async fn a_change_that_did_not_come_to_pass_leaves_nothing_behind() {
    let lake = Lake::new();
    let table = widened(&lake, Transform::Identity, &[]).await;
    assert_eq!(all(&lake.warehouse, &table).await, [0, 1, 2, 3, 4, 5, 6, 7]);
    // The state before it is written to after that of the change was read.
    let before = foreign::metadata(&table).metadata_log().last().unwrap().metadata_file.clone();
    let before = lake.warehouse.load(&before).await.unwrap();
    let deleted = commit::replace(&lake.warehouse, &before, Vec::new()).await.unwrap();
    let deleted = expect(&lake, &deleted, &[]).await;
    let entries = listed(&deleted);
    assert!(entries.iter().all(|(value, _)| value.is_some() && !is_long(value.as_ref())), "{entries:?}");
}

#[tokio::test]
async fn a_partition_column_that_is_gone_is_of_the_type_it_had_last() {
    let lake = Lake::new();
    let table = widened(&lake, Transform::Identity, &[]).await;
    let done = commit::rewrite_manifests(&lake.warehouse, &table, RewriteManifests::default()).await.unwrap().unwrap();
    let table = lake.warehouse.load(&done.location).await.unwrap();
    let mut written = Uncommitted::new(&lake.warehouse);
    let change = PartitionChange::Drop(PartitionField::Named("r".to_owned()));
    let location = commit::apply(&lake.warehouse, &table, &[Step::Edit(Edit::Partition(change))], &mut written).await;
    written.set_in_doubt(true);
    let table = lake.warehouse.load(&location.unwrap().unwrap()).await.unwrap();
    let table = set_columns(&lake, &table, &columns(SqlType::BigInt)[..1]).await;
    let left = delete(&lake, &table, |value| value == 1).await;
    let warehouse = lake.reopened();
    let left = warehouse.load(left.metadata_location()).await.unwrap();
    assert_eq!(all(&warehouse, &left).await, [0, 2, 3, 4, 5, 6, 7]);
    let session = session(&warehouse, &left).await;
    session.register_table("files", inspect(&left, Inspection::Files)).unwrap();
    let partitions = query(&session, "SELECT DISTINCT partition FROM files ORDER BY 1").await;
    let text = arrow::util::pretty::pretty_format_batches(&partitions).unwrap().to_string();
    assert!(text.contains("{\"r\": 10}") && text.contains("{\"r\": 20}"), "{text}");
}

#[tokio::test]
async fn partitions_are_shown_at_the_type_of_now() {
    let lake = Lake::new();
    let table = widened(&lake, Transform::Identity, &[]).await;
    let session = session(&lake.warehouse, &table).await;
    for (name, inspection) in [("files", Inspection::Files), ("partitions", Inspection::Partitions)] {
        session.register_table(name, inspect(&table, inspection)).unwrap();
        let shown = query(&session, &format!("SELECT DISTINCT partition FROM {name} ORDER BY 1")).await;
        let text = arrow::util::pretty::pretty_format_batches(&shown).unwrap().to_string();
        assert!(text.contains("{\"r\": 10}") && text.contains("{\"r\": 20}") && !text.contains("Int"), "{text}");
    }
}

/// Deletes of a partition apply to its files, whichever type it had when they were written.
#[tokio::test]
async fn deletes_of_after_apply_to_files_of_before() {
    let lake = Lake::new();
    let table = widened(&lake, Transform::Identity, &[]).await;
    let values: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3]));
    let mut file = parquet(&table, "deletes", vec![("a", 1, values)]);
    let partition = Struct::from_iter([Some(Literal::long(10))]);
    file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1])).partition(partition);
    let deletes = vec![file.build().unwrap()];
    let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, deletes).await;
    assert_eq!(all(&lake.warehouse, &table).await, [1, 3, 4, 5, 6, 7]);
}
