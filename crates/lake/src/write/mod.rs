//! Writing: record batches in, data files out.
//!
//! What always holds: a file is on the store, whole and durable, before [`TableWriter::finish`] names it; a writer that was
//! aborted, has failed or was dropped leaves nothing behind but what a crash may leave. Memory is bounded: at most about
//! three row groups and the parts of an upload are held, never a file.
//!
//! Values are only stored here. That they fit their SQL types and are not null where they must not be is the work of
//! the engine (a null in such a column is refused all the same).

mod encoder;
mod metrics;
mod row_group;
mod settings;
mod stream;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::DataType;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use crate::error::LakeError;
use crate::store::Store;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use encoder::FileEncoder;
pub use settings::{Codec, WriteOptions};
use stream::FileStream;

/// As long as no more than this was written, it waits in memory and becomes one small file without any task.
const SMALL_ROWS: usize = 64 * 1024;
/// See [`SMALL_ROWS`].
const SMALL_BYTES: usize = 16 * 1024 * 1024;
/// Batches with fewer rows than this are put together before they are encoded.
const COALESCED_ROWS: usize = 4 * 1024;

/// A data file that nobody refers to yet.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub(crate) data_file: DataFile,
}

impl WrittenFile {
    /// Where it is.
    pub fn location(&self) -> &str {
        self.data_file.file_path()
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.data_file.record_count()
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.data_file.file_size_in_bytes()
    }
}

/// Writes rows of a table into new data files.
pub struct TableWriter {
    table: Arc<LakeTable>,
    options: WriteOptions,
    /// Rows in storage types that are not encoded yet.
    buffered: Vec<RecordBatch>,
    buffered_rows: usize,
    buffered_bytes: usize,
    /// How files are encoded, decided when the first one begins.
    properties: Option<WriterProperties>,
    file: Option<FileStream>,
    finished: Vec<WrittenFile>,
    rows: u64,
    failed: bool,
}

impl TableWriter {
    /// A writer for a table, whichever of its states this is: files fit every state with the same schema.
    pub fn new(_: &Arc<Warehouse>, table: &Arc<LakeTable>, options: WriteOptions) -> TableWriter {
        TableWriter {
            table: Arc::clone(table),
            options,
            buffered: Vec::new(),
            buffered_rows: 0,
            buffered_bytes: 0,
            properties: None,
            file: None,
            finished: Vec::new(),
            rows: 0,
            failed: false,
        }
    }

