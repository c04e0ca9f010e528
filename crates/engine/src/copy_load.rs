//! Rows on their way into a table: decoded in one task, written in another, whole or not at all.
//!
//! What always holds: the queues between the tasks are short, so that a slow one holds the others up instead of filling
//! the memory. A load that is given up (its [`Loading`] is dropped) leaves no file behind.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wharf_lake::WrittenFile;
use wharf_values::{SqlError, SqlState};

use crate::copy::CopyDecoder;
use crate::dml::defaults::Filler;
use crate::dml::write::{self, Target};
use crate::error::from_join;
use crate::files::progress::Progress;
use crate::session::Session;

/// Chunks that may wait for the decoder.
const QUEUE_CHUNKS: usize = 8;
/// Batches that may wait for the writer.
const QUEUE_BATCHES: usize = 4;

/// Columns of some rows, and which they are, when a header has said so.
type Batch = (Option<Arc<[usize]>>, Vec<ArrayRef>);

/// Rows on their way into files of a table: of some of its columns; the others get their defaults. See `crate::copy_intake`.
pub(crate) struct Rows {
    target: Target,
    filler: Filler,
    /// The places of the columns that can come, and the defaults of all, when headers say which do.
    by_name: Option<(Vec<usize>, Filler)>,
    /// Where it is told how many there are.
    progress: Option<Progress>,
}

impl Rows {
    /// Writes to a target what the filler makes whole; `by_name` when headers say which columns come: the places of those that can, and
    /// the defaults of all.
    pub(crate) fn new(target: Target, filler: Filler, by_name: Option<(Vec<usize>, Filler)>) -> Rows {
        Rows { target, filler, by_name, progress: None }
    }

    /// The columns that come from now on, by their places among those that can.
    fn give(&mut self, places: &[usize]) {
        if let Some((provided, defaults)) = &self.by_name {
            let given: Vec<usize> = places.iter().map(|place| provided[*place]).collect();
            self.filler = defaults.giving(&given);
        }
    }

    /// Writes the columns of some rows.
    ///
    /// # Errors
    /// `23502`, and what the lake says.
    pub(crate) async fn write(&mut self, columns: &[ArrayRef]) -> Result<(), SqlError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let all = self.filler.complete(columns, rows)?;
        self.target.write(all).await?;
        if let Some(progress) = &self.progress {
            progress.rows(rows as u64);
        }
        Ok(())
    }

    /// Tells of rows as they are written.
    #[must_use]
    pub(crate) fn telling(self, progress: &Progress) -> Rows {
        Rows { progress: Some(progress.clone()), ..self }
    }

    /// How many were written, and their files.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) async fn into_files(self) -> Result<(u64, Vec<WrittenFile>), SqlError> {
        self.target.into_files().await
    }

    /// Makes what was written count, or removes it after an error; gives the number of rows.
    ///
    /// # Errors
    /// The error it was given, and what the commit raises.
    pub(crate) async fn finish(self, session: &mut Session, written: Result<(), SqlError>) -> Result<u64, SqlError> {
        write::finish(session, self.target, written).await
    }
}

/// Data being decoded and written in the background.
pub(crate) struct Loading {
    /// None when the worker has ended before the data have.
    chunks: Option<mpsc::Sender<Bytes>>,
    worker: JoinHandle<Result<Rows, SqlError>>,
    ending: Arc<Mutex<Ending>>,
}

/// How the data end, for the decoder to find when no more come.
enum Ending {
    /// Nobody wants them any more.
    Dropped,
    /// All have come.
    Complete,
    /// Who sends them gave up, or broke off.
    GivenUp(SqlError),
}

impl Loading {
    /// Starts the tasks.
    pub(crate) fn start(decoder: CopyDecoder, rows: Rows) -> Loading {
        let (chunks, receiver) = mpsc::channel(QUEUE_CHUNKS);
        let ending = Arc::new(Mutex::new(Ending::Dropped));
        let worker = tokio::spawn(work(decoder, receiver, rows, Arc::clone(&ending)));
        Loading { chunks: Some(chunks), worker, ending }
    }

