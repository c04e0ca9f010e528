//! Manifests are left out by what the manifest list says of their partitions: those that are not needed are not read, and no row is
//! lost.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use iceberg::spec::{DataContentType, FormatVersion, Literal, Struct};
use wharf_catalog::{Column, SqlType};
use wharf_lake::commit::{Edit, Step, Uncommitted};
use wharf_lake::partition::{Layout, PartitionChange, PartitionField, PartitionTerm, Term, Transform};
use wharf_lake::{LakeTable, RemovedFiles, RowDeletes, WriteOptions, commit};

use super::foreign::{commit_deletes, parquet};
use super::manifests::manifests;
use super::{Lake, append, batch, column, create_with, number, plan, query, session};

fn term(column: &str, transform: Transform) -> Term {
    Term { column: column.to_owned(), transform }
}

fn part(column: &str, transform: Transform) -> PartitionTerm {
    PartitionTerm { term: term(column, transform), name: None }
}

fn columns(ty: &SqlType) -> [Column; 2] {
    [column("id", SqlType::BigInt, 1), column("k", ty.clone(), 2)]
}

async fn table_of(lake: &Lake, ty: &SqlType, partition: Vec<PartitionTerm>) -> Arc<LakeTable> {
    // Each commit leaves its manifest as it is.
    let properties = HashMap::from([("commit.manifest-merge.enabled".to_owned(), "false".to_owned())]);
    create_with(&lake.warehouse, &columns(ty), Layout { partition, sort: Vec::new() }, properties).await
}

/// Rows with values given as text, which are numbered on from `first`.
fn rows(table: &LakeTable, first: i64, values: &[Option<&str>]) -> arrow::array::RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let values = cast(&texts, table.schema().field(1).data_type()).unwrap();
    assert_eq!(values.null_count(), texts.null_count(), "all texts are values");
    let ids = Int64Array::from_iter_values(first..first + values.len() as i64);
    batch([("id", Arc::new(ids)), ("k", values)])
}

/// Which manifests a query cannot do without, the oldest first: without others it has the same answer.
async fn needed(lake: &Lake, table: &LakeTable, sql: &str) -> Vec<usize> {
    let expected = answer(lake, table, sql).await.unwrap();
    let mut needed = Vec::new();
    for (at, file) in manifests(table).iter().rev().enumerate() {
        let path = file.manifest_path.strip_prefix("file://").unwrap();
        std::fs::rename(path, format!("{path}.away")).unwrap();
        match answer(lake, table, sql).await {
            Ok(found) => assert_eq!(found, expected, "{sql}"),
            Err(error) => {
                assert!(error.contains("does not exist"), "{error}");
                needed.push(at);
            }
        }
        std::fs::rename(format!("{path}.away"), path).unwrap();
    }
    needed
}

/// The number that a query returns of a table of which nothing is in memory.
async fn answer(lake: &Lake, table: &LakeTable, sql: &str) -> Result<i64, String> {
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    let session = session(&warehouse, &table).await;
    let batches = session.sql(sql).await.unwrap().collect().await.map_err(|error| error.to_string())?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    Ok(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0))
}

