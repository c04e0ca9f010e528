//! What must hold, at every step.
//!
//! - One leader in a term and number. (openraft can elect several in one term: its leaders are ordered by term and node, and so are
//!   the ids of their entries.)
//! - Log matching: two entries with the same log id are the same and follow on the same entry, on whatever disk.
//! - What was applied at an index is the same everywhere and for ever: the log id, and the hash of the state. A node does not go back.
//! - A command that was answered is there for ever, once.
//! - Reads are linearizable: each has everything that was answered, or read by anybody, before it began.

use std::collections::BTreeMap;

use openraft::ServerState;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use wharf_catalog::{State, oids, state_hash};

use crate::log_record;
use crate::node::Node;
use crate::raft_types::LogId;

/// The states of every so many indexes are compared as a whole, the others by log id and revision.
const HASH_EVERY: u64 = 4;

/// What has been seen.
#[derive(Default)]
struct Seen {
    violation: Option<String>,
    /// By term and number.
    leaders: BTreeMap<(u64, u64), u64>,
    /// By log id: the entry's hash, and the log id of the entry before.
    entries: BTreeMap<LogId, ([u8; 32], Option<LogId>)>,
    applied: BTreeMap<u64, (LogId, u64, Option<[u8; 32]>)>,
    /// What a node has applied since it started.
    nodes: BTreeMap<u64, Option<u64>>,
    /// The schemas whose creation was answered, in that order.
    answered: Vec<u64>,
    reads: u64,
    /// The highest revision that a read has given.
    revision: u64,
}

/// All that is checked in a world.
#[derive(Default)]
pub(crate) struct Checks {
    seen: Mutex<Seen>,
    /// Are the nodes left to find out by themselves whether their states differ?
    leaves_states_to_nodes: bool,
}

/// What was known when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadBegin {
    answered: usize,
    revision: u64,
}

impl Checks {
    /// Checks that say nothing of states that differ, nor of what is read from such.
    pub(crate) fn without_states() -> Self {
        Checks { leaves_states_to_nodes: true, ..Checks::default() }
    }

    /// The first thing that went wrong.
    pub(crate) fn result(&self) -> Result<(), String> {
        self.seen.lock().violation.clone().map_or(Ok(()), Err)
    }

    /// Something went wrong.
    pub(crate) fn violated(&self, what: String) {
        self.seen.lock().violation.get_or_insert(what);
    }

    /// How many terms had a leader, commands an answer, reads a result.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let seen = self.seen.lock();
        (seen.leaders.len(), seen.answered.len(), seen.reads)
    }

    /// An entry is on a disk.
    pub(crate) fn written(&self, place: u64, index: u64, bytes: &[u8], before: Option<&[u8]>) {
        let id = |index, bytes: &[u8]| log_record::decode_entry(index, bytes).unwrap().log_id;
        let before = before.map(|before| id(index - 1, before));
        let entry = (<[u8; 32]>::from(Sha256::digest(bytes)), before);
        let key = id(index, bytes);
        let mut seen = self.seen.lock();
        let known = seen.entries.entry(key).or_insert(entry);
        // After a snapshot the entry before is not there.
        known.1 = known.1.or(before);
        if known.0 != entry.0 || before.is_some() && known.1 != before {
            let what = format!(
                "place {place}: entry {key} after {before:?} is known with another content, or after {:?}",
                known.1
            );
            seen.violation.get_or_insert(what);
        }
    }

    /// A node starts from its disk.
    pub(crate) fn started(&self, node: u64) {
        self.seen.lock().nodes.remove(&node);
    }

    /// A node has taken a step.
    pub(crate) fn stepped(&self, node: &Node) {
        let (vote, leads) = {
            let metrics = node.metrics.borrow();
            ((metrics.vote.leader_id.term, metrics.vote.leader_id.node_id), metrics.state == ServerState::Leader)
        };
        let mut seen = self.seen.lock();
        let seen = &mut *seen;
        if leads {
            let leader = *seen.leaders.entry(vote).or_insert(node.id);
            if leader != node.id || vote.1 != node.id {
                seen.violation.get_or_insert(format!("nodes {leader} and {} lead with vote {vote:?}", node.id));
            }
        }
        let index = node.applied.index();
        let before = seen.nodes.insert(node.id, index).flatten();
        if index == before {
            return;
        }
        if index < before {
            let what = format!("node {} went back from applied entry {before:?} to {index:?}", node.id);
            seen.violation.get_or_insert(what);
        }
        let applied = node.applied.get();
        let Some(last) = applied.last else { return };
        // Hashes take most of the time that a run takes; a state that differs goes on to differ.
        let hash = last.index.is_multiple_of(HASH_EVERY).then(|| state_hash(&applied.state));
        let found = (last, applied.state.revision(), hash);
        let known = *seen.applied.entry(last.index).or_insert(found);
        if known != found && !self.leaves_states_to_nodes {
            let what =
                format!("node {} applied {last}, another {}; equal hashes: {}", node.id, known.0, known.2 == found.2);
            seen.violation.get_or_insert(what);
        }
    }

    /// The creation of a schema was answered.
    pub(crate) fn answered(&self, schema: u64) {
        self.seen.lock().answered.push(schema);
    }

    /// Is all in a state that was answered so far?
    pub(crate) fn has_all(&self, state: &State) -> bool {
        let found = schemas(state);
        self.seen.lock().answered.iter().all(|schema| found.binary_search(schema).is_ok())
    }

    /// A read begins.
    pub(crate) fn read_begins(&self) -> ReadBegin {
        let seen = self.seen.lock();
        ReadBegin { answered: seen.answered.len(), revision: seen.revision }
    }

    /// A read has given a state.
    pub(crate) fn read_ends(&self, begin: ReadBegin, state: &State, by: &str) {
        let found = schemas(state);
        let mut seen = self.seen.lock();
        seen.reads += 1;
        if self.leaves_states_to_nodes {
            return;
        }
        let missing = seen.answered[..begin.answered].iter().find(|schema| found.binary_search(schema).is_err());
        if let Some(missing) = missing.copied() {
            seen.violation.get_or_insert(format!("{by} lacks schema {missing}, which was answered before"));
        }
        let (revision, before) = (state.revision(), begin.revision);
        if revision < before {
            let what = format!("{by} gives revision {revision}, though {before} was read before");
            seen.violation.get_or_insert(what);
        }
        seen.revision = seen.revision.max(revision);
    }
}

/// The numbers of the schemas there are, in order.
pub(crate) fn schemas(state: &State) -> Vec<u64> {
    let names = state.namespaces(oids::FIRST_USER).filter_map(|schema| schema.name.strip_prefix('s')?.parse().ok());
    let mut numbers = names.collect::<Vec<u64>>();
    numbers.sort_unstable();
    numbers
}
