//! New deletes: a deletion vector for each data file in one Puffin file (format version 3), or a position delete file for each data
//! file (version 2).
//!
//! Each is all that is deleted of its data file by position, so that what there was before can go. Position delete files name
//! one data file alone: who reads another one need not open them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use iceberg::metadata_columns::{
    RESERVED_COL_NAME_DELETE_FILE_PATH, RESERVED_COL_NAME_DELETE_FILE_POS, RESERVED_FIELD_ID_DELETE_FILE_PATH,
    RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Struct};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use uuid::Uuid;

use super::puffin::PuffinFile;
use super::vector;
use crate::checksums::{self, Checksums};
use crate::error::LakeError;
use crate::store::Store;

/// How many files are written at the same time.
const CONCURRENT_FILES: usize = 8;
/// How many rows are encoded at once.
const BATCH_ROWS: usize = 16 * 1024;

/// What is deleted of a data file.
pub(crate) struct NewDeletes {
    pub(crate) data_file: String,
    pub(crate) partition: Struct,
    pub(crate) spec_id: i32,
    pub(crate) rows: Arc<RoaringTreemap>,
}

/// Writes deletes of data files of a table at this location; gives their entries for a manifest in the same order. When it
/// fails, what it wrote is removed.
///
/// # Errors
/// A store that fails, a full disk.
pub(crate) async fn write(
    store: &Store,
    table_location: &str,
    version: FormatVersion,
    deletes: &[NewDeletes],
) -> Result<Vec<DataFile>, LakeError> {
    if deletes.is_empty() {
        return Ok(Vec::new());
    }
    let folder = format!("{table_location}/data");
    let mut files = Vec::with_capacity(deletes.len());
    let mut contents = Vec::new();
    if version >= FormatVersion::V3 {
        let location = format!("{folder}/{}-deletes.puffin", Uuid::now_v7());
        let content = vectors(&location, deletes, &mut files)?;
        contents.push((location, content));
    } else {
        for delete in deletes {
            let location = format!("{folder}/{}-deletes.parquet", Uuid::now_v7());
            let content = positions(delete).map_err(|error| LakeError::encode(&location, error))?;
            files.push(described(delete, &location, DataFileFormat::Parquet, content.len(), None)?);
            contents.push((location, content));
        }
    }
    let locations: Vec<_> = contents.iter().map(|(location, _)| location.clone()).collect();
    let writes = contents.into_iter().map(|(location, content)| async move { store.put(&location, content).await });
    let writes: Vec<_> = writes.collect();
    let written = futures::stream::iter(writes).buffer_unordered(CONCURRENT_FILES).try_collect::<Vec<()>>().await;
    if let Err(error) = written {
        store.discard(locations).await;
        return Err(error);
    }
    Ok(files)
}

fn vectors(location: &str, deletes: &[NewDeletes], files: &mut Vec<DataFile>) -> Result<Bytes, LakeError> {
    let mut puffin = PuffinFile::new();
    let mut places = Vec::with_capacity(deletes.len());
    for delete in deletes {
        let blob = vector::encode(&delete.rows).map_err(|error| LakeError::metadata(location, error))?;
        places.push(puffin.add(&blob, &delete.data_file, delete.rows.len()));
    }
    let content = puffin.finish();
    for (delete, place) in deletes.iter().zip(places) {
        let place = (place.offset as i64, place.length as i64);
        files.push(described(delete, location, DataFileFormat::Puffin, content.len(), Some(place))?);
    }
    Ok(content)
}

/// The entry of a manifest for a delete file, or for the blob at a place in it.
fn described(
    delete: &NewDeletes,
    location: &str,
    format: DataFileFormat,
    size_bytes: usize,
    place: Option<(i64, i64)>,
) -> Result<DataFile, LakeError> {
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::PositionDeletes)
        .file_path(location.to_owned())
        .file_format(format)
        .partition(delete.partition.clone())
        .partition_spec_id(delete.spec_id)
        .record_count(delete.rows.len())
        .file_size_in_bytes(size_bytes as u64)
        .referenced_data_file(Some(delete.data_file.clone()))
        .content_offset(place.map(|(offset, _)| offset))
        .content_size_in_bytes(place.map(|(_, length)| length));
    if place.is_none() {
        let position = |value: Option<u64>| Datum::long(value.unwrap_or(0) as i64);
        let bounds = |end: Option<u64>| {
            [
                (RESERVED_FIELD_ID_DELETE_FILE_PATH, Datum::string(&delete.data_file)),
                (RESERVED_FIELD_ID_DELETE_FILE_POS, position(end)),
            ]
        };
        file.lower_bounds(bounds(delete.rows.min()).into()).upper_bounds(bounds(delete.rows.max()).into());
    }
    file.build().map_err(|error| LakeError::metadata(location, error))
}

/// The content of a position delete file.
fn positions(delete: &NewDeletes) -> Result<Bytes, ParquetError> {
    let field = |name: &str, data_type, id: i32| {
        let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
        Field::new(name, data_type, false).with_metadata(id.into())
    };
    let schema = Arc::new(Schema::new(vec![
        field(RESERVED_COL_NAME_DELETE_FILE_PATH, DataType::Utf8, RESERVED_FIELD_ID_DELETE_FILE_PATH),
        field(RESERVED_COL_NAME_DELETE_FILE_POS, DataType::Int64, RESERVED_FIELD_ID_DELETE_FILE_POS),
    ]));
    let properties = WriterProperties::builder()
        .set_created_by(concat!("wharf ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    let mut rows = delete.rows.iter().map(|position| position as i64);
    loop {
        let batch: Vec<i64> = rows.by_ref().take(BATCH_ROWS).collect();
        if batch.is_empty() {
            break;
        }
        let paths = StringArray::from_iter_values(std::iter::repeat_n(&delete.data_file, batch.len()));
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(batch))];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    // The checksums of column chunks are in the footer, and those of the footer in its place.
    writer.flush()?;
    let mut checksums = Checksums::new();
    checksums.update(writer.inner());
    let data_bytes = writer.inner().len();
    writer.append_key_value_metadata(KeyValue::new(checksums::KEY.to_owned(), checksums.value()));
    let mut content = writer.into_inner()?;
    match checksums::seal(&mut content[data_bytes..]) {
        true => Ok(content.into()),
        false => Err(ParquetError::General("the footer lacks the checksums it was given".to_owned())),
    }
}
