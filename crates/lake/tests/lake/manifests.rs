//! Rewriting manifests: few instead of many, the same files, and the same numbers by which deletes apply to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::Int64Array;
use iceberg::spec::{Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestStatus};
use wharf_catalog::SqlType;
use wharf_lake::commit::{Edit, RewriteManifests, RewrittenManifests, Step, Uncommitted};
use wharf_lake::partition::{Layout, PartitionTerm, Term, Transform};
use wharf_lake::{LakeTable, RemovedFiles, RowDeletes, commit};

use super::{Lake, append, batch, bigint, bigints, column, create_with, number, plan, session};

fn columns() -> [wharf_catalog::Column; 2] {
    [column("a", SqlType::BigInt, 1), column("day", SqlType::BigInt, 2)]
}

fn by_day() -> Layout {
    let term = Term { column: "day".to_owned(), transform: Transform::Identity };
    Layout { partition: vec![PartitionTerm { term, name: None }], sort: Vec::new() }
}

/// A table of `commits` commits, each with a file for each of five days.
async fn many_commits(lake: &Lake, commits: i64, properties: &[(&str, &str)]) -> Arc<LakeTable> {
    let properties: HashMap<_, _> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut table = create_with(&lake.warehouse, &columns(), by_day(), properties).await;
    for commit in 0..commits {
        let rows = batch([
            ("a", Arc::new(Int64Array::from_iter_values((0..10).map(|n| commit * 10 + n)))),
            ("day", Arc::new(Int64Array::from_iter_values((0..10).map(|n| n % 5)))),
        ]);
        table = append(&lake.warehouse, &table, rows).await.unwrap();
    }
    table
}

fn read(location: &str) -> Vec<u8> {
    std::fs::read(location.strip_prefix("file://").unwrap()).unwrap()
}

/// The manifests as Iceberg's own library reads them.
pub(super) fn manifests(table: &LakeTable) -> Vec<ManifestFile> {
    let metadata: iceberg::spec::TableMetadata = serde_json::from_slice(&read(table.metadata_location())).unwrap();
    let list = read(metadata.current_snapshot().unwrap().manifest_list());
    let list = ManifestList::parse_with_version(&list, metadata.format_version()).unwrap();
    list.consume_entries().into_iter().collect()
}

/// Of each live file, its snapshot, its sequence numbers and the id of its first row.
type Numbers = BTreeMap<String, (Option<i64>, Option<i64>, Option<i64>, Option<i64>)>;

fn numbers(table: &LakeTable) -> Numbers {
    let mut numbers = BTreeMap::new();
    for file in manifests(table) {
        let mut next = file.first_row_id;
        for entry in Manifest::parse_avro(&read(&file.manifest_path)).unwrap().entries() {
            if !entry.is_alive() {
                continue;
            }
            let added = entry.status == ManifestStatus::Added;
            let or_list = |number: Option<i64>, of_list: i64| number.or(added.then_some(of_list));
            let first_row = entry.data_file.first_row_id().or_else(|| next.map(|id| id as i64));
            if entry.data_file.first_row_id().is_none() {
                next = next.map(|id| id + entry.record_count());
            }
            let of_file = (
                or_list(entry.snapshot_id, file.added_snapshot_id),
                or_list(entry.sequence_number, file.sequence_number),
                or_list(entry.file_sequence_number, file.sequence_number),
                first_row,
            );
            numbers.insert(format!("{:?} {}", file.content, entry.file_path()), of_file);
        }
    }
    numbers
}

async fn rewritten(
    lake: &Lake,
    table: &Arc<LakeTable>,
    which: RewriteManifests,
) -> (Arc<LakeTable>, RewrittenManifests) {
    let done = commit::rewrite_manifests(&lake.warehouse, table, which).await.unwrap().unwrap();
    // What is seen is what is in the files.
    (lake.reopened().load(&done.location).await.unwrap(), done)
}

#[tokio::test]
async fn many_manifests_become_one_and_no_number_changes() {
    for version in ["2", "3"] {
        let lake = Lake::new();
        let table = many_commits(&lake, 6, &[("format-version", version)]).await;
        let before = numbers(&table);
        assert_eq!((manifests(&table).len(), before.len()), (6, 30));
        let (after, done) = rewritten(&lake, &table, RewriteManifests::default()).await;
        assert_eq!((done.rewritten, done.added), (6, 1));
        assert_eq!(manifests(&after).len(), 1);
        assert_eq!(numbers(&after), before, "version {version}");
        let session = session(&lake.warehouse, &after).await;
        assert_eq!(number(&session, "SELECT sum(a) FROM t").await, (0..60).sum::<i64>());
        assert_eq!(after.row_count(), Some(60));

        let metadata: serde_json::Value = serde_json::from_slice(&read(after.metadata_location())).unwrap();
        let snapshots = metadata["snapshots"].as_array().unwrap();
        let snapshot = snapshots.iter().find(|snapshot| snapshot["snapshot-id"] == metadata["current-snapshot-id"]);
        let summary = &snapshot.unwrap()["summary"];
        let said = ["operation", "manifests-created", "manifests-kept", "manifests-replaced", "entries-processed"];
        assert_eq!(said.map(|name| summary[name].as_str().unwrap()), ["replace", "1", "0", "6", "30"]);

        // There is nothing more to do.
        let again = commit::rewrite_manifests(&lake.warehouse, &after, RewriteManifests::default()).await.unwrap();
        assert_eq!(again, None);
    }
}