    /// How many rows were written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes rows whose columns are those of the table in their order; `Utf8` serves for `Utf8View` and the like. Waits
    /// while the encoders or the store are busy.
    ///
    /// # Errors
    /// A batch that does not fit, a full disk, a store that fails. After an error the writer is only good for
    /// [`abort`](TableWriter::abort).
    pub async fn write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        self.check()?;
        let result = self.try_write(batch).await;
        self.failed |= result.is_err();
        result
    }

    /// Ends the last file and returns all of them. No rows, no files.
    ///
    /// # Errors
    /// As [`write`](TableWriter::write); what was written is removed.
    pub async fn finish(mut self) -> Result<Vec<WrittenFile>, LakeError> {
        self.check()?;
        match self.try_finish().await {
            Ok(()) => Ok(std::mem::take(&mut self.finished)),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// Removes everything that was written.
    pub async fn abort(mut self) {
        if let Some(file) = self.file.take() {
            file.abort().await;
        }
        let files = std::mem::take(&mut self.finished);
        discard(self.table.store(), &files).await;
    }

    fn check(&self) -> Result<(), LakeError> {
        self.table.check_readable()?;
        if self.failed {
            let location = self.table.location().to_owned();
            return Err(LakeError::WriterFailed { location });
        }
        Ok(())
    }

    async fn try_write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.stored(batch)?;
        self.rows += batch.num_rows() as u64;
        self.buffered_rows += batch.num_rows();
        self.buffered_bytes += batch.get_array_memory_size();
        self.buffered.push(batch);
        let enough = match self.file {
            Some(_) => COALESCED_ROWS,
            None => SMALL_ROWS,
        };
        if self.buffered_rows >= enough || self.buffered_bytes >= SMALL_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands what is buffered to the file that is being written, beginning one where there is none.
    async fn flush(&mut self) -> Result<(), LakeError> {
        let batches = std::mem::take(&mut self.buffered);
        self.buffered_rows = 0;
        self.buffered_bytes = 0;
        let batches = coalesced(batches)?;
        for (index, batch) in batches.iter().enumerate() {
            let mut offset = 0;
            while offset < batch.num_rows() {
                if self.file.is_none() {
                    let (encoder, factory) = self.begin(&batches[index..])?;
                    self.file = Some(FileStream::new(encoder, factory, &self.options));
                }
                let file = self.file.as_mut().expect("a file was begun above");
                let rows = file.room().min(batch.num_rows() - offset);
                file.write(&batch.slice(offset, rows)).await?;
                offset += rows;
                if file.is_full()
                    && let Some(file) = self.file.take()
                {
                    self.complete(file.finish().await?)?;
                }
            }
        }
        Ok(())
    }

    async fn try_finish(&mut self) -> Result<(), LakeError> {
        if self.file.is_none() && !self.buffered.is_empty() {
            return self.finish_small().await;
        }
        self.flush().await?;
        if let Some(file) = self.file.take() {
            self.complete(file.finish().await?)?;
        }
        Ok(())
    }

    /// A few rows: encoded here and now, and sent with one put.
    async fn finish_small(&mut self) -> Result<(), LakeError> {
        let batches = coalesced(std::mem::take(&mut self.buffered))?;
        let (mut encoder, factory) = self.begin(&batches)?;
        let failed = |error| LakeError::encode(encoder.location(), error);
        let writers = factory.create_column_writers(0).map_err(failed)?;
        let chunks = row_group::encode_now(writers, &batches).map_err(failed)?;
        if let Err(error) = encoder.append(chunks).await {
            encoder.abort().await;
            return Err(error);
        }
        self.complete(encoder.finish().await?)
    }

    /// Begins a file; how it is encoded depends on its first rows.
    fn begin(&mut self, beginning: &[RecordBatch]) -> Result<(FileEncoder, ArrowRowGroupWriterFactory), LakeError> {
        let location = format!("{}/data/{}.parquet", self.table.location(), Uuid::now_v7());
        let storage = self.table.storage_schema();
        let decide = || settings::properties(&self.options, storage, beginning);
        let properties = self.properties.get_or_insert_with(decide).clone();
        let (store, iceberg) = (self.table.store(), self.table.iceberg_schema());
        FileEncoder::new(store, location, iceberg, storage, properties)
    }

    fn complete(&mut self, data_file: DataFile) -> Result<(), LakeError> {
        self.finished.push(WrittenFile { data_file });
        fail::fail_point!("lake::data_file_written", |_| Err(LakeError::Failpoint("lake::data_file_written")));
        Ok(())
    }

    /// The batch in the types of storage.
    fn stored(&self, batch: RecordBatch) -> Result<RecordBatch, LakeError> {
        let schema = self.table.storage_schema();
        if batch.num_columns() != schema.fields().len() {
            return Err(LakeError::Batch(format!(
                "they have {} columns instead of {}",
                batch.num_columns(),
                schema.fields().len()
            )));
        }
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns
            .map(|(field, array)| {
                stored_array(array, field.data_type())
                    .map_err(|error| LakeError::Batch(format!("column \"{}\": {error}", field.name())))
            })
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| LakeError::Batch(error.to_string()))
    }
}

impl Drop for TableWriter {
    /// Somebody lost interest, for instance because the query was cancelled. The file in work is given up by its own task
    /// when its channel closes; finished files are removed if there is still a runtime to do it.
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.finished);
        if files.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let store = Arc::clone(self.table.store());
            drop(runtime.spawn(async move { discard(&store, &files).await }));
        }
    }
}

/// Removes files that nobody refers to.
pub(crate) async fn discard(store: &Store, files: &[WrittenFile]) {
    let locations: Vec<String> = files.iter().map(|file| file.location().to_owned()).collect();
    store.discard(locations).await;
}

fn stored_array(array: &ArrayRef, data_type: &DataType) -> arrow::error::Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, data_type, &options)
}

/// Small batches put together, since encoding has a price per batch.
fn coalesced(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, LakeError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(first) = batches.first() else {
        return Ok(batches);
    };
    if batches.len() == 1 || rows / batches.len() >= COALESCED_ROWS {
        return Ok(batches);
    }
    let schema = first.schema();
    let together = concat_batches(&schema, &batches);
    together.map(|batch| vec![batch]).map_err(|error| LakeError::Batch(error.to_string()))
}
