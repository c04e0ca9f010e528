//! Other nodes that help with work that is no query: which there are, how they are asked, and how much a node does for others.
//!
//! What always holds:
//! - Who is asked may be lost, and may have done the work all the same: what comes of that is the business of who asks.
//! - A node has a limit of each kind of work that it does for others at a time, and says when it is reached.
//! - Work for others ends when nobody waits for it any more: its future is dropped with the call.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::queries::{Peers, Question};

/// How many groups of data files a node rewrites for others at a time.
const REWRITES_AT_ONCE: usize = 2;
/// How many units of COPY a node loads for others at a time.
const LOADS_AT_ONCE: usize = 2;

/// What a node may do for others.
#[derive(Debug)]
pub(crate) struct Helping {
    pub(crate) rewrites: Semaphore,
    pub(crate) loads: Semaphore,
}

impl Default for Helping {
    fn default() -> Helping {
        Helping { rewrites: Semaphore::new(REWRITES_AT_ONCE), loads: Semaphore::new(LOADS_AT_ONCE) }
    }
}

/// Another node.
pub(crate) struct Helper {
    peers: Arc<dyn Peers>,
    address: String,
}

impl Helper {
    /// The other nodes that take part in queries.
    pub(crate) fn all(engine: &Engine) -> Vec<Helper> {
        let Some(peers) = engine.queries.peers() else { return Vec::new() };
        let status = engine.group.status();
        let others = status.members.into_iter().filter(|member| member.node != status.node);
        let others = others.map(|member| member.address).filter(|address| engine.fanout.takes_part(address));
        others.map(|address| Helper { peers: Arc::clone(&peers), address }).collect()
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Has it do something.
    ///
    /// # Errors
    /// Why somebody else has to see to it; it may be done all the same.
    pub(crate) async fn ask<A: DeserializeOwned>(
        &self,
        question: Question,
        request: &impl Serialize,
        timeout: Duration,
    ) -> Result<A, String> {
        let bytes = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let answer = self.peers.ask(&self.address, question, bytes.into(), timeout).await?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}