#[tokio::test]
async fn manifests_that_a_filter_does_not_want_are_not_read() {
    let lake = Lake::new();
    let mut table = table_of(&lake, &SqlType::BigInt, vec![part("k", Transform::Identity)]).await;
    let commits: [&[Option<&str>]; 5] = [
        &[Some("1"), Some("2"), Some("3")],
        &[Some("3"), Some("4"), Some("5")],
        &[Some("10"), None],
        &[None, None],
        &[Some("-7")],
    ];
    for (first, values) in (0..).step_by(10).zip(commits) {
        let rows = rows(&table, first, values);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    let cases: [(&str, &[usize]); 14] = [
        ("k = 2", &[0]),
        ("k = 3", &[0, 1]),
        ("k = 100", &[]),
        ("k > 4", &[1, 2]),
        ("k <= 1", &[0, 4]),
        ("k BETWEEN 6 AND 9", &[]),
        ("k IN (1, 10)", &[0, 2]),
        ("k IN (1, 10) AND k < 4", &[0]),
        ("k IS NULL", &[2, 3]),
        ("k IS NOT NULL", &[0, 1, 2, 4]),
        ("k IS NULL OR k = -7", &[2, 3, 4]),
        // The ids are no partition field: nothing is known of them before manifests are read.
        ("id = 0", &[0, 1, 2, 3, 4]),
        ("id = 0 AND k = 3", &[0, 1]),
        ("true", &[0, 1, 2, 3, 4]),
    ];
    for (filter, expected) in cases {
        let sql = format!("SELECT count(*) FROM t WHERE {filter}");
        assert_eq!(needed(&lake, &table, &sql).await, expected, "{filter}");
    }
    // As many as are needed for some rows; the newest are first.
    assert_eq!(needed(&lake, &table, "SELECT count(*) FROM (SELECT * FROM t LIMIT 2)").await, [3, 4]);

    let warehouse = lake.reopened();
    let cold = warehouse.load(table.metadata_location()).await.unwrap();
    let session = session(&warehouse, &cold).await;
    let (files, bytes) = (table.file_count().unwrap(), table.size_bytes().unwrap());
    let sql = "SELECT * FROM t WHERE k = 2";
    let first = plan(&session, sql).await;
    assert!(first.contains(&format!("read=1 of {files} files, ")), "{first}");
    assert!(first.contains(&format!(" of {bytes} bytes")), "{first}");
    // The same once everything is in memory.
    assert_eq!(number(&session, "SELECT count(*) FROM t WHERE id >= 0").await, 11);
    assert_eq!(plan(&session, sql).await, first);
}

#[tokio::test]
async fn buckets_and_units_of_time_leave_out_manifests() {
    let lake = Lake::new();
    let ts = SqlType::Timestamp;
    for transform in [Transform::Hour, Transform::Day, Transform::Month, Transform::Year] {
        let mut table = table_of(&lake, &ts, vec![part("k", transform)]).await;
        for year in ["1968", "1969", "1970", "2000"] {
            let value = format!("{year}-06-15T12:30:00.5");
            let rows = rows(&table, 0, &[Some(&value)]);
            table = append(&lake.warehouse, &table, rows).await.unwrap();
        }
        let count = "SELECT count(*) FROM t WHERE";
        assert_eq!(needed(&lake, &table, &format!("{count} k = TIMESTAMP '2000-06-15 12:30:00.5'")).await, [3]);
        assert_eq!(needed(&lake, &table, &format!("{count} k > TIMESTAMP '1971-01-01'")).await, [3]);
        assert_eq!(needed(&lake, &table, &format!("{count} k < TIMESTAMP '1967-01-01'")).await, [0_usize; 0]);
    }
    let mut table = table_of(&lake, &SqlType::BigInt, vec![part("k", Transform::Bucket(16))]).await;
    // Of the values up to 40, by their buckets.
    for value in 0..40 {
        let value = value.to_string();
        let rows = rows(&table, 0, &[Some(&value)]);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    for value in [0, 17, 39] {
        let found = needed(&lake, &table, &format!("SELECT count(*) FROM t WHERE k = {value}")).await;
        assert!(found.contains(&value) && found.len() < 10, "{found:?}");
    }
    // Buckets say nothing of an order.
    assert_eq!(needed(&lake, &table, "SELECT count(*) FROM t WHERE k < 0").await.len(), 40);
}

#[tokio::test]
async fn manifests_of_deletes_are_left_out_with_their_partitions_alone() {
    for version in ["2", "3"] {
        let lake = Lake::new();
        let properties = HashMap::from([
            ("commit.manifest-merge.enabled".to_owned(), "false".to_owned()),
            ("format-version".to_owned(), version.to_owned()),
        ]);
        let layout = Layout { partition: vec![part("k", Transform::Identity)], sort: Vec::new() };
        let mut table = create_with(&lake.warehouse, &columns(&SqlType::BigInt), layout, properties).await;
        for key in ["1", "2", "3"] {
            let rows = rows(&table, 0, &[Some(key); 10]);
            table = append(&lake.warehouse, &table, rows).await.unwrap();
        }
        // Manifests 3 and 4 delete a row of the first partition, and two of the second.
        for (key, count) in [(1, 1), (2, 2)] {
            let file = table.rewritable().await.unwrap().locations().remove(3 - key);
            let mut gone = RowDeletes::default();
            gone.add(&file, &(0..count).collect());
            let location = commit::delta(&lake.warehouse, &table, &RemovedFiles::default(), &gone, Vec::new()).await;
            table = lake.warehouse.load(&location.unwrap().unwrap()).await.unwrap();
        }
        let count = |filter: &str| format!("SELECT count(*) FROM t WHERE {filter}");
        for (filter, left, expected) in [
            ("k = 1", 9, vec![0, 3]),
            ("k = 2", 8, vec![1, 4]),
            ("k = 3", 10, vec![2]),
            ("k >= 2", 18, vec![1, 2, 4]),
            ("id >= 0", 27, vec![0, 1, 2, 3, 4]),
        ] {
            assert_eq!(answer(&lake, &table, &count(filter)).await, Ok(left), "{filter}, version {version}");
            assert_eq!(needed(&lake, &table, &count(filter)).await, expected, "{filter}, version {version}");
        }
        // Deletes may be in the way of a limit.
        assert_eq!(answer(&lake, &table, "SELECT count(*) FROM (SELECT * FROM t LIMIT 25)").await, Ok(25));
    }
}

#[tokio::test]
async fn equality_deletes_of_no_partition_apply_to_all() {
    let lake = Lake::new();
    let mut table = table_of(&lake, &SqlType::BigInt, Vec::new()).await;
    let format = FormatVersion::V2;
    let equal = |table: &LakeTable, name: &str, id: i64, partition: Option<i64>| {
        let columns = vec![("id", 1, Arc::new(Int64Array::from(vec![id])) as ArrayRef)];
        let mut file = parquet(table, name, columns);
        file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1]));
        if let Some(partition) = partition {
            file.partition(Struct::from_iter([Some(Literal::long(partition))])).partition_spec_id(1);
        }
        file.build().unwrap()
    };
    let add = [Step::Edit(Edit::Partition(PartitionChange::Add(part("k", Transform::Identity))))];
    let before = rows(&table, 0, &[Some("1"), Some("2")]);
    table = append(&lake.warehouse, &table, before).await.unwrap();
    let mut written = Uncommitted::new(&lake.warehouse);
    let location = commit::apply(&lake.warehouse, &table, &add, &mut written).await.unwrap().unwrap();
    written.set_in_doubt(true);
    let unpartitioned = table;
    table = lake.warehouse.load(&location).await.unwrap();
    for key in ["1", "2"] {
        let rows = rows(&table, 10, &[Some(key); 5]);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    assert_ne!(unpartitioned.metadata_location(), table.metadata_location());
    // A row of partition 1 alone.
    let file = equal(&table, "one", 10, Some(1));
    table = commit_deletes(&lake.warehouse, &table, format, vec![file]).await;
    let sql = |key: i64| format!("SELECT count(*) FROM t WHERE k = {key}");
    assert_eq!(answer(&lake, &table, &sql(1)).await, Ok(5));
    assert_eq!(answer(&lake, &table, &sql(2)).await, Ok(6));
    assert_eq!(needed(&lake, &table, &sql(1)).await, [0, 1, 3]);
    assert_eq!(needed(&lake, &table, &sql(2)).await, [0, 2]);

    // The partitioning goes again, and the next deletes are of any partition.
    let drop = Edit::Partition(PartitionChange::Drop(PartitionField::Named("k".to_owned())));
    let mut written = Uncommitted::new(&lake.warehouse);
    let location = commit::apply(&lake.warehouse, &table, &[Step::Edit(drop)], &mut written).await.unwrap().unwrap();
    written.set_in_doubt(true);
    table = lake.warehouse.load(&location).await.unwrap();
    let file = equal(&table, "all", 11, None);
    table = commit_deletes(&lake.warehouse, &table, format, vec![file]).await;
    assert_eq!(answer(&lake, &table, &sql(1)).await, Ok(4));
    assert_eq!(answer(&lake, &table, &sql(2)).await, Ok(5));
    assert_eq!(needed(&lake, &table, &sql(2)).await, [0, 2, 4]);
}

