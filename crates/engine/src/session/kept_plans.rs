//! Physical plans that sessions keep to run them again.
//!
//! A plan holds the files that it would read, so a session that does nothing would keep files of former snapshots from being removed
//! for as long as it is connected. What always holds: a plan can be taken from who keeps it at any time; who runs it has it.

use std::sync::{Arc, Weak};

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

/// A physical plan with the context it runs in.
pub(crate) type Physical = (Arc<dyn ExecutionPlan>, Arc<TaskContext>);

/// Where one plan is kept.
type Place = Mutex<Option<Physical>>;

/// The place of a plan.
#[derive(Default)]
pub(super) struct KeptPlan(Arc<Place>);

impl KeptPlan {
    /// The plan, if it is still there.
    pub(super) fn get(&self) -> Option<Physical> {
        self.0.lock().clone()
    }
}

/// The places of all sessions.
#[derive(Default)]
pub(crate) struct KeptPlans {
    places: Mutex<Vec<Weak<Place>>>,
}

impl KeptPlans {
    /// Keeps a plan in its place.
    pub(super) fn keep(&self, place: &KeptPlan, plan: Physical) {
        *place.0.lock() = Some(plan);
        let mut places = self.places.lock();
        if places.len() == places.capacity() {
            places.retain(|place| place.strong_count() > 0);
        }
        places.push(Arc::downgrade(&place.0));
    }

    /// Lets go of all plans: those that are wanted again are made again.
    pub(crate) fn let_go(&self) {
        let places = std::mem::take(&mut *self.places.lock());
        for place in places.iter().filter_map(Weak::upgrade) {
            // Dropped after the lock.
            let _plan = place.lock().take();
        }
    }
}
