//! The group in a simulated world: many nodes in one thread, whose time, chance, network and disks follow from a seed.
//!
//! What runs is the code of production, from `Group` down to openraft; simulated are the runtime (`machine`, `runtime`), the network
//! (`network`) and the disks (`disk`). A world (`world`) puts clients and faults to it, and `checks` watches at every step
//! that nothing happens that must not. The same seed gives the same run, step by step, so whatever is found can be looked at
//! again: `WHARF_SIMULATION_SEED=17 cargo test -p wharf-consensus simulation::tests::one_seed -- --nocapture`; and
//! `WHARF_SIMULATION_SEEDS=2000` has more seeds tried than the few of every run.

#![allow(clippy::unwrap_used)]

mod checks;
mod disk;
mod machine;
mod network;
pub(crate) mod runtime;
mod tests;
mod world;

use std::time::Duration;

use uuid::Uuid;

use self::machine::Machine;
use crate::test_commands::create_schema;

/// A bug that is made on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlantedBug {
    /// An entry counts as written before it is on the disk.
    AcknowledgeBeforeFlush,
    /// A read answers from what the node has applied.
    SkipReadIndex,
    /// One node applies something that the others do not.
    ApplyMore,
    /// A leader that starts again and leads on takes what its disk says was committed for all that was answered.
    TrustCommittedMark,
}

/// Does the calling thread simulate?
pub(crate) fn is_running() -> bool {
    Machine::current().is_some()
}

/// Is this bug planted in the world of the calling thread?
pub(crate) fn has_planted(bug: PlantedBug) -> bool {
    Machine::current().is_some_and(|machine| machine.planted() == Some(bug))
}

/// The state that the calling node makes of one, with [`PlantedBug::ApplyMore`].
pub(crate) fn apply_more(state: wharf_catalog::State, index: u64) -> wharf_catalog::State {
    let here = has_planted(PlantedBug::ApplyMore) && Machine::current().is_some_and(|machine| machine.node() == 2);
    if !here || !index.is_multiple_of(50) {
        return state;
    }
    let envelope = create_schema(1_000_000 + index);
    wharf_catalog::apply(&state, &envelope).0
}

/// Takes as long as the disk of the calling node takes.
pub(crate) async fn disk_access() {
    let delay = Machine::current().map_or(Duration::ZERO, |machine| machine.disk_delay());
    runtime::Sleep::new(delay).await;
}

/// An id that the seed gives.
pub(crate) fn unique_id() -> Uuid {
    let machine = Machine::current().expect("asked for while simulating");
    Uuid::from_u64_pair(machine.random(), machine.random())
}