/// Numbers that look random, always the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn of<'a>(&mut self, values: &'a [String]) -> &'a str {
        &values[self.below(values.len())]
    }
}

/// A filter over `k` whose values are some of these or near them.
fn filter(chance: &mut Chance, values: &[String], ty: &DataType) -> String {
    let mut value = || format!("arrow_cast('{}', '{ty}')", chance.of(values));
    let (a, b) = (value(), value());
    let many = (0..25).map(|_| value()).collect::<Vec<_>>().join(", ");
    let few = (0..3).map(|_| value()).collect::<Vec<_>>().join(", ");
    match chance.below(14) {
        0 | 1 => format!("k = {a}"),
        2 => format!("k < {a}"),
        3 => format!("k <= {a}"),
        4 => format!("k > {a}"),
        5 => format!("k >= {a}"),
        6 => format!("k BETWEEN least({a}, {b}) AND greatest({a}, {b})"),
        7 => format!("k IN ({few})"),
        8 => format!("k IN ({many})"),
        9 => "k IS NULL".to_owned(),
        10 => format!("k IS NULL OR k = {a}"),
        11 => format!("k <> {a}"),
        12 => format!("k IS NOT NULL AND k NOT IN ({few})"),
        _ => format!("(k = {a} AND id % 2 = 0) OR (k > {b} AND id % 3 = 0)"),
    }
}