#[tokio::test]
async fn each_manifest_has_neighbouring_partitions() {
    let lake = Lake::new();
    let table = many_commits(&lake, 6, &[]).await;
    let bytes: i64 = manifests(&table).iter().map(|file| file.manifest_length).sum();
    // A third of what there is.
    let set = vec![("commit.manifest.target-size-bytes".to_owned(), (bytes / 3 + 1).to_string())];
    let steps = [Step::Edit(Edit::Properties { set, removed: Vec::new() })];
    let mut written = Uncommitted::new(&lake.warehouse);
    let location = commit::apply(&lake.warehouse, &table, &steps, &mut written).await.unwrap().unwrap();
    written.set_in_doubt(true);
    let table = lake.warehouse.load(&location).await.unwrap();
    let (after, done) = rewritten(&lake, &table, RewriteManifests::default()).await;
    assert_eq!((done.rewritten, done.added), (6, 3));
    let bounds = manifests(&after).into_iter().map(|file| {
        let day = &file.partitions.as_ref().unwrap()[0];
        let bound = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
        (bound(day.lower_bound.as_deref().unwrap()), bound(day.upper_bound.as_deref().unwrap()))
    });
    assert_eq!(bounds.collect::<Vec<_>>(), [(0, 1), (1, 3), (3, 4)]);
    let explained = plan(&session(&lake.warehouse, &after).await, "SELECT * FROM t WHERE day = 2").await;
    assert!(explained.contains("read=6 of 30 files"), "{explained}");
}

#[tokio::test]
async fn deletes_apply_to_the_same_rows_afterwards() {
    for version in ["2", "3"] {
        let lake = Lake::new();
        let properties = HashMap::from([("format-version".to_owned(), version.to_owned())]);
        let mut table = create_with(&lake.warehouse, &bigint(), Layout::default(), properties).await;
        for first in [0, 10, 20] {
            table = append(&lake.warehouse, &table, bigints(first..first + 10)).await.unwrap();
            let file = table.rewritable().await.unwrap().locations().remove(0);
            let mut rows = RowDeletes::default();
            rows.add(&file, &(0..2).collect());
            let removed = RemovedFiles::default();
            let location = commit::delta(&lake.warehouse, &table, &removed, &rows, Vec::new()).await.unwrap().unwrap();
            table = lake.warehouse.load(&location).await.unwrap();
        }
        let before = numbers(&table);
        let (after, done) = rewritten(&lake, &table, RewriteManifests::default()).await;
        assert_eq!((done.rewritten, done.added), (6, 2));
        let kinds: Vec<_> = manifests(&after).iter().map(|file| file.content).collect();
        assert_eq!(kinds, [ManifestContentType::Data, ManifestContentType::Deletes]);
        assert_eq!(numbers(&after), before);
        let expected: i64 = (0..30).filter(|n| n % 10 > 1).sum();
        let session = session(&lake.warehouse, &after).await;
        assert_eq!(number(&session, "SELECT sum(a) FROM t").await, expected);
    }
}

#[tokio::test]
async fn the_background_waits_for_many_small_ones() {
    let lake = Lake::new();
    let off = [("commit.manifest-merge.enabled", "false"), ("commit.manifest.min-count-to-merge", "4")];
    let mut table = many_commits(&lake, 4, &off).await;
    let small = RewriteManifests { only_many_small: true, ..RewriteManifests::default() };
    assert_eq!(commit::rewrite_manifests(&lake.warehouse, &table, small).await.unwrap(), None);
    let one = Arc::new(Int64Array::from(vec![1]));
    table = append(&lake.warehouse, &table, batch([("a", Arc::clone(&one) as _), ("day", one)])).await.unwrap();
    let (after, done) = rewritten(&lake, &table, small).await;
    assert_eq!((done.rewritten, done.added), (5, 1));
    assert_eq!(numbers(&after), numbers(&table));
    // Another partition specification has none.
    let other = RewriteManifests { spec_id: Some(7), ..RewriteManifests::default() };
    assert_eq!(commit::rewrite_manifests(&lake.warehouse, &table, other).await.unwrap(), None);
}
