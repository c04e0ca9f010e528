//! Rows deleted where they are: by position delete files (format version 2) and deletion vectors (version 3).

use std::collections::BTreeSet;

use iceberg::spec::{FormatVersion, ManifestContentType, ManifestList};
use roaring::RoaringTreemap;
use wharf_lake::partition::Layout;
use wharf_lake::{RemovedFiles, RowDeletes, WriteOptions, commit};

use super::foreign::{commit_deletes, equality_deletes, metadata, position_deletes};
use super::*;

const VERSIONS: [&str; 2] = ["2", "3"];

async fn table_of(lake: &Lake, version: &str) -> Arc<LakeTable> {
    let properties = HashMap::from([("format-version".to_owned(), version.to_owned())]);
    create_with(&lake.warehouse, &bigint(), Layout::default(), properties).await
}

/// The rows with these values: their files, by number, and their positions.
async fn places(
    warehouse: &Warehouse,
    table: &Arc<LakeTable>,
    wanted: impl Fn(i64) -> bool,
) -> (RowDeletes, BTreeSet<i64>) {
    let provider = Arc::new(table.addressable().await.unwrap());
    let locations = provider.locations();
    let session = SessionContext::new();
    let (url, store) = warehouse.object_store();
    session.register_object_store(url.as_ref(), store);
    session.register_table("t", provider).unwrap();
    let sql = format!("SELECT a, \"{}\", \"{}\" FROM t", wharf_lake::FILE_NUMBER, wharf_lake::POSITION);
    let mut files = HashMap::<i64, RoaringTreemap>::new();
    for batch in query(&session, &sql).await {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
        for ((value, file), position) in column(0).into_iter().zip(column(1)).zip(column(2)) {
            if wanted(value) {
                assert!(files.entry(file).or_default().insert(position as u64), "a row is in one place");
            }
        }
    }
    let mut rows = RowDeletes::default();
    for (file, positions) in &files {
        rows.add(&locations[*file as usize], positions);
    }
    (rows, files.into_keys().collect())
}

/// Deletes the rows with these values where they are.
pub(super) async fn delete(lake: &Lake, table: &Arc<LakeTable>, wanted: impl Fn(i64) -> bool) -> Arc<LakeTable> {
    let (rows, _) = places(&lake.warehouse, table, wanted).await;
    apply(lake, table, &RemovedFiles::default(), &rows).await.unwrap()
}

async fn apply(
    lake: &Lake,
    table: &Arc<LakeTable>,
    removed: &RemovedFiles,
    rows: &RowDeletes,
) -> Option<Arc<LakeTable>> {
    let location = commit::delta(&lake.warehouse, table, removed, rows, Vec::new()).await.unwrap()?;
    Some(lake.warehouse.load(&location).await.unwrap())
}

/// A total of the table's snapshot.
fn total(table: &LakeTable, name: &str) -> u64 {
    let metadata = metadata(table);
    let summary = &metadata.current_snapshot().unwrap().summary().additional_properties;
    summary[name].parse().unwrap()
}

/// Every state of the table that a reader can come by has these rows.
async fn expect(lake: &Lake, table: &Arc<LakeTable>, expected: &[i64]) {
    for warehouse in [Arc::clone(&lake.warehouse), lake.reopened()] {
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        assert_eq!(all(&warehouse, &table).await, expected);
        let session = session(&warehouse, &table).await;
        assert_eq!(number(&session, "SELECT count(*) FROM t").await, expected.len() as i64);
    }
}

