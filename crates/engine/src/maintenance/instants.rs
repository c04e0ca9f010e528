//! The instants of the catalog that statements and transactions look at.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use uuid::Uuid;
use wharf_catalog::State;

/// Every instant that may still be looked at. One that nobody holds any more falls out by itself.
#[derive(Default)]
pub(crate) struct Instants {
    open: Mutex<Vec<Weak<State>>>,
}

impl Instants {
    /// Notes an instant that somebody looks at from now on.
    pub(crate) fn note(&self, state: &Arc<State>) {
        let mut open = self.open.lock();
        // Statements that come after each other mostly look at the same one.
        if open.last().is_some_and(|last| std::ptr::eq(last.as_ptr(), Arc::as_ptr(state))) {
            return;
        }
        if open.len() == open.capacity() {
            open.retain(|instant| instant.strong_count() > 0);
        }
        open.push(Arc::downgrade(state));
    }

    /// The metadata files that a table has at these instants.
    pub(crate) fn locations(&self, id: Uuid) -> Vec<String> {
        let mut open = self.open.lock();
        open.retain(|instant| instant.strong_count() > 0);
        let states = open.iter().filter_map(Weak::upgrade);
        let mut locations: Vec<_> =
            states.filter_map(|state| Some(state.table_by_id(id)?.metadata_location.clone())).collect();
        locations.sort_unstable();
        locations.dedup();
        locations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_that_nobody_holds_are_forgotten() {
        let instants = Instants::default();
        let held = Arc::new(State::default());
        instants.note(&held);
        instants.note(&held);
        for _ in 0..1000 {
            instants.note(&Arc::new(State::default()));
        }
        assert!(instants.open.lock().len() < 20, "{}", instants.open.lock().len());
        assert!(instants.locations(Uuid::nil()).is_empty());
        assert_eq!(instants.open.lock().len(), 1);
    }
}