/// Commits of a table whose partitioning may change between them, and queries of each by many filters: what is read of the table is what
/// DataFusion finds among the rows in memory.
async fn nothing_is_lost(ty: SqlType, values: &[String], partitions: &[Option<Transform>]) {
    let lake = Lake::new();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ values.len() as u64);
    let mut current = partitions[0];
    let partition = current.map(|transform| part("k", transform)).into_iter().collect();
    let mut table = table_of(&lake, &ty, partition).await;
    let mut all = Vec::new();
    for commit in 0..8 {
        let next = partitions[commit % partitions.len()];
        let change = match (current, next) {
            (None, Some(new)) => Some(PartitionChange::Add(part("k", new))),
            (Some(old), None) => Some(PartitionChange::Drop(PartitionField::Made(term("k", old)))),
            (Some(old), Some(new)) if old != new => {
                Some(PartitionChange::Replace(PartitionField::Made(term("k", old)), part("k", new)))
            }
            _ => None,
        };
        if let Some(change) = change {
            let mut written = Uncommitted::new(&lake.warehouse);
            let step = [Step::Edit(Edit::Partition(change))];
            let location = commit::apply(&lake.warehouse, &table, &step, &mut written).await.unwrap().unwrap();
            written.set_in_doubt(true);
            table = lake.warehouse.load(&location).await.unwrap();
            current = next;
        }
        // Neighbouring values, so that manifests differ; NULLs in some, and nothing else in one.
        let from = chance.below(values.len());
        let some = (0..6).map(|_| match (commit, chance.below(6)) {
            (5, _) | (2 | 6, 0) => None,
            _ => Some(values[(from + chance.below(3)) % values.len()].as_str()),
        });
        let rows = rows(&table, commit as i64 * 10, &some.collect::<Vec<_>>());
        all.push(rows.clone());
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    let ty = table.schema().field(1).data_type().clone();
    let all: Vec<_> = all.into_iter().map(|rows| rows.with_schema(table.schema()).unwrap()).collect();
    for _ in 0..40 {
        let filter = filter(&mut chance, values, &ty);
        let warehouse = lake.reopened();
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        let session = session(&warehouse, &table).await;
        let memory = MemTable::try_new(table.schema(), vec![all.clone()]).unwrap();
        session.register_table("m", Arc::new(memory)).unwrap();
        let ids = |from: &str| format!("SELECT id FROM {from} WHERE {filter} ORDER BY id");
        let (found, expected) = (query(&session, &ids("t")).await, query(&session, &ids("m")).await);
        let texts = |batches| arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
        assert_eq!(texts(&found), texts(&expected), "{partitions:?}: {filter}");
    }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test]
