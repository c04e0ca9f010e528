//! One data file: column chunks in, Parquet bytes out to the object store as they come.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::WrittenFile;
use super::finished::{Finished, Guard};
use super::metrics::{FileMetrics, MetricsModes};
use super::sequence::Place;
use crate::checksums::{self, Checksums};
use crate::error::LakeError;
use crate::store::{Store, Upload};
use crate::table::LakeTable;

/// How many encoded bytes are gathered before they are handed to the upload.
const FLUSH_BYTES: usize = 1024 * 1024;

/// A column chunk and what only the writer of its values knows.
pub(super) struct EncodedChunk {
    pub(super) chunk: ArrowColumnChunk,
    /// How many values are NaN.
    pub(super) nans: u64,
}

/// A data file that is being written.
pub(super) struct FileEncoder {
    store: Arc<Store>,
    location: String,
    place: Place,
    writer: SerializedFileWriter<Buffer>,
    buffer: Buffer,
    upload: Upload,
    metrics: FileMetrics,
    checksums: Checksums,
}

impl FileEncoder {
    /// Begins a file. The factory makes the encoders of its columns.
    pub(super) fn new(
        table: &LakeTable,
        location: String,
        place: Place,
        modes: &MetricsModes,
        properties: WriterProperties,
    ) -> Result<(FileEncoder, ArrowRowGroupWriterFactory), LakeError> {
        let storage = table.storage_schema();
        let failed = |error| LakeError::encode(&location, error);
        let schema = ArrowSchemaConverter::new().convert(storage).map_err(failed)?;
        let buffer = Buffer::default();
        let writer = SerializedFileWriter::new(buffer.clone(), schema.root_schema_ptr(), Arc::new(properties))
            .map_err(failed)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(storage));
        let encoder = FileEncoder {
            upload: Upload::new(table.store(), &location)?,
            metrics: FileMetrics::new(table.iceberg_schema(), modes),
            store: Arc::clone(table.store()),
            location,
            place,
            writer,
            buffer,
            checksums: Checksums::new(),
        };
        Ok((encoder, factory))
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// How many bytes the file has so far.
    pub(super) fn size_bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Appends a row group.
    pub(super) async fn append(&mut self, chunks: Vec<EncodedChunk>) -> Result<(), LakeError> {
        let failed = |error| LakeError::encode(&self.location, error);
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for (column, EncodedChunk { mut chunk, nans }) in chunks.into_iter().enumerate() {
            self.metrics.add(column, &chunk.close().metadata, nans);
            if nans > 0 {
                forget_bounds(&mut chunk).map_err(failed)?;
            }
            chunk.append_to_row_group(&mut group).map_err(failed)?;
            if self.buffer.len() >= FLUSH_BYTES {
                let bytes = self.buffer.take();
                self.checksums.update(&bytes);
                self.upload.write(bytes).await?;
            }
        }
        group.close().map_err(failed)?;
        Ok(())
    }

    /// Ends the file; it is visible and durable when this returns. Not to be given up in the middle: see `finished`.
    pub(super) async fn finish(self) -> Result<Finished, LakeError> {
        let FileEncoder { store, location, place, writer, buffer, mut upload, metrics, checksums } = self;
        let (data, tail, metadata) = match ends(writer, &buffer, checksums) {
            Ok(ends) => ends,
            Err(error) => {
                upload.abort().await;
                return Err(LakeError::encode(location, error));
            }
        };
        for bytes in [data, tail] {
            if let Err(error) = upload.write(bytes).await {
                upload.abort().await;
                return Err(error);
            }
        }
        // Where the store fails, the file may be there all the same.
        let guard = Guard::new(&store, &location);
        let size_bytes = upload.finish().await?;
        let spec_id = place.spec_id;
        let data_file = describe(&location, &metadata, size_bytes, place, metrics)?;
        Ok(Finished::new(WrittenFile { data_file, spec_id }, guard))
    }

    /// Gives the file up.
    pub(super) async fn abort(self) {
        self.upload.abort().await;
    }
}

/// Ends a file: the last bytes of its column chunks, and everything behind them with the checksums.
fn ends(
    mut writer: SerializedFileWriter<Buffer>,
    buffer: &Buffer,
    mut checksums: Checksums,
) -> parquet::errors::Result<(Bytes, Bytes, ParquetMetaData)> {
    writer.flush()?;
    let data = buffer.take();
    checksums.update(&data);
    writer.append_key_value_metadata(KeyValue::new(checksums::KEY.to_owned(), checksums.value()));
    let metadata = writer.finish()?;
    let mut tail = Vec::from(buffer.take());
    match checksums::seal(&mut tail) {
        true => Ok((data, tail.into(), metadata)),
        false => Err(ParquetError::General("the footer lacks the checksums it was given".to_owned())),
    }
}

/// Removes the bounds of a chunk with NaN in it. Parquet's bounds leave NaN out, and DataFusion would skip the row group or
/// page when somebody asks for values above the upper bound, which in PostgreSQL's order NaN is.
fn forget_bounds(chunk: &mut ArrowColumnChunk) -> parquet::errors::Result<()> {
    let close = chunk.close_mut();
    close.column_index = None;
    close.metadata = close.metadata.clone().into_builder().clear_statistics().build()?;
    Ok(())
}

fn describe(
    location: &str,
    metadata: &ParquetMetaData,
    size_bytes: u64,
    place: Place,
    metrics: FileMetrics,
) -> Result<DataFile, LakeError> {
    let begin = |column: &parquet::file::metadata::ColumnChunkMetaData| {
        column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset())
    };
    let groups = metadata.row_groups().iter();
    let offsets = groups.filter_map(|group| group.columns().first().map(begin)).collect();
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::Data)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .record_count(metadata.file_metadata().num_rows().max(0) as u64)
        .file_size_in_bytes(size_bytes)
        .partition_spec_id(place.spec_id)
        .partition(place.tuple)
        .split_offsets(Some(offsets));
    if let Some(id) = place.sort_order_id {
        file.sort_order_id(id);
    }
    metrics.describe(location, &mut file)?;
    file.build().map_err(|error| LakeError::metadata(location, error))
}

/// Where the encoder writes to and the upload takes from.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self) -> Bytes {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
