//! A Parquet file that is not a table's: what `COPY .. TO` writes.
//!
//! What always holds: nothing is visible before [`ParquetFile::finish`]; a file that is dropped before is given up. Columns
//! are known by name and have no field ids.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_writer::AsyncArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::error::LakeError;

/// A file that is being written.
pub struct ParquetFile {
    location: String,
    schema: SchemaRef,
    writer: AsyncArrowWriter<BufWriter>,
}

impl ParquetFile {
    /// The names of the codecs there are.
    pub const CODECS: [&str; 5] = ["zstd", "snappy", "gzip", "lz4", "none"];

    /// Begins a file at a path of a store; `location` is what messages call it. None for a codec that is none of
    /// [`ParquetFile::CODECS`].
    ///
    /// # Errors
    /// A schema that Parquet cannot store.
    pub fn create(
        location: &str,
        objects: Arc<dyn ObjectStore>,
        path: Path,
        schema: &Schema,
        codec: &str,
    ) -> Result<Option<ParquetFile>, LakeError> {
        let compression = match codec {
            "zstd" => Compression::ZSTD(ZstdLevel::default()),
            "snappy" => Compression::SNAPPY,
            "gzip" => Compression::GZIP(Default::default()),
            "lz4" => Compression::LZ4_RAW,
            "none" => Compression::UNCOMPRESSED,
            _ => return Ok(None),
        };
        let properties = WriterProperties::builder().set_compression(compression).build();
        // What SQL knows of the columns beyond their types is for nobody else.
        let fields = schema.fields().iter();
        let fields: Vec<Field> =
            fields.map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable())).collect();
        let schema = Arc::new(Schema::new(fields));
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let sink = BufWriter::new(objects, path);
        let writer = AsyncArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options)
            .map_err(|error| LakeError::encode(location, error))?;
        Ok(Some(ParquetFile { location: location.to_owned(), schema, writer }))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// What the store says, and rows of another schema.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|error| LakeError::Batch(error.to_string()))?;
        self.writer.write(&batch).await.map_err(|error| failed(&self.location, error))
    }

    /// About how large it is by now, in bytes.
    pub fn size_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Makes the file visible.
    ///
    /// # Errors
    /// What the store says.
    pub async fn finish(self) -> Result<(), LakeError> {
        let ParquetFile { location, writer, .. } = self;
        writer.close().await.map(drop).map_err(|error| failed(&location, error))
    }
}

/// An error of the encoder, or of the store below it.
fn failed(location: &str, error: ParquetError) -> LakeError {
    let ParquetError::External(below) = error else {
        return LakeError::encode(location, error);
    };
    match below.downcast::<std::io::Error>() {
        Ok(io) => match io.downcast::<object_store::Error>() {
            Ok(source) => LakeError::store(location, source),
            Err(io) => {
                LakeError::store(location, object_store::Error::Generic { store: "Parquet", source: Box::new(io) })
            }
        },
        Err(other) => LakeError::encode(location, ParquetError::External(other)),
    }
}
