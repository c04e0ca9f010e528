//! The first error that a node cannot go on from.
//!
//! openraft stops at an error of its storage and tells it to whoever asks as text. The storage notes here what it was, so that clients
//! get an error with the right SQLSTATE.

use parking_lot::Mutex;

use crate::error::ConsensusError;

/// Shared by the parts of one node.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failure: Mutex<Option<ConsensusError>>,
}

impl Health {
    /// Notes an error; only the first is kept, since the others follow from it.
    pub(crate) fn fail(&self, error: ConsensusError) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(%error, "the catalog has stopped");
            *failure = Some(error);
        }
    }

    /// The error, if there was one.
    pub(crate) fn failure(&self) -> Option<ConsensusError> {
        self.failure.lock().clone()
    }

    /// The error, or that of someone who does not know it better.
    pub(crate) fn failure_or(&self, reason: impl ToString) -> ConsensusError {
        self.failure().unwrap_or_else(|| ConsensusError::Failed { reason: reason.to_string() })
    }
}
