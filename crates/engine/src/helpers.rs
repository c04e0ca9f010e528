//! Other nodes that help with work that is no query: which there are, how they are asked, and how much a node does for others.
//!
//! What always holds:
//! - Who is asked may be lost, and may have done the work all the same: what comes of that is the business of who asks.
//! - A node has a limit of each kind of work that it does for others at a time, and says when it is reached.
//! - What a node logs for others has the id of their statement, as what it logs for its own.
//! - Work for others ends when nobody waits for it any more: its future is dropped with the call.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Span;
use uuid::Uuid;

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

/// A request on its way.
#[derive(Deserialize, Serialize)]
struct Asked<R> {
    /// The statement that it is for; none: the background's.
    query_id: Option<Uuid>,
    request: R,
}

/// Reads what another node asks for. Beside it there is the span that the work is logged in.
///
/// # Errors
/// What no node of ours has written.
pub(crate) fn asked<R: DeserializeOwned>(bytes: &[u8]) -> Result<(R, Span), serde_json::Error> {
    let Asked { query_id, request } = serde_json::from_slice(bytes)?;
    let span = match query_id {
        Some(query_id) => tracing::info_span!("help", %query_id),
        None => Span::none(),
    };
    Ok((request, span))
}

/// Another node.
pub(crate) struct Helper {
    peers: Arc<dyn Peers>,
    address: String,
    query_id: Option<Uuid>,
}

impl Helper {
    /// The other nodes that take part in queries, for the work of a statement or of the background.
    pub(crate) fn all(engine: &Engine, query_id: Option<Uuid>) -> Vec<Helper> {
        let Some(peers) = engine.queries.peers() else { return Vec::new() };
        let status = engine.group.status();
        let others = status.members.into_iter().filter(|member| member.node != status.node);
        let others = others.map(|member| member.address).filter(|address| engine.fanout.takes_part(address));
        others.map(|address| Helper { peers: Arc::clone(&peers), address, query_id }).collect()
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
        let asked = Asked { query_id: self.query_id, request };
        let bytes = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
        let answer = self.peers.ask(&self.address, question, bytes.into(), timeout).await?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_come_with_their_statement() {
        let files = vec!["a".to_owned(), "b".to_owned()];
        for query_id in [Some(Uuid::from_u128(7)), None] {
            let bytes = serde_json::to_vec(&Asked { query_id, request: &files }).unwrap();
            let read: Asked<Vec<String>> = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((read.query_id, read.request), (query_id, files.clone()));
            assert_eq!(asked::<Vec<String>>(&bytes).unwrap().0, files);
        }
    }
}