    /// Takes the next bytes, cut anywhere; waits while the tasks are behind. After an error the bytes are dropped, and
    /// [`Loading::finish`] says what it was.
    pub(crate) async fn write(&mut self, bytes: Bytes) {
        if let Some(chunks) = &self.chunks
            && chunks.send(bytes).await.is_err()
        {
            self.chunks = None;
        }
    }

    /// True when the rest of the data need not be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.chunks.is_none() || self.worker.is_finished()
    }

    /// Gives up, and says where the data were when that happened; an error in data that came before wins.
    pub(crate) async fn give_up(self, error: SqlError) -> SqlError {
        let Loading { chunks, worker, ending } = self;
        *ending.lock() = Ending::GivenUp(error.clone());
        drop(chunks);
        match worker.await {
            Ok(Err(placed)) => placed,
            _ => error,
        }
    }

    /// All data have come: gives the rows back, to be added to or finished.
    ///
    /// # Errors
    /// What was wrong with the data.
    pub(crate) async fn end(self) -> Result<Rows, SqlError> {
        let Loading { chunks, worker, ending } = self;
        *ending.lock() = Ending::Complete;
        drop(chunks);
        worker.await.map_err(|error| from_join(&error))?
    }

    /// All data have come: makes them count; gives the number of rows.
    ///
    /// # Errors
    /// What was wrong with the data, and what the commit raises.
    pub(crate) async fn finish(self, session: &mut Session) -> Result<u64, SqlError> {
        self.end().await?.finish(session, Ok(())).await
    }
}

/// Writes what the decoder's task sends; on any error what was written is removed.
async fn work(
    decoder: CopyDecoder,
    chunks: mpsc::Receiver<Bytes>,
    mut rows: Rows,
    ending: Arc<Mutex<Ending>>,
) -> Result<Rows, SqlError> {
    let (sender, mut batches) = mpsc::channel(QUEUE_BATCHES);
    let decoding = tokio::spawn(decode(decoder, chunks, sender, ending));
    let mut written = Ok(());
    let mut given: Option<Arc<[usize]>> = None;
    while let Some((places, batch)) = batches.recv().await {
        if let Some(places) = places.filter(|places| given.as_ref() != Some(places)) {
            rows.give(&places);
            given = Some(places);
        }
        written = rows.write(&batch).await;
        if written.is_err() {
            break;
        }
    }
    // Without a receiver the decoder stops.
    drop(batches);
    let decoded = decoding.await.map_err(|error| from_join(&error));
    match written.and(decoded.and_then(|decoded| decoded)) {
        Ok(()) => Ok(rows),
        Err(error) => {
            rows.target.abort().await;
            Err(error)
        }
    }
}

/// Decodes chunks until there are no more, or nobody takes the batches.
async fn decode(
    mut decoder: CopyDecoder,
    mut chunks: mpsc::Receiver<Bytes>,
    batches: mpsc::Sender<Batch>,
    ending: Arc<Mutex<Ending>>,
) -> Result<(), SqlError> {
    while let Some(chunk) = chunks.recv().await {
        decoder.push(chunk)?;
        while let Some(batch) = decoder.next_batch() {
            if batches.send((decoder.places().cloned(), batch)).await.is_err() {
                return Ok(());
            }
        }
    }
    match std::mem::replace(&mut *ending.lock(), Ending::Dropped) {
        Ending::Complete => {}
        Ending::GivenUp(error) => return Err(decoder.place(error)),
        Ending::Dropped => {
            return Err(SqlError::new(SqlState::QUERY_CANCELED, "COPY was given up before its end"));
        }
    }
    decoder.finish()?;
    while let Some(batch) = decoder.next_batch() {
        if batches.send((decoder.places().cloned(), batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
