//! The data files of one partition, one after the other.
//!
//! What always holds: no more than [`SMALL_ROWS`] rows or [`SMALL_BYTES`] wait unencoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use iceberg::spec::Struct;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::encoder::FileEncoder;
use super::finished::Finished;
use super::metrics::MetricsModes;
use super::row_group;
use super::settings::{self, WriteOptions};
use super::stream::FileStream;
use crate::error::LakeError;
use crate::table::LakeTable;

/// As long as no more than this was written, it waits in memory and becomes one small file without any task.
const SMALL_ROWS: usize = 64 * 1024;
/// See [`SMALL_ROWS`].
const SMALL_BYTES: usize = 16 * 1024 * 1024;
/// Batches with fewer rows than this are put together before they are encoded.
const COALESCED_ROWS: usize = 4 * 1024;

/// What the files of a sequence have in common.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The folder they go to, without a slash at its end.
    pub(super) folder: String,
    /// The partition spec.
    pub(super) spec_id: i32,
    /// The partition tuple.
    pub(super) tuple: Struct,
    /// The order that their rows have.
    pub(super) sort_order_id: Option<i32>,
}

/// Writes rows of one partition.
pub(super) struct FileSequence {
    table: Arc<LakeTable>,
    options: Arc<WriteOptions>,
    modes: Arc<MetricsModes>,
    place: Place,
    /// Rows in storage types that are not encoded yet.
    buffered: Vec<RecordBatch>,
    buffered_rows: usize,
    buffered_bytes: usize,
    /// How files are encoded, decided when the first one begins.
    properties: Option<WriterProperties>,
    file: Option<FileStream>,
    finished: Vec<Finished>,
}

impl FileSequence {
    pub(super) fn new(
        table: &Arc<LakeTable>,
        options: &Arc<WriteOptions>,
        modes: &Arc<MetricsModes>,
        place: Place,
    ) -> FileSequence {
        FileSequence {
            table: Arc::clone(table),
            options: Arc::clone(options),
            modes: Arc::clone(modes),
            place,
            buffered: Vec::new(),
            buffered_rows: 0,
            buffered_bytes: 0,
            properties: None,
            file: None,
            finished: Vec::new(),
        }
    }

    /// About how much memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buffered_bytes + self.file.as_ref().map_or(0, FileStream::memory_bytes)
    }

    /// Takes rows in storage types.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
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

    /// Ends the last file and hands out all of them. It can go on afterwards.
    pub(super) async fn finish(&mut self) -> Result<Vec<Finished>, LakeError> {
        self.end_file().await?;
        Ok(std::mem::take(&mut self.finished))
    }

    /// Gives up the file in work and hands out those that are finished.
    pub(super) async fn abort(&mut self) -> Vec<Finished> {
        self.buffered.clear();
        if let Some(file) = self.file.take() {
            file.abort().await;
        }
        std::mem::take(&mut self.finished)
    }

    /// What is finished, though the sequence has failed.
    pub(super) fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    async fn end_file(&mut self) -> Result<(), LakeError> {
        if self.file.is_none() && !self.buffered.is_empty() {
            return self.finish_small().await;
        }
        self.flush().await?;
        if let Some(file) = self.file.take() {
            self.complete(file.finish().await?)?;
        }
        Ok(())
    }

    /// A few rows: encoded here and now, and sent at once.
    async fn finish_small(&mut self) -> Result<(), LakeError> {
        let batches = coalesced(std::mem::take(&mut self.buffered))?;
        self.buffered_rows = 0;
        self.buffered_bytes = 0;
        let (mut encoder, factory) = self.begin(&batches)?;
        let failed = |error| LakeError::encode(encoder.location(), error);
        let writers = factory.create_column_writers(0).map_err(failed)?;
        let chunks = row_group::encode_now(writers, &batches).map_err(failed)?;
        // A task of its own: see `finished`.
        let sent = tokio::spawn(async move {
            match encoder.append(chunks).await {
                Ok(()) => encoder.finish().await,
                Err(error) => {
                    encoder.abort().await;
                    Err(error)
                }
            }
        });
        self.complete(sent.await??)
    }

    /// Begins a file; how it is encoded depends on its first rows.
    fn begin(&mut self, beginning: &[RecordBatch]) -> Result<(FileEncoder, ArrowRowGroupWriterFactory), LakeError> {
        let location = format!("{}/{}.parquet", self.place.folder, Uuid::now_v7());
        let storage = self.table.storage_schema();
        let decide = || settings::properties(&self.options, storage, beginning);
        let properties = self.properties.get_or_insert_with(decide).clone();
        FileEncoder::new(&self.table, location, self.place.clone(), &self.modes, properties)
    }

    fn complete(&mut self, file: Finished) -> Result<(), LakeError> {
        self.finished.push(file);
        fail::fail_point!("lake::data_file_written", |_| Err(LakeError::Failpoint("lake::data_file_written")));
        Ok(())
    }
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
