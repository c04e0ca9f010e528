//! Whether the statements about one name are linearizable: whether there is an order of instants, one for each between its beginning
//! and its end, in which a catalog with one thing under that name answers as it did.
//!
//! All states that the catalog may be in are followed through time, together with what has already taken effect of the statements
//! that are still running; no state left is a violation. A statement of unknown outcome runs for ever.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::soak::history::{Change, Definition};

/// More states than this are not followed.
const STATES: usize = 3_000;

/// What a check came to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::soak) enum Verdict {
    Linearizable,
    /// The statement that nothing explains.
    Violation(String),
    /// Too many statements of unknown outcome.
    Undecided,
}

/// What is under the name, and which of the running statements have taken effect.
type State = (Option<u32>, BTreeSet<usize>);

/// Checks all statements about one name.
pub(in crate::soak) fn check(definitions: &[Definition]) -> Verdict {
    let mut events: Vec<(Duration, bool, usize)> = Vec::new();
    for (index, definition) in definitions.iter().enumerate() {
        events.push((definition.begin, false, index));
        events.extend(definition.end.map(|end| (end, true, index)));
    }
    // What begins in the instant in which another ends may have come first.
    events.sort_unstable();
    let mut running = BTreeSet::new();
    let mut states = HashSet::from([(None, BTreeSet::new())]);
    for (_, is_end, index) in events {
        if !is_end {
            running.insert(index);
            continue;
        }
        let Some(reached) = closure(&states, &running, definitions) else { return Verdict::Undecided };
        states = reached
            .into_iter()
            .filter_map(|(table, mut effective)| effective.remove(&index).then_some((table, effective)))
            .collect();
        running.remove(&index);
        if states.is_empty() {
            let Definition { begin, end, change } = definitions[index];
            return Verdict::Violation(format!("{change:?} from {begin:.3?} to {:.3?}", end.unwrap_or_default()));
        }
    }
    Verdict::Linearizable
}

/// All states that are reached when any of the running statements take effect; none when there are too many.
fn closure(states: &HashSet<State>, running: &BTreeSet<usize>, definitions: &[Definition]) -> Option<HashSet<State>> {
    let mut reached = states.clone();
    let mut open: Vec<State> = states.iter().cloned().collect();
    while let Some((table, effective)) = open.pop() {
        for index in running.difference(&effective) {
            if let Some(after) = apply(table, definitions[*index].change) {
                let mut effective = effective.clone();
                effective.insert(*index);
                if reached.insert((after, effective.clone())) {
                    open.push((after, effective));
                }
            }
        }
        if reached.len() > STATES {
            return None;
        }
    }
    Some(reached)
}

/// What is there afterwards; none when the catalog would not have answered so.
fn apply(table: Option<u32>, change: Change) -> Option<Option<u32>> {
    match change {
        Change::Created(mark) => table.is_none().then_some(Some(mark)),
        Change::Existed => table.is_some().then_some(table),
        Change::Dropped => table.is_some().then_some(None),
        Change::Missing => table.is_none().then_some(None),
        Change::Seen(seen) => (seen == table).then_some(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(begin: u64, end: u64, change: Change) -> Definition {
        // An end of 0 is none.
        let end = (end > 0).then(|| Duration::from_secs(end));
        Definition { begin: Duration::from_secs(begin), end, change }
    }

    fn verdict(statements: &[(u64, u64, Change)]) -> Verdict {
        check(&statements.iter().map(|(begin, end, change)| statement(*begin, *end, *change)).collect::<Vec<_>>())
    }

    #[test]
    fn what_can_be_put_in_order_is_linearizable() {
        use Change::{Created, Dropped, Existed, Missing, Seen};
        for history in [
            &[(0, 1, Missing), (2, 3, Created(1)), (4, 5, Seen(Some(1))), (6, 7, Dropped), (8, 9, Seen(None))][..],
            // Two at the same time, in the one order that is possible.
            &[(0, 9, Existed), (0, 9, Created(1)), (1, 8, Seen(None)), (10, 11, Seen(Some(1)))],
            // Nobody knows of the drop, and it is seen later; or never.
            &[(0, 1, Created(1)), (2, 0, Dropped), (3, 4, Seen(Some(1))), (5, 6, Seen(None)), (7, 8, Created(2))],
            &[(0, 1, Created(1)), (2, 0, Dropped), (3, 4, Seen(Some(1)))],
        ] {
            assert_eq!(verdict(history), Verdict::Linearizable, "{history:?}");
        }
    }

    #[test]
    fn what_no_order_explains_is_a_violation() {
        use Change::{Created, Dropped, Existed, Missing, Seen};
        for history in [
            &[(0, 1, Created(1)), (2, 3, Seen(None))][..],
            &[(0, 1, Created(1)), (2, 3, Created(2))],
            &[(0, 1, Created(1)), (2, 3, Missing)],
            &[(0, 1, Created(1)), (2, 3, Dropped), (4, 5, Dropped)],
            &[(0, 1, Created(1)), (2, 3, Dropped), (4, 5, Existed)],
            // Seen, then not seen, and nobody dropped it.
            &[(0, 9, Created(1)), (1, 2, Seen(Some(1))), (3, 4, Seen(None))],
            // The one that nobody knows of cannot have happened twice.
            &[(0, 1, Created(1)), (2, 0, Dropped), (3, 4, Seen(None)), (5, 6, Created(2)), (7, 8, Seen(None))],
            &[(0, 1, Existed)],
        ] {
            assert!(matches!(verdict(history), Verdict::Violation(_)), "{history:?}");
        }
    }

    #[test]
    fn too_many_unknown_statements_are_not_decided() {
        let mut history: Vec<_> =
            (0..40).map(|mark| (0, 0, if mark % 2 == 0 { Change::Created(mark) } else { Change::Dropped })).collect();
        history.push((1, 2, Change::Seen(Some(1_000))));
        assert_eq!(verdict(&history), Verdict::Undecided);
    }
}
