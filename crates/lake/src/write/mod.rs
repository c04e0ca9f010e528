//! Writing: record batches in, data files out.
//!
//! What always holds: a file is on the store, whole and durable, before [`TableWriter::finish`] names it; a writer that was
//! aborted, has failed or was dropped leaves nothing behind but what a crash may leave. Memory is bounded: of each file at most about
//! three row groups and the parts of an upload are held, and of all files of a writer together no more than
//! [`WriteOptions::open_bytes`]; the largest are finished early when it is more.
//!
//! `fanout` divides rows by partition, `sorting` puts them in order, `sequence` makes the files of one partition. `operator` is writing as
//! the top of a plan, for rows that are computed elsewhere than where they are committed, and `handed` is how the files get there.
//!
//! Values are only stored here. That they fit their SQL types and are not null where they must not be is the work of
//! the engine (a null in such a column is refused all the same).

mod encoder;
mod fanout;
mod finished;
mod foreign;
mod handed;
mod metrics;
mod operator;
mod row_group;
mod sequence;
mod settings;
mod sorting;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use iceberg::spec::DataFile;

use crate::error::LakeError;
use crate::store::Store;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;
use fanout::Partitioner;
use finished::Finished;
pub use foreign::ParquetFile;
use metrics::MetricsModes;
pub(crate) use metrics::{next_bytes, next_text};
pub use operator::{WriteFilesExec, written_files};
use sequence::FileSequence;
pub(crate) use settings::target_file_bytes;
pub use settings::{Codec, WriteOptions};
use sorting::Sorter;

/// A data file that nobody refers to yet.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub(crate) data_file: DataFile,
    /// The partition spec under which it was written.
    pub(crate) spec_id: i32,
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
    options: Arc<WriteOptions>,
    /// Made when the first rows come.
    route: Option<Route>,
    /// The files in work by partition; the key of a table without partitions is empty.
    open: HashMap<Box<[u8]>, FileSequence>,
    /// Those that are not claimed are removed when this is dropped.
    finished: Vec<Finished>,
    rows: u64,
    failed: bool,
}

/// Where rows go.
struct Route {
    modes: Arc<MetricsModes>,
    partitioner: Partitioner,
    sorter: Option<Sorter>,
}

impl TableWriter {
    /// A writer for a table, whichever of its states this is: files fit every state with the same schema. The properties of
    /// the table go before the options.
    pub fn new(_: &Arc<Warehouse>, table: &Arc<LakeTable>, options: WriteOptions) -> TableWriter {
        TableWriter {
            table: Arc::clone(table),
            options: Arc::new(options.for_table(table.properties())),
            route: None,
            open: HashMap::new(),
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
    pub async fn finish(self) -> Result<Vec<WrittenFile>, LakeError> {
        Ok(self.finish_unclaimed().await?.into_iter().map(Finished::claim).collect())
    }

    /// The same for one who may yet give the files up.
    async fn finish_unclaimed(mut self) -> Result<Vec<Finished>, LakeError> {
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
        let mut files = std::mem::take(&mut self.finished);
        for (_, mut sequence) in self.open.drain() {
            files.extend(sequence.abort().await);
        }
        for file in files {
            file.discard().await;
        }
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
        let sorter = self.route()?.sorter.as_mut();
        match sorter {
            Some(sorter) => sorter.write(batch).await,
            None => self.distribute(batch, false).await,
        }
    }

    /// Where rows go.
    fn route(&mut self) -> Result<&mut Route, LakeError> {
        if self.route.is_none() {
            let order = sorting::order(&self.table, &self.options)?;
            let partitioner = Partitioner::new(&self.table, &order)?;
            self.route = Some(Route {
                modes: Arc::new(MetricsModes::new(self.table.properties(), self.table.iceberg_schema())),
                sorter: Sorter::new(&self.table, &order, &partitioner, &self.options)?,
                partitioner,
            });
        }
        self.route.as_mut().ok_or_else(|| LakeError::Task("a writer has no route".to_owned()))
    }

    /// Gives each partition its rows. When they come partition by partition, those that came before are finished.
    async fn distribute(&mut self, batch: RecordBatch, clustered: bool) -> Result<(), LakeError> {
        let route = self.route()?;
        let modes = Arc::clone(&route.modes);
        for part in route.partitioner.split(batch)? {
            if clustered && !self.open.contains_key(&part.key) {
                self.finish_open().await?;
            }
            let (table, options) = (&self.table, &self.options);
            let sequence =
                self.open.entry(part.key).or_insert_with(|| FileSequence::new(table, options, &modes, part.place));
            sequence.write(part.batch).await?;
        }
        self.make_room().await
    }

    /// Ends the largest files as long as there are too many, or they hold too much memory.
    async fn make_room(&mut self) -> Result<(), LakeError> {
        if self.open.len() <= 1 {
            return Ok(());
        }
        let mut sizes: Vec<_> =
            self.open.iter().map(|(key, sequence)| (sequence.memory_bytes(), key.clone())).collect();
        let mut held: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        let fits = |held: usize, count: usize, options: &WriteOptions| {
            held <= options.open_bytes && count <= options.open_partitions.max(1)
        };
        if fits(held, self.open.len(), &self.options) {
            return Ok(());
        }
        sizes.sort_unstable();
        while !fits(held, self.open.len(), &self.options)
            && let Some((bytes, key)) = sizes.pop()
        {
            if let Some(mut sequence) = self.open.remove(&key) {
                let finished = sequence.finish().await;
                self.keep(&mut sequence, finished)?;
                held -= bytes;
            }
        }
        Ok(())
    }

    /// Ends all files in work.
    async fn finish_open(&mut self) -> Result<(), LakeError> {
        let keys: Vec<_> = self.open.keys().cloned().collect();
        for key in keys {
            if let Some(mut sequence) = self.open.remove(&key) {
                let finished = sequence.finish().await;
                self.keep(&mut sequence, finished)?;
            }
        }
        Ok(())
    }

    /// Takes over what a sequence has finished, also when it has failed, so that giving up waits until it is removed.
    fn keep(
        &mut self,
        sequence: &mut FileSequence,
        finished: Result<Vec<Finished>, LakeError>,
    ) -> Result<(), LakeError> {
        self.finished.extend(sequence.take_finished());
        self.finished.extend(finished?);
        Ok(())
    }

    async fn try_finish(&mut self) -> Result<(), LakeError> {
        let sorter = self.route.as_mut().and_then(|route| route.sorter.take());
        if let Some(mut sorted) = sorter.map(Sorter::finish) {
            while let Some(batch) = sorted.next().await? {
                self.distribute(batch, true).await?;
            }
        }
        self.finish_open().await
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