async fn no_number_is_lost() {
    let values: Vec<_> = (-21..40).step_by(3).map(|value| value.to_string()).collect();
    for ty in [SqlType::SmallInt, SqlType::Integer, SqlType::BigInt] {
        for transform in [Transform::Identity, Transform::Bucket(5), Transform::Truncate(10)] {
            nothing_is_lost(ty.clone(), &values, &[Some(transform)]).await;
        }
    }
    let values: Vec<_> = (-21..40).step_by(3).map(|value| format!("{}.{}5", value, (value + 21) % 10)).collect();
    let decimal = SqlType::Numeric(Some((12, 2)));
    for transform in [Transform::Identity, Transform::Bucket(5), Transform::Truncate(700)] {
        nothing_is_lost(decimal.clone(), &values, &[Some(transform)]).await;
    }
}

#[tokio::test]
async fn no_text_is_lost() {
    let values = texts(&[
        "",
        "a",
        "ab",
        "abc",
        "abcd",
        "abd",
        "b",
        "ba",
        "bzz",
        "zz",
        "zzz",
        "ä",
        "äö",
        "äöü",
        "äöü€",
        "\u{d7ff}\u{d7ff}x",
        "\u{10ffff}",
        "\u{10ffff}\u{10ffff}",
        "\u{10ffff}\u{10ffff}x",
    ]);
    for transform in [Transform::Identity, Transform::Bucket(4), Transform::Truncate(2), Transform::Truncate(1)] {
        nothing_is_lost(SqlType::Text, &values, &[Some(transform)]).await;
    }
}

#[tokio::test]
async fn no_time_is_lost() {
    let times = texts(&[
        "1914-07-28T11:00:00",
        "1968-12-31T23:59:59.999999",
        "1969-01-01T00:00:00",
        "1969-12-31T22:59:59.5",
        "1969-12-31T23:00:00",
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.000001",
        "1970-01-01T01:00:00",
        "1970-02-01T00:00:00",
        "1999-12-31T23:59:59.999999",
        "2000-02-29T12:00:00",
        "2000-03-01T00:00:00",
        "2024-02-29T23:30:00",
    ]);
    let calendar = [Transform::Year, Transform::Month, Transform::Day];
    for ty in [SqlType::Timestamp, SqlType::TimestampTz] {
        for transform in calendar.into_iter().chain([Transform::Hour, Transform::Identity, Transform::Bucket(3)]) {
            nothing_is_lost(ty.clone(), &times, &[Some(transform)]).await;
        }
    }
    let dates: Vec<_> = times.iter().map(|time| time.split('T').next().unwrap().to_owned()).collect();
    for transform in calendar.into_iter().chain([Transform::Identity]) {
        nothing_is_lost(SqlType::Date, &dates, &[Some(transform)]).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_partitioning_changes() {
    let values: Vec<_> = (-21..40).step_by(3).map(|value| value.to_string()).collect();
    let specs = [None, Some(Transform::Bucket(5)), Some(Transform::Identity), Some(Transform::Truncate(10)), None];
    nothing_is_lost(SqlType::BigInt, &values, &specs).await;
    let times = texts(&["1969-06-01T00:00:00", "1969-12-31T23:59:59.5", "1970-01-01T00:00:00", "2000-02-29T12:00:00"]);
    let specs = [Some(Transform::Day), Some(Transform::Month), None, Some(Transform::Hour), Some(Transform::Year)];
    nothing_is_lost(SqlType::Timestamp, &times, &specs).await;
}

/// With few rows in a file and many in a manifest, no less.
#[tokio::test]
async fn a_manifest_of_many_partitions_is_read_once_for_all() {
    let lake = Lake::new();
    let mut table = table_of(&lake, &SqlType::Integer, vec![part("k", Transform::Identity)]).await;
    for first in [0, 100] {
        let values: Vec<_> = (first..first + 100).map(|value| value.to_string()).collect();
        let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
        let rows = rows(&table, first, &values);
        let files = super::write(&lake.warehouse, &table, [rows], WriteOptions::default()).await;
        let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
        table = lake.warehouse.load(&location).await.unwrap();
    }
    let warehouse = lake.reopened();
    let table = warehouse.load(table.metadata_location()).await.unwrap();
    let session = session(&warehouse, &table).await;
    for value in [0, 99, 100, 199] {
        let sql = format!("SELECT id FROM t WHERE k = {value}");
        assert_eq!(number(&session, &sql).await, i64::from(value));
        let explained = plan(&session, &sql).await;
        assert!(explained.contains("read=1 of 200 files"), "{explained}");
    }
}
