//! A file that is written while rows still come: row groups are encoded by their own tasks, and another task puts them into
//! the file and sends it off, so that encoding, writing and whoever produces the rows go on at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::encoder::FileEncoder;
use super::finished::Finished;
use super::row_group::{ClosedRowGroup, RowGroup};
use super::settings::{TARGET_FILE_BYTES, WriteOptions};
use crate::error::LakeError;

/// How many closed row groups may wait to be put into the file.
const GROUPS_IN_FLIGHT: usize = 1;

/// What the task of a file is told. When the channel closes without a `Finish`, the file is given up.
enum Message {
    /// A row group and about how many bytes it has.
    Group(ClosedRowGroup, u64),
    Finish,
}

/// A file that takes rows.
pub(super) struct FileStream {
    location: Arc<str>,
    factory: ArrowRowGroupWriterFactory,
    group: Option<RowGroup>,
    groups: usize,
    /// How many bytes the closed row groups have: estimated for those that still wait, counted for those in the file.
    closed_bytes: Arc<AtomicU64>,
    messages: mpsc::Sender<Message>,
    /// None once its end has been reported.
    task: Option<JoinHandle<Result<Option<Finished>, LakeError>>>,
    target_file_bytes: u64,
    row_group_rows: usize,
    row_group_bytes: usize,
}

impl FileStream {
    pub(super) fn new(encoder: FileEncoder, factory: ArrowRowGroupWriterFactory, options: &WriteOptions) -> FileStream {
        let location = encoder.location().into();
        let (messages, receiver) = mpsc::channel(GROUPS_IN_FLIGHT);
        let closed_bytes = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(encoder, receiver, Arc::clone(&closed_bytes)));
        FileStream {
            location,
            factory,
            group: None,
            groups: 0,
            closed_bytes,
            messages,
            task: Some(task),
            target_file_bytes: options.target_file_bytes.unwrap_or(TARGET_FILE_BYTES),
            row_group_rows: options.row_group_rows.max(1),
            row_group_bytes: options.row_group_bytes,
        }
    }

    /// How many rows may be written next; at least one.
    pub(super) fn room(&self) -> usize {
        let rows = self.group.as_ref().map_or(0, RowGroup::rows);
        self.row_group_rows.saturating_sub(rows).max(1)
    }

    /// Whether the file is as large as it should get. Only ever so between two row groups.
    pub(super) fn is_full(&self) -> bool {
        self.group.is_none() && self.closed_bytes.load(Ordering::Relaxed) >= self.target_file_bytes
    }

    /// About how much memory the row group in work takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::size_bytes)
    }

    /// Writes rows, no more than there is [`room`](FileStream::room) for.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let failed = |error| LakeError::encode(&*self.location, error);
        let group = match &mut self.group {
            Some(group) => group,
            None => {
                let writers = self.factory.create_column_writers(self.groups).map_err(failed)?;
                self.groups += 1;
                self.group.insert(RowGroup::new(writers))
            }
        };
        let going_on = group.write(batch).await.map_err(failed)?;
        let full = group.rows() >= self.row_group_rows || group.size_bytes() >= self.row_group_bytes;
        if full || !going_on {
            self.close_group().await?;
        }
        Ok(())
    }

    async fn close_group(&mut self) -> Result<(), LakeError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let estimate = group.final_bytes();
        self.closed_bytes.fetch_add(estimate, Ordering::Relaxed);
        if self.messages.send(Message::Group(group.close(), estimate)).await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) async fn finish(mut self) -> Result<Finished, LakeError> {
        self.close_group().await?;
        if self.messages.send(Message::Finish).await.is_err() {
            return Err(self.failure().await);
        }
        match self.end().await? {
            Some(file) => Ok(file),
            None => Err(LakeError::Task("the file was given up".to_owned())),
        }
    }

    /// Gives the file up, and waits until nothing of it is left.
    pub(super) async fn abort(self) {
        let FileStream { group, messages, task, .. } = self;
        drop((group, messages));
        if let Some(task) = task {
            // Nobody wants to know why it failed, if it did.
            let _ = task.await;
        }
    }

    /// Why the task of the file has ended.
    async fn failure(&mut self) -> LakeError {
        match self.end().await {
            Err(error) => error,
            Ok(_) => LakeError::Task("the file ended early".to_owned()),
        }
    }

    /// What the task of the file ends with.
    async fn end(&mut self) -> Result<Option<Finished>, LakeError> {
        match self.task.take() {
            Some(task) => task.await?,
            None => Err(LakeError::Task("the file has ended before".to_owned())),
        }
    }
}

/// The task of a file.
async fn run(
    mut encoder: FileEncoder,
    mut messages: mpsc::Receiver<Message>,
    closed_bytes: Arc<AtomicU64>,
) -> Result<Option<Finished>, LakeError> {
    loop {
        let (group, estimate) = match messages.recv().await {
            Some(Message::Group(group, estimate)) => (group, estimate),
            Some(Message::Finish) => return encoder.finish().await.map(Some),
            None => {
                encoder.abort().await;
                return Ok(None);
            }
        };
        let before = encoder.size_bytes();
        let appended = match group.chunks().await {
            Ok(chunks) => encoder.append(chunks).await,
            Err(error) => Err(LakeError::encode(encoder.location(), error)),
        };
        if let Err(error) = appended {
            encoder.abort().await;
            return Err(error);
        }
        closed_bytes.fetch_add(encoder.size_bytes() - before, Ordering::Relaxed);
        closed_bytes.fetch_sub(estimate, Ordering::Relaxed);
    }
}