#[tokio::test]
async fn rows_are_deleted_where_they_are() {
    for version in VERSIONS {
        let lake = Lake::new();
        let table = table_of(&lake, version).await;
        let options = WriteOptions { row_group_rows: 100, ..WriteOptions::default() };
        let files = write(&lake.warehouse, &table, [bigints(0..1000)], options).await;
        let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
        let base = lake.warehouse.load(&location).await.unwrap();
        let base = append(&lake.warehouse, &base, bigints(1000..1010)).await.unwrap();

        let one = delete(&lake, &base, |n| n % 7 == 0 && n < 1000).await;
        expect(&lake, &one, &(0..1010).filter(|n| n % 7 != 0 || *n >= 1000).collect::<Vec<_>>()).await;
        assert_eq!((total(&one, "total-delete-files"), total(&one, "total-position-deletes")), (1, 143));
        // The data file has one delete file, whatever was deleted before.
        let two = delete(&lake, &one, |n| n % 5 == 0 && n < 1000).await;
        let left: Vec<_> = (0..1010).filter(|n| (n % 7 != 0 && n % 5 != 0) || *n >= 1000).collect();
        expect(&lake, &two, &left).await;
        assert_eq!((total(&two, "total-delete-files"), total(&two, "total-position-deletes")), (1, 314));
        assert_eq!(total(&two, "removed-delete-files"), 1);
        // A file without rows goes, and its deletes with it.
        let three = delete(&lake, &two, |n| n < 1000).await;
        expect(&lake, &three, &(1000..1010).collect::<Vec<_>>()).await;
        assert_eq!((total(&three, "total-delete-files"), total(&three, "total-data-files")), (0, 1));
        assert_eq!((total(&three, "total-position-deletes"), three.row_count()), (0, Some(10)));
        // The states before are as they were.
        expect(&lake, &base, &(0..1010).collect::<Vec<_>>()).await;
        expect(&lake, &two, &left).await;
        let files = lake.files(if version == "3" { ".puffin" } else { "-deletes.parquet" });
        assert_eq!(files.len(), 2, "{version}");

        let none = commit::replace(&lake.warehouse, &two, Vec::new()).await.unwrap();
        let none = lake.warehouse.load(&none).await.unwrap();
        assert_eq!((total(&none, "total-delete-files"), none.row_count()), (0, Some(0)));
        expect(&lake, &none, &[]).await;
    }
}

#[tokio::test]
async fn deletes_of_two_writers_are_put_together_unless_they_meet() {
    for version in VERSIONS {
        let lake = Lake::new();
        let base = append(&lake.warehouse, &table_of(&lake, version).await, bigints(0..10)).await.unwrap();
        let base = append(&lake.warehouse, &base, bigints(10..20)).await.unwrap();
        let of = async |values: &'static [i64]| places(&lake.warehouse, &base, |n| values.contains(&n)).await.0;
        let none = RemovedFiles::default();
        let won = apply(&lake, &base, &none, &of(&[1, 2, 11]).await).await.unwrap();
        let both = apply(&lake, &won, &none, &of(&[3]).await).await.unwrap();
        expect(&lake, &both, &(0..20).filter(|n| ![1, 2, 3, 11].contains(n)).collect::<Vec<_>>()).await;
        assert_eq!(total(&both, "total-delete-files"), 2);
        // A row that is gone already, or a file.
        assert!(apply(&lake, &won, &none, &of(&[2, 4]).await).await.is_none());
        let gone = delete(&lake, &won, |n| n < 10).await;
        assert!(apply(&lake, &gone, &none, &of(&[4]).await).await.is_none());

        // Files that were written again lose nothing that somebody has deleted meanwhile.
        let seen = async |table: &Arc<LakeTable>| table.rewritable().await.unwrap().removed_files().await.unwrap();
        let rewritten = write(&lake.warehouse, &base, [bigints(0..20)], WriteOptions::default()).await;
        let before = seen(&base).await;
        assert!(commit::overwrite(&lake.warehouse, &won, &before, rewritten.clone()).await.unwrap().is_none());
        let now = seen(&won).await;
        let replaced = commit::overwrite(&lake.warehouse, &won, &now, rewritten).await.unwrap().unwrap();
        let replaced = lake.warehouse.load(&replaced).await.unwrap();
        expect(&lake, &replaced, &(0..20).collect::<Vec<_>>()).await;
        assert_eq!((total(&replaced, "total-delete-files"), replaced.row_count()), (0, Some(20)));
    }
}

