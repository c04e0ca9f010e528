//! The writer: sizes of files, memory of what was written, and cleaning up.

use std::task::Poll;
use std::time::Duration;

use arrow::array::{Int64Array, StringViewArray};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use futures::StreamExt;
use wharf_lake::{Codec, TableWriter, WriteFilesExec, WriteOptions, commit, written_files};

use super::*;

fn small_files() -> WriteOptions {
    WriteOptions {
        target_file_bytes: Some(200_000),
        row_group_rows: 10_000,
        row_group_bytes: 1 << 20,
        ..WriteOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_split_into_files_and_none_is_lost() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let batches = (0..50).map(|i| bigints((i * 7000..(i + 1) * 7000).map(|a| a ^ 0x5a5a)));
    let files = write(&lake.warehouse, &table, batches, small_files()).await;
    assert!(files.len() > 5, "{} files", files.len());
    assert_eq!(files.iter().map(|file| file.rows()).sum::<u64>(), 350_000);
    for file in &files {
        let path = file.location().strip_prefix("file://").unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().len(), file.size_bytes());
        assert!(file.size_bytes() < 400_000, "{}", file.size_bytes());
    }
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    let mut expected: Vec<i64> = (0..350_000).map(|a| a ^ 0x5a5a).collect();
    expected.sort_unstable();
    assert_eq!(all(&lake.warehouse, &table).await, expected);
}

#[tokio::test]
async fn every_codec_is_read_back() {
    for codec in [Codec::Uncompressed, Codec::Lz4, Codec::Snappy, Codec::Zstd] {
        let lake = Lake::new();
        let table = lake.table(&bigint()).await;
        let options = WriteOptions { codec, ..small_files() };
        let files = write(&lake.warehouse, &table, [bigints(0..100_000)], options).await;
        let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
        let table = lake.warehouse.load(&location).await.unwrap();
        assert_eq!(all(&lake.warehouse, &table).await.len(), 100_000);
    }
}

#[tokio::test]
async fn one_row_is_one_small_file() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let before = lake.files("").len();
    let table = append(&lake.warehouse, &table, bigints([1])).await.unwrap();
    assert_eq!(lake.files("").len() - before, 4, "data, manifest, manifest list, metadata");
    assert!(table.size_bytes().unwrap() < 1000, "{:?}", table.size_bytes());
}

#[tokio::test]
async fn no_rows_no_files() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let files = write(&lake.warehouse, &table, [bigints([])], WriteOptions::default()).await;
    assert!(files.is_empty());
    assert!(lake.files(".parquet").is_empty());
}

