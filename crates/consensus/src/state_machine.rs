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
use tokio::sync::watch;
use wharf_catalog::{EncodingError, State, apply, decode_envelope};

use crate::error::ConsensusError;
use crate::hashes::HashQueue;
use crate::health::Health;
use crate::log_growth::LogGrowth;
use crate::raft_types::{
    CommandAnswer, Entry, LogId, NodeId, SnapshotMeta, StorageError, StorageIoError, StoredMembership, TypeConfig,
};
use crate::runtime::blocking;
use crate::snapshots::{SnapshotContent, SnapshotStore, StoredSnapshot};

/// The state and which log entries made it.
#[derive(Clone, Default)]
pub(crate) struct Applied {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// The highest number that a node of the group ever had: the counter by which numbers are never used again. Every membership that
    /// is applied moves it, so it is the same on all nodes.
    pub(crate) last_node_id: NodeId,
    pub(crate) state: Arc<State>,
}

/// The latest state, for readers; and who waits for an index.
#[derive(Default)]
pub(crate) struct SharedApplied {
    latest: RwLock<Applied>,
    /// The index after the last that was applied.
    next: watch::Sender<u64>,
}

impl SharedApplied {
    /// What was applied last, whole. Costs little.
    pub(crate) fn get(&self) -> Applied {
        self.latest.read().clone()
    }

    /// The state alone.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.latest.read().state)
    }

    /// The last index that was applied.
    pub(crate) fn index(&self) -> Option<u64> {
        self.latest.read().last.map(|last| last.index)
    }

    /// Returns when an index has been applied; false when it never will be.
    pub(crate) async fn wait_for(&self, index: Option<u64>) -> bool {
        let wanted = index.map_or(0, |index| index + 1);
        self.next.subscribe().wait_for(|next| *next >= wanted).await.is_ok()
    }

    fn set(&self, applied: Applied) {
        let next = applied.last.map_or(0, |last| last.index + 1);
        *self.latest.write() = applied;
        self.next.send_replace(next);
    }
}

/// What openraft applies to.
pub(crate) struct StateMachine {
    applied: Arc<SharedApplied>,
    snapshots: Arc<SnapshotStore>,
    health: Arc<Health>,
    hashes: HashQueue,
    growth: LogGrowth,
}

impl StateMachine {
    /// A state machine that goes on from a snapshot, and where readers find its state.
    pub(crate) fn new(
        snapshots: Arc<SnapshotStore>,
        newest: Option<(SnapshotMeta, SnapshotContent)>,
        health: Arc<Health>,
        hashes: HashQueue,
        growth: LogGrowth,
    ) -> (Self, Arc<SharedApplied>) {
        let applied = Arc::new(SharedApplied::default());
        if let Some((meta, content)) = newest {
            applied.set(from_snapshot(&meta, content));
        }
        (StateMachine { applied: Arc::clone(&applied), snapshots, health, hashes, growth }, applied)
    }

    /// Applies one entry.
    fn apply_entry(applied: &mut Applied, entry: Entry) -> Result<Vec<CommandAnswer>, EncodingError> {
        applied.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Vec::new()),
            EntryPayload::Membership(membership) => {
                let highest = membership.nodes().map(|(id, _)| *id).max();
                applied.last_node_id = applied.last_node_id.max(highest.unwrap_or_default());
                applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                Ok(Vec::new())
            }
            EntryPayload::Normal(proposal) => {
                let mut answers = Vec::with_capacity(proposal.commands.len());
                for command in &proposal.commands {
                    let (state, answer) = apply(&applied.state, &decode_envelope(command)?);
                    #[cfg(test)]
                    let state = crate::simulation::apply_more(state, entry.log_id.index);
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
        let applied = self.applied.get();
        Ok((applied.last, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<CommandAnswer>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        fail_point!("consensus::before_apply");
        // Only this method and `install_snapshot` write, and openraft calls one at a time.
        let mut applied = self.applied.get();
        let mut answers = Vec::new();
        for entry in entries {
            let log_id = entry.log_id;
            if let EntryPayload::Normal(proposal) = &entry.payload {
                self.growth.applied(proposal.commands.iter().map(Vec::len).sum());
            }
            // It could be read when it was taken, or at the start. So this is a bug or a broken memory: stop, rather than go on with
            // a state that other replicas do not have.
            answers.push(Self::apply_entry(&mut applied, entry).map_err(|error| {
                self.health.fail(ConsensusError::Failed { reason: error.to_string() });
                StorageIoError::apply(log_id, AnyError::new(&error))
            })?);
            self.hashes.offer(&applied);
        }
        self.applied.set(applied);
        fail_point!("consensus::after_apply");
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.growth.covered();
        SnapshotBuilder {
            applied: self.applied.get(),
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
        let stored = StoredSnapshot { meta: meta.clone(), content: snapshot.into_inner() };
        let snapshots = Arc::clone(&self.snapshots);
        let content = blocking(move || {
            let content = SnapshotContent::decode(Path::new("a snapshot from the leader"), &stored.content)?;
            snapshots.save(&stored)?;
            Ok(content)
        })
        .await
        .map_err(|error| snapshot_failed(&self.health, meta, error))?;
        tracing::info!(last = %meta.snapshot_id, "snapshot of the leader installed");
        self.applied.set(from_snapshot(meta, content));
        self.growth.covered();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let snapshots = Arc::clone(&self.snapshots);
        let newest = blocking(move || snapshots.newest()).await;
        let newest = newest.map_err(|error| StorageIoError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(newest.map(|stored| Snapshot { meta: stored.meta, snapshot: Box::new(Cursor::new(stored.content)) }))
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
        let last_membership = applied.membership.clone();
        let meta = SnapshotMeta { last_log_id: applied.last, last_membership, snapshot_id };
        let (snapshots, building) = (Arc::clone(&self.snapshots), meta.clone());
        let stored = blocking(move || {
            let content = SnapshotContent { last_node_id: applied.last_node_id, state: applied.state }.encode();
            let stored = StoredSnapshot { meta: building, content };
            snapshots.save(&stored)?;
            Ok(stored)
        });
        let stored = stored.await.map_err(|error| snapshot_failed(&self.health, &meta, error))?;
        tracing::info!(last = %stored.meta.snapshot_id, bytes = stored.content.len(), "snapshot written");
        Ok(Snapshot { meta: stored.meta, snapshot: Box::new(Cursor::new(stored.content)) })
    }
}

fn snapshot_failed(health: &Health, meta: &SnapshotMeta, error: ConsensusError) -> StorageError {
    let failed = StorageIoError::write_snapshot(Some(meta.signature()), AnyError::new(&error));
    health.fail(error);
    failed.into()
}

fn from_snapshot(meta: &SnapshotMeta, content: SnapshotContent) -> Applied {
    Applied {
        last: meta.last_log_id,
        membership: meta.last_membership.clone(),
        last_node_id: content.last_node_id,
        state: content.state,
    }
}
