//! Damaged and missing files are errors that name the file; no damage makes the process panic.

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use wharf_lake::{WriteOptions, commit};

use super::*;

/// A table with one data file of several row groups.
async fn table(lake: &Lake) -> Arc<LakeTable> {
    let table = lake.table(&[column("a", SqlType::BigInt, 1), column("s", SqlType::Text, 2)]).await;
    let strings = StringViewArray::from_iter_values((0..20_000).map(|i| format!("text {}", i % 1000)));
    let columns: [(&str, ArrayRef); 2] =
        [("a", Arc::new(Int64Array::from_iter_values(0..20_000))), ("s", Arc::new(strings))];
    let options = WriteOptions { row_group_rows: 5000, ..WriteOptions::default() };
    let files = write(&lake.warehouse, &table, [batch(columns)], options).await;
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    lake.warehouse.load(&location).await.unwrap()
}

/// Everything a reader can meet: loading, planning, scanning.
async fn scan(lake: &Lake, location: &str) -> Result<usize, String> {
    let warehouse = lake.reopened();
    let table = warehouse.load(location).await.map_err(|error| error.to_string())?;
    let provider = table.provider().await.map_err(|error| error.to_string())?;
    let session = SessionContext::new();
    let (url, store) = warehouse.object_store();
    session.register_object_store(url.as_ref(), store);
    session.register_table("t", provider).unwrap();
    let frame = session.sql("SELECT * FROM t WHERE a >= 10").await.unwrap();
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test]
async fn truncated_files_are_named() {
    let lake = Lake::new();
    let table = table(&lake).await;
    let location = table.metadata_location();
    assert_eq!(scan(&lake, location).await, Ok(19_990));
    let metadata = lake.files(".metadata.json").into_iter().filter(|file| location.ends_with(file.to_str().unwrap()));
    let files: Vec<_> = lake.files(".avro").into_iter().chain(lake.files(".parquet")).chain(metadata).collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let content = std::fs::read(&file).unwrap();
        for keep in [0, 1, 10, content.len() / 2, content.len() - 9, content.len() - 1] {
            std::fs::write(&file, &content[..keep]).unwrap();
            let error = scan(&lake, location).await.unwrap_err();
            assert!(error.contains(file.to_str().unwrap()), "{keep} bytes of {}: {error}", file.display());
        }
        std::fs::remove_file(&file).unwrap();
        let error = scan(&lake, location).await.unwrap_err();
        assert!(error.contains(&format!("file \"file://{}\" does not exist", file.display())), "{error}");
        std::fs::write(&file, &content).unwrap();
    }
    assert_eq!(scan(&lake, location).await, Ok(19_990));
}

#[tokio::test]
async fn changed_bytes_never_panic_and_errors_name_the_file() {
    let lake = Lake::new();
    let table = table(&lake).await;
    let file = lake.files(".parquet").remove(0);
    let content = std::fs::read(&file).unwrap();
    let footer = content.len() - 4000;
    let places = (0..content.len()).step_by(content.len() / 60).chain((footer..content.len()).step_by(37));
    let mut errors = 0;
    for place in places {
        let mut damaged = content.clone();
        for byte in damaged.iter_mut().skip(place).take(16) {
            *byte = !*byte;
        }
        std::fs::write(&file, damaged).unwrap();
        // Parquet has no checksum here: damage to values alone goes unnoticed.
        if let Err(error) = scan(&lake, table.metadata_location()).await {
            assert!(error.contains(file.to_str().unwrap()), "byte {place}: {error}");
            errors += 1;
        }
    }
    assert!(errors > 20, "{errors}");
}

#[tokio::test]
async fn a_file_with_other_contents_is_an_error() {
    let lake = Lake::new();
    let table = table(&lake).await;
    let file = lake.files(".parquet").remove(0);
    let size = std::fs::metadata(&file).unwrap().len() as usize;
    std::fs::write(&file, vec![b'x'; size]).unwrap();
    let error = scan(&lake, table.metadata_location()).await.unwrap_err();
    assert!(error.contains(&format!("could not read data file \"file://{}\"", file.display())), "{error}");
}