/// What an operator over three partitions of rows gives that has been to another node and back.
async fn given(lake: &Lake, table: &LakeTable, partitions: &[Vec<RecordBatch>]) -> Vec<Result<RecordBatch, String>> {
    let rows = MemorySourceConfig::try_new_exec(partitions, partitions[0][0].schema(), None).unwrap();
    let location = table.metadata_location().to_owned();
    let left = WriteFilesExec::new(rows, Arc::clone(&lake.warehouse), location);
    let input = Arc::clone(left.children()[0]);
    let arrived = WriteFilesExec::from_bytes(&left.to_bytes().unwrap(), input, &lake.warehouse).unwrap();
    let given = arrived.execute(0, Arc::new(TaskContext::default())).unwrap();
    given.map(|row| row.map_err(|error| error.to_string())).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_plan_has_written_are_committed_by_another() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let partitions: Vec<_> = (0..3).map(|part| vec![bigints(part * 1000..(part + 1) * 1000)]).collect();
    let rows = given(&lake, &table, &partitions).await;
    let [Ok(row)] = rows.as_slice() else { panic!("{rows:?}") };
    let files = written_files(row).unwrap();
    assert_eq!(files.iter().map(WrittenFile::rows).collect::<Vec<_>>(), [3000]);
    assert_eq!(lake.warehouse.files_written_by_plans(), 1);
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    assert_eq!(all(&lake.warehouse, &table).await, (0..3000).collect::<Vec<_>>());
    // The bounds have come with the file.
    let session = session(&lake.warehouse, &table).await;
    assert_eq!(number(&session, "SELECT max(a) FROM t WHERE a > 2990").await, 2999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_fails_leaves_no_file() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let two =
        || batch([("a", Arc::new(Int64Array::from(vec![1])) as _), ("b", Arc::new(Int64Array::from(vec![2])) as _)]);
    let rows = given(&lake, &table, &[vec![two()], vec![two()], vec![two()]]).await;
    assert!(matches!(rows.as_slice(), [Err(_)]), "{rows:?}");
    assert!(lake.files(".parquet").is_empty());
}

/// Written rows that are not wanted any more leave nothing: aborted at once, while a file is under way, or after some.
#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_or_dropped_writer_leaves_nothing() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    for rows in [1, 9_000, 100_000, 400_000] {
        for abort in [true, false] {
            let mut writer = TableWriter::new(&lake.warehouse, &table, small_files());
            for start in (0..rows).step_by(5000) {
                writer.write(bigints(start..rows.min(start + 5000))).await.unwrap();
            }
            if abort {
                writer.abort().await;
            } else {
                drop(writer);
                for _ in 0..100 {
                    if lake.files("").iter().all(|file| !file.to_string_lossy().contains("/data/")) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            let left = lake.files("");
            assert!(left.iter().all(|file| !file.to_string_lossy().contains("/data/")), "{rows} {abort} {left:?}");
        }
    }
}

/// Whoever waits for a writer may be cancelled at any moment: while files are finished and sent, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_cancelled_while_it_finishes_a_file_leaves_nothing() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let in_data = || lake.files("").iter().filter(|file| file.to_string_lossy().contains("/data/")).count();
    for rows in [1, 60_000, 400_000] {
        let mut cancelled = 0;
        for round in 0..40 {
            let written = async {
                let mut writer = TableWriter::new(&lake.warehouse, &table, small_files());
                for start in (0..rows).step_by(5000) {
                    writer.write(bigints(start..rows.min(start + 5000))).await.unwrap();
                }
                writer.finish().await.unwrap()
            };
            // By steps, not by time, which differs from one machine to the next.
            match until_polled(written, 1 + round * round).await {
                Some(files) => commit::discard(&lake.warehouse, &files).await,
                None => cancelled += 1,
            }
            // Longer than a file takes that was about to come.
            let mut quiet = 0;
            for _ in 0..500 {
                quiet = if in_data() == 0 { quiet + 1 } else { 0 };
                if quiet == 10 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(quiet, 10, "{rows} rows, round {round}: {:?}", lake.files(""));
        }
        assert!(cancelled > 0, "{rows} rows: no writer waited for anything");
    }
}

/// What `future` gives, or nothing and the future dropped, when it was asked so many times and is still not ready.
async fn until_polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut asked = 0;
    std::future::poll_fn(|context| {
        asked += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if asked >= times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused() {
    let lake = Lake::new();
    let required = Column { nullable: false, ..column("a", SqlType::BigInt, 1) };
    let table = lake.table(&[required]).await;
    let null = batch([("a", Arc::new(Int64Array::from(vec![None::<i64>])) as _)]);
    let two = batch([("a", Arc::new(Int64Array::from(vec![1])) as _), ("b", Arc::new(Int64Array::from(vec![1])) as _)]);
    let text = batch([("a", Arc::new(StringViewArray::from(vec!["x"])) as _)]);
    for rows in [null, two, text] {
        let mut writer = TableWriter::new(&lake.warehouse, &table, WriteOptions::default());
        let error = writer.write(rows).await.unwrap_err();
        assert!(matches!(error, LakeError::Batch(_)), "{error}");
        let error = writer.write(bigints([1])).await.unwrap_err();
        assert!(matches!(error, LakeError::WriterFailed { .. }), "{error}");
        writer.abort().await;
    }
    assert!(lake.files(".parquet").is_empty());
}

/// A directory where the file should go cannot be replaced by a file, so that every write there fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_in_the_middle_is_an_error_not_a_hang() {
    let lake = Lake::new();
    let table = lake.table(&bigint()).await;
    let data = lake.directory.path().join("wharf").join(table.id().to_string()).join("data");
    std::fs::write(&data, "in the way").unwrap();
    let mut writer = TableWriter::new(&lake.warehouse, &table, small_files());
    let mut result = Ok(());
    for i in 0..200 {
        result = writer.write(bigints(i * 5000..(i + 1) * 5000)).await;
        if result.is_err() {
            break;
        }
    }
    let error = match result {
        Err(error) => {
            writer.abort().await;
            error
        }
        Ok(()) => writer.finish().await.unwrap_err(),
    };
    assert!(error.to_string().contains("/data/"), "{error}");
}