#[tokio::test]
async fn other_kinds_of_deletes_stay_or_are_taken_in() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let lake = Lake::new();
        let table = append(&lake.warehouse, &table_of(&lake, "2").await, bigints(0..10)).await.unwrap();
        let table = append(&lake.warehouse, &table, bigints(10..20)).await.unwrap();
        let [first, second] = [1, 0].map(|index| (&table, index));
        let location = async |(table, index): (&Arc<LakeTable>, usize)| {
            table.rewritable().await.unwrap().locations()[index].clone()
        };
        let [first, second] = [location(first).await, location(second).await];
        let of_both = position_deletes(&table, "both", &[(&first, 0), (&second, 0)]).build().unwrap();
        let of_one = position_deletes(&table, "one", &[(&first, 1)]).referenced_data_file(Some(first)).build().unwrap();
        let equal: ArrayRef = Arc::new(Int64Array::from(vec![2, 12]));
        let equal = equality_deletes(&table, "equal", vec![("a", 1, equal)]);
        let table = commit_deletes(&lake.warehouse, &table, FormatVersion::V2, vec![of_both, of_one, equal]).await;
        let table = commit_deletes(&lake.warehouse, &table, version, Vec::new()).await;
        expect(&lake, &table, &[3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 16, 17, 18, 19]).await;
        let table = delete(&lake, &table, |n| n == 3 || n == 4).await;
        expect(&lake, &table, &[5, 6, 7, 8, 9, 11, 13, 14, 15, 16, 17, 18, 19]).await;
        let table = delete(&lake, &table, |n| n < 10 || n == 19).await;
        expect(&lake, &table, &[11, 13, 14, 15, 16, 17, 18]).await;
    }
}

#[tokio::test]
async fn rows_of_format_version_3_have_ids() {
    let lake = Lake::new();
    let table = append(&lake.warehouse, &table_of(&lake, "3").await, bigints(0..10)).await.unwrap();
    let table = append(&lake.warehouse, &table, bigints(10..15)).await.unwrap();
    let table = delete(&lake, &table, |n| n == 3).await;
    let last = append(&lake.warehouse, &table, bigints(20..23)).await.unwrap();
    let written = metadata(&last);
    assert_eq!((written.format_version(), written.next_row_id()), (FormatVersion::V3, 18));
    let snapshot = written.current_snapshot().unwrap();
    assert_eq!(snapshot.row_range(), Some((15, 3)));
    let list = std::fs::read(snapshot.manifest_list().strip_prefix("file://").unwrap()).unwrap();
    let list = ManifestList::parse_with_version(&list, FormatVersion::V3).unwrap();
    let ids = list.entries().iter().filter(|file| file.content == ManifestContentType::Data);
    let mut ids: Vec<_> = ids.map(|file| file.first_row_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [Some(0), Some(10), Some(15)]);
    let deletes = list.entries().iter().find(|file| file.content == ManifestContentType::Deletes).unwrap();
    assert_eq!(deletes.first_row_id, None);
}

#[tokio::test]
async fn what_is_deleted_in_any_way_is_the_same() {
    for version in VERSIONS {
        let lake = Lake::new();
        let mut table = table_of(&lake, version).await;
        let mut expected = BTreeSet::new();
        let mut seed = 88_172_645_463_325_252_u64 ^ version.len() as u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for step in 0..60 {
            if step % 11 == 0 {
                table = lake.reopened().load(table.metadata_location()).await.unwrap();
            }
            let (modulus, rest) = (2 + random(9), random(2));
            let hit = |n: i64| n as u64 % modulus == rest;
            match random(4) {
                0 | 1 => {
                    let begin = step * 100;
                    let end = begin + 1 + random(100) as i64;
                    let options = WriteOptions { row_group_rows: 16, ..WriteOptions::default() };
                    let files = write(&lake.warehouse, &table, [bigints(begin..end)], options).await;
                    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
                    table = lake.warehouse.load(&location).await.unwrap();
                    expected.extend(begin..end);
                }
                2 => {
                    let (rows, _) = places(&lake.warehouse, &table, hit).await;
                    if !rows.is_empty() {
                        table = apply(&lake, &table, &RemovedFiles::default(), &rows).await.unwrap();
                    }
                    expected.retain(|n| !hit(*n));
                }
                _ => {
                    // The same by copy-on-write.
                    let (_, files) = places(&lake.warehouse, &table, hit).await;
                    let touched = table.rewritable().await.unwrap().only(&files);
                    let removed = touched.removed_files().await.unwrap();
                    if removed.is_empty() {
                        continue;
                    }
                    let session = SessionContext::new();
                    let (url, store) = lake.warehouse.object_store();
                    session.register_object_store(url.as_ref(), store);
                    assert_eq!(touched.locations().len(), files.len());
                    session.register_table("t", Arc::new(touched)).unwrap();
                    let kept = format!("SELECT a FROM t WHERE a % {modulus} <> {rest}");
                    let kept = query(&session, &kept).await;
                    let kept = write(&lake.warehouse, &table, kept, WriteOptions::default()).await;
                    let location = commit::overwrite(&lake.warehouse, &table, &removed, kept).await.unwrap().unwrap();
                    table = lake.warehouse.load(&location).await.unwrap();
                    expected.retain(|n| !hit(*n));
                }
            }
            let expected: Vec<_> = expected.iter().copied().collect();
            assert_eq!(all(&lake.warehouse, &table).await, expected, "version {version}, step {step}");
        }
        expect(&lake, &table, &expected.into_iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn every_bit_of_a_position_delete_file_counts() {
    let lake = Lake::new();
    let table = append(&lake.warehouse, &table_of(&lake, "2").await, bigints(0..5000)).await.unwrap();
    let table = delete(&lake, &table, |n| n % 3 == 0).await;
    let file = lake.files("-deletes.parquet").remove(0);
    let content = std::fs::read(&file).unwrap();
    let mut errors = 0;
    let places = (0..content.len()).step_by(61);
    let count = places.len();
    for place in places {
        let mut damaged = content.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&file, damaged).unwrap();
        let warehouse = lake.reopened();
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        let session = session(&warehouse, &table).await;
        match session.sql("SELECT a FROM t WHERE a % 3 = 0").await.unwrap().collect().await {
            // Where the checksums are not found for the damage, they are not verified, and nothing else is wrong.
            Ok(rows) => assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{place}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(file.to_str().unwrap()), "{place}: {error}");
                errors += 1;
            }
        }
    }
    assert!(errors + 2 >= count, "{errors} of {count}");
}

