//! Vote and log for openraft, on a [`LogStorage`].
//!
//! What always holds: `append` reports entries as flushed only after they are durable, in the order they were appended; a vote is
//! durable before `save_vote` returns. All flushes go through one thread, which flushes once for all that waits. After a flush that
//! failed nothing is reported as flushed again, since the operating system forgets after telling once. The committed id, and the
//! removal of purged entries, become durable with the next flush: losing them in a crash loses nothing.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use fail::fail_point;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogState, OptionalSend, RaftLogReader};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ConsensusError;
use crate::flushed::Mark;
use crate::health::Health;
use crate::log_record::{self, RecordError};
use crate::log_storage::{LogStorage, SmallRecord};
use crate::raft_types::{Entry, LogId, StorageError, StorageIoError, TypeConfig, Vote};
use crate::snapshots::Covered;

/// How many requests share a flush at most.
const MAX_SHARED: usize = 256;

/// How many bytes of commands are sent to another node at a time, unless a single entry has more.
const MESSAGE_BYTES: usize = 1 << 20;

/// What openraft writes to.
pub(crate) struct LogStore {
    storage: Arc<dyn LogStorage>,
    mark: Arc<dyn Mark>,
    flushes: mpsc::UnboundedSender<FlushRequest>,
    covered: watch::Receiver<Covered>,
    health: Arc<Health>,
    /// For messages.
    path: PathBuf,
}

/// Someone who waits for a flush.
enum FlushRequest {
    Entries { last: Option<u64>, done: LogFlushed<TypeConfig> },
    Vote { done: oneshot::Sender<io::Result<()>> },
}

impl LogStore {
    /// A log store and its flush thread, which ends when the log store is dropped.
    pub(crate) fn new(
        storage: Arc<dyn LogStorage>,
        mark: Arc<dyn Mark>,
        covered: watch::Receiver<Covered>,
        health: Arc<Health>,
        path: &Path,
    ) -> io::Result<Self> {
        let (flushes, requests) = mpsc::unbounded_channel();
        let (flushed, noted) = (Arc::clone(&storage), Arc::clone(&health));
        let flusher =
            Flusher { storage: flushed, mark: Arc::clone(&mark), health: noted, path: path.to_owned(), failed: None };
        flusher.start(requests)?;
        Ok(LogStore { storage, mark, flushes, covered, health, path: path.to_owned() })
    }

    /// Notes an error that stops the node.
    fn note(&self, error: &io::Error) {
        self.health.fail(ConsensusError::io(&self.path, error));
    }

    /// An error of the storage, for openraft.
    fn failed(&self, wrap: impl FnOnce(AnyError) -> StorageIoError) -> impl FnOnce(io::Error) -> StorageError {
        move |error| {
            self.note(&error);
            wrap(AnyError::new(&error)).into()
        }
    }

    fn read_small<T: DeserializeOwned>(&self, record: SmallRecord, what: &'static str) -> io::Result<Option<T>> {
        read_small(self.storage.as_ref(), record, what)
    }
}

/// A small record, decoded.
pub(crate) fn read_small<T: DeserializeOwned>(
    storage: &dyn LogStorage,
    record: SmallRecord,
    what: &'static str,
) -> io::Result<Option<T>> {
    let Some(bytes) = storage.read_small(record)? else {
        return Ok(None);
    };
    log_record::decode_small(what, &bytes).map(Some).map_err(unreadable)
}

fn unreadable(error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Flushes, once for all that waits.
struct Flusher {
    storage: Arc<dyn LogStorage>,
    mark: Arc<dyn Mark>,
    health: Arc<Health>,
    /// For messages.
    path: PathBuf,
    /// The first flush that failed.
    failed: Option<(io::ErrorKind, String)>,
}

impl Flusher {
    /// Starts a thread that flushes until nobody can ask any more.
    fn start(mut self, mut requests: mpsc::UnboundedReceiver<FlushRequest>) -> io::Result<()> {
        #[cfg(test)]
        if crate::simulation::is_running() {
            drop(crate::runtime::Task::spawn(async move {
                while let Some(first) = requests.recv().await {
                    crate::simulation::disk_access().await;
                    self.serve(first, &mut requests);
                }
            }));
            return Ok(());
        }
        let run = move || {
            while let Some(first) = requests.blocking_recv() {
                self.serve(first, &mut requests);
            }
        };
        thread::Builder::new().name("wharf-log-flush".to_owned()).spawn(run).map(drop)
    }

    /// Flushes for a request and all that wait behind it.
    fn serve(&mut self, first: FlushRequest, requests: &mut mpsc::UnboundedReceiver<FlushRequest>) {
        let mut waiting = vec![first];
        while waiting.len() < MAX_SHARED
            && let Ok(request) = requests.try_recv()
        {
            waiting.push(request);
        }
        let last = waiting.iter().rev().find_map(|request| match request {
            FlushRequest::Entries { last, .. } => *last,
            FlushRequest::Vote { .. } => None,
        });
        if self.failed.is_none()
            && let Err(error) = self.flush(last)
        {
            // openraft stops, and tells it as text: what it was is known here alone.
            self.health.fail(ConsensusError::io(&self.path, &error));
            self.failed = Some((error.kind(), error.to_string()));
        }
        fail_point!("consensus::after_flush");
        for request in waiting {
            let result = match &self.failed {
                None => Ok(()),
                Some((kind, reason)) => Err(io::Error::new(*kind, reason.clone())),
            };
            match request {
                FlushRequest::Entries { done, .. } => done.log_io_completed(result),
                // Who does not wait any more does not need to know.
                FlushRequest::Vote { done } => drop(done.send(result)),
            }
        }
    }

    fn flush(&self, last: Option<u64>) -> io::Result<()> {
        self.storage.flush()?;
        match last {
            Some(last) => self.mark.raise(last),
            None => Ok(()),
        }
    }
}

/// Reads log entries while others are written.
pub(crate) struct LogReader {
    storage: Arc<dyn LogStorage>,
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        read_entries(self.storage.as_ref(), range)
            .map_err(|error| StorageIoError::read_logs(AnyError::new(&error)).into())
    }

    /// What goes to another node in one message.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in start..end {
            let read = self.try_get_log_entries(index..=index).await?;
            let Some(entry) = read.into_iter().next() else { break };
            if let EntryPayload::Normal(proposal) = &entry.payload {
                bytes += proposal.commands.iter().map(Vec::len).sum::<usize>();
            }
            if bytes > MESSAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        read_entries(self.storage.as_ref(), range).map_err(self.failed(StorageIoError::read_logs))
    }
}

