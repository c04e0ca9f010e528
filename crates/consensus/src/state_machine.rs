//! The state machine that openraft applies entries to: `wharf-catalog`'s pure state, in memory.
//!
//! What always holds: [`Applied`] has the state after exactly the entries up to its log id; readers see the state after whole log
//! entries. Nothing is written when entries are applied: what is on the disk are the log and the snapshots, from which the state is
//! built again at the start.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use fail::fail_point;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::RwLock;
use wharf_catalog::{EncodingError, State, apply, decode_envelope, encode_state};

use crate::error::ConsensusError;
use crate::health::Health;
use crate::raft_types::{
    CommandAnswer, Entry, LogId, SnapshotMeta, StorageError, StorageIoError, StoredMembership, TypeConfig,
};
use crate::snapshots::{self, SnapshotStore, StoredSnapshot};

/// The state and which log entries made it.
#[derive(Clone, Default)]
pub(crate) struct Applied {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) state: Arc<State>,
}

/// The latest state, for readers. Held for a moment only.
pub(crate) type SharedApplied = Arc<RwLock<Applied>>;

/// What openraft applies to.
pub(crate) struct StateMachine {
    applied: SharedApplied,
    snapshots: Arc<SnapshotStore>,
    health: Arc<Health>,
}

impl StateMachine {
    /// A state machine that goes on from a snapshot, and where readers find its state.
    pub(crate) fn new(
        snapshots: Arc<SnapshotStore>,
        newest: Option<(SnapshotMeta, State)>,
        health: Arc<Health>,
    ) -> (Self, SharedApplied) {
        let applied = newest.map(|(meta, state)| Applied {
            last: meta.last_log_id,
            membership: meta.last_membership,
            state: Arc::new(state),
        });
        let applied = Arc::new(RwLock::new(applied.unwrap_or_default()));
        (StateMachine { applied: Arc::clone(&applied), snapshots, health }, applied)
    }

    /// Applies one entry.
    fn apply_entry(applied: &mut Applied, entry: Entry) -> Result<Vec<CommandAnswer>, EncodingError> {
        applied.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Vec::new()),
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                Ok(Vec::new())
            }
            EntryPayload::Normal(proposal) => {
                let mut answers = Vec::with_capacity(proposal.commands.len());
                for command in &proposal.commands {
                    let (state, answer) = apply(&applied.state, &decode_envelope(command)?);
                    applied.state = Arc::new(state);
                    answers.push(answer);
                }
                Ok(answers)
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.applied.read();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<CommandAnswer>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        fail_point!("consensus::before_apply");
        // Only this method and `install_snapshot` write, and openraft calls one at a time.
        let mut applied = self.applied.read().clone();
        let mut answers = Vec::new();
        for entry in entries {
            let log_id = entry.log_id;
            // It could be read when it was taken, or at the start. So this is a bug or a broken memory: stop, rather than go on with
            // a state that other replicas do not have.
            answers.push(Self::apply_entry(&mut applied, entry).map_err(|error| {
                self.health.fail(ConsensusError::Failed { reason: error.to_string() });
                StorageIoError::apply(log_id, AnyError::new(&error))
            })?);
        }
        *self.applied.write() = applied;
        fail_point!("consensus::after_apply");
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder {
            applied: self.applied.read().clone(),
            snapshots: Arc::clone(&self.snapshots),
            health: Arc::clone(&self.health),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let stored = StoredSnapshot { meta: meta.clone(), state: snapshot.into_inner() };
        let snapshots = Arc::clone(&self.snapshots);
        let state = blocking(move || {
            let state = snapshots::decode(Path::new("a snapshot from the leader"), &stored.state)?;
            snapshots.save(&stored)?;
            Ok(state)
        })
        .await
        .map_err(|error| snapshot_failed(&self.health, meta, error))?;
        *self.applied.write() =
            Applied { last: meta.last_log_id, membership: meta.last_membership.clone(), state: Arc::new(state) };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let snapshots = Arc::clone(&self.snapshots);
        let newest = blocking(move || snapshots.newest()).await;
        let newest = newest.map_err(|error| StorageIoError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(newest.map(|stored| Snapshot { meta: stored.meta, snapshot: Box::new(Cursor::new(stored.state)) }))
    }
}

/// Builds a snapshot of the state as it was when the builder was made.
pub(crate) struct SnapshotBuilder {
    applied: Applied,
    snapshots: Arc<SnapshotStore>,
    health: Arc<Health>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let applied = self.applied.clone();
        // The same entries give the same bytes, so the log id names them.
        let snapshot_id = applied.last.map_or("empty".to_owned(), |last| last.to_string());
        let meta = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership, snapshot_id };
        let (snapshots, building) = (Arc::clone(&self.snapshots), meta.clone());
        let stored = blocking(move || {
            let stored = StoredSnapshot { meta: building, state: encode_state(&applied.state) };
            snapshots.save(&stored)?;
            Ok(stored)
        });
        let stored = stored.await.map_err(|error| snapshot_failed(&self.health, &meta, error))?;
        tracing::info!(last = %stored.meta.snapshot_id, bytes = stored.state.len(), "snapshot written");
        Ok(Snapshot { meta: stored.meta, snapshot: Box::new(Cursor::new(stored.state)) })
    }
}

fn snapshot_failed(health: &Health, meta: &SnapshotMeta, error: ConsensusError) -> StorageError {
    let failed = StorageIoError::write_snapshot(Some(meta.signature()), AnyError::new(&error));
    health.fail(error);
    failed.into()
}

/// Runs what waits for a disk.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, ConsensusError> + Send + 'static,
) -> Result<T, ConsensusError> {
    let result = tokio::task::spawn_blocking(run).await;
    result.unwrap_or_else(|error| Err(ConsensusError::Failed { reason: error.to_string() }))
}