#[tokio::test]
async fn damaged_deletion_vectors_are_errors_that_name_the_file() {
    let lake = Lake::new();
    let table = append(&lake.warehouse, &table_of(&lake, "3").await, bigints(0..10)).await.unwrap();
    let table = delete(&lake, &table, |n| n == 3 || n == 5).await;
    let file = lake.files(".puffin").remove(0);
    let content = std::fs::read(&file).unwrap();
    let scan = async || {
        let warehouse = lake.reopened();
        let table = warehouse.load(table.metadata_location()).await.unwrap();
        let session = session(&warehouse, &table).await;
        let rows = session.sql("SELECT a FROM t").await.unwrap().collect().await;
        rows.map(|rows| rows.iter().map(RecordBatch::num_rows).sum::<usize>()).map_err(|error| error.to_string())
    };
    assert_eq!(scan().await, Ok(8));
    // The vector begins behind the magic number of the file; its footer is not needed.
    let vector = 4..4 + 4 + 4 + 8 + 4 + 8 + 8 + 4 + 4;
    for place in vector {
        let mut damaged = content.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&file, damaged).unwrap();
        let error = scan().await.unwrap_err();
        assert!(error.contains(&format!("file \"file://{}\" is damaged", file.display())), "{place}: {error}");
    }
    std::fs::write(&file, &content[..20]).unwrap();
    let error = scan().await.unwrap_err();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = scan().await.unwrap_err();
    assert!(error.contains(&format!("file \"file://{}\" does not exist", file.display())), "{error}");
}

#[tokio::test]
async fn tables_of_version_1_are_read_and_become_version_2_when_they_are_written() {
    let lake = Lake::new();
    let table = append(&lake.warehouse, &table_of(&lake, "2").await, bigints(0..10)).await.unwrap();
    let old = super::foreign::as_version_1(&lake.warehouse, &table).await;
    assert_eq!(metadata(&old).format_version(), FormatVersion::V1);
    expect(&lake, &old, &(0..10).collect::<Vec<_>>()).await;
    let appended = append(&lake.warehouse, &old, bigints(10..12)).await.unwrap();
    expect(&lake, &appended, &(0..12).collect::<Vec<_>>()).await;
    assert_eq!(metadata(&appended).format_version(), FormatVersion::V2);
    let deleted = delete(&lake, &old, |n| n == 4).await;
    expect(&lake, &deleted, &[0, 1, 2, 3, 5, 6, 7, 8, 9]).await;
    let again = delete(&lake, &deleted, |n| n > 4).await;
    expect(&lake, &again, &[0, 1, 2, 3]).await;
    assert_eq!(metadata(&again).format_version(), FormatVersion::V2);
}