fn read_entries(storage: &dyn LogStorage, range: impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
    let start = match range.start_bound() {
        Bound::Included(start) => Some(*start),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(end) => Some(*end),
        Bound::Excluded(after) => after.checked_sub(1),
        Bound::Unbounded => Some(u64::MAX),
    };
    let (Some(start), Some(end)) = (start, end) else {
        return Ok(Vec::new());
    };
    if start > end {
        return Ok(Vec::new());
    }
    let entries = storage.entries(start..=end)?;
    entries.iter().map(|(index, bytes)| log_record::decode_entry(*index, bytes).map_err(unreadable)).collect()
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = || {
            let purged: Option<LogId> = self.read_small(SmallRecord::Purged, "purged log id")?;
            let last = self.storage.last_entry()?;
            let last = last.map(|(index, bytes)| log_record::decode_entry(index, &bytes)).transpose();
            let last = last.map_err(unreadable)?.map(|entry| entry.log_id);
            Ok(LogState { last_purged_log_id: purged, last_log_id: last.max(purged) })
        };
        state().map_err(self.failed(StorageIoError::read_logs))
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        LogReader { storage: Arc::clone(&self.storage) }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (done, flushed) = oneshot::channel();
        self.storage
            .write_small(SmallRecord::Vote, log_record::encode_small(vote))
            .and_then(|()| self.flushes.send(FlushRequest::Vote { done }).map_err(|_| flush_thread_gone()))
            .map_err(self.failed(StorageIoError::write_vote))?;
        let flushed = flushed.await.unwrap_or_else(|_| Err(flush_thread_gone()));
        flushed.map_err(self.failed(StorageIoError::write_vote))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.read_small(SmallRecord::Vote, "vote").map_err(self.failed(StorageIoError::read_vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.storage
            .write_small(SmallRecord::Committed, log_record::encode_small(&committed))
            .map_err(self.failed(StorageIoError::write_logs))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let committed = self.read_small::<Option<LogId>>(SmallRecord::Committed, "committed log id");
        Ok(committed.map_err(self.failed(StorageIoError::read_logs))?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        before_append().map_err(self.failed(StorageIoError::write_logs))?;
        let records = entries.into_iter().map(|entry| (entry.log_id.index, log_record::encode_entry(&entry)));
        let records = records.collect::<Vec<_>>();
        let last = records.last().map(|(index, _)| *index);
        self.storage.append(records).map_err(self.failed(StorageIoError::write_logs))?;
        #[cfg(test)]
        if crate::simulation::has_planted(crate::simulation::PlantedBug::AcknowledgeBeforeFlush) {
            callback.log_io_completed(Ok(()));
            let late = FlushRequest::Vote { done: oneshot::channel().0 };
            return self.flushes.send(late).map_err(|_| self.failed(StorageIoError::write_logs)(flush_thread_gone()));
        }
        fail_point!("consensus::after_append_before_flush");
        self.flushes
            .send(FlushRequest::Entries { last, done: callback })
            .map_err(|_| self.failed(StorageIoError::write_logs)(flush_thread_gone()))
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        // The mark goes back first: entries that are removed on purpose must not look lost.
        let kept = since.index.checked_sub(1);
        let truncate = || {
            if self.mark.read()? > kept {
                self.mark.lower(kept)?;
            }
            self.storage.remove(since.index..=u64::MAX)
        };
        truncate().map_err(self.failed(StorageIoError::write_logs))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        fail_point!("consensus::before_purge");
        // When openraft installs a leader's snapshot, it purges at once, while that is still being written. A crash in between would
        // leave neither the entries nor the snapshot.
        let covered = self.covered.wait_for(|covered| covered.has(upto.index).is_some()).await;
        if !covered.is_ok_and(|covered| covered.has(upto.index) == Some(true)) {
            let error = AnyError::error("the snapshot that has the log entries was not written");
            return Err(StorageIoError::write_logs(error).into());
        }
        self.storage
            .write_small(SmallRecord::Purged, log_record::encode_small(&upto))
            .and_then(|()| self.storage.remove(0..=upto.index))
            .map_err(self.failed(StorageIoError::write_logs))
    }
}

/// A failpoint that can also give an error, as a disk does that is full.
fn before_append() -> io::Result<()> {
    fail_point!("consensus::before_append", |_| Err(io::ErrorKind::StorageFull.into()));
    Ok(())
}

fn flush_thread_gone() -> io::Error {
    io::Error::other("the flush thread has ended")
}
