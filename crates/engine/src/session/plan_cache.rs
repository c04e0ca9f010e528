//! The plans of the statements a session has run lately, by their text.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::prepare::Prepared;

/// Statements longer than this are not kept.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// A bounded map; the plan that came first goes first.
pub(super) struct PlanCache {
    plans: HashMap<Arc<str>, Arc<Prepared>>,
    order: VecDeque<Arc<str>>,
    capacity: usize,
}

impl PlanCache {
    pub(super) fn new(capacity: usize) -> Self {
        PlanCache { plans: HashMap::new(), order: VecDeque::new(), capacity }
    }

    pub(super) fn get(&self, text: &str) -> Option<&Arc<Prepared>> {
        self.plans.get(text)
    }

    pub(super) fn put(&mut self, text: Arc<str>, prepared: Arc<Prepared>) {
        if text.len() > MAX_TEXT_BYTES || self.capacity == 0 {
            return;
        }
        if self.plans.insert(Arc::clone(&text), prepared).is_none() {
            self.order.push_back(text);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.plans.remove(&oldest);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.plans.clear();
        self.order.clear();
    }
}
