//! Cancel requests for sessions of other nodes: each comes on a connection of its own, which a load balancer brings to
//! whatever node.
//!
//! What always holds: a request is handed on by the node that the client has connected to, and no further. How many are
//! under way at a time is limited, and each is given up in time. The secret is in no line of the log. The client waits
//! for all nodes and is told nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, pin_mut};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wharf_peers::MessageService;
use wharf_pgwire_server::{CancelElsewhere, CancelRegistry};

use super::others::{Others, message};

/// The name of the service.
pub(super) const SERVICE: &str = "cancels";

/// How many requests are handed on at a time. Further ones wait as long as the other nodes may take, and are dropped then.
const AT_ONCE: usize = 32;

/// How long the other nodes may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What another node is asked. It has a secret, so it is not to be printed.
#[derive(Serialize, Deserialize)]
struct Request {
    process: i32,
    key: Vec<u8>,
}

/// Hands requests on to the other nodes.
pub(super) struct HandOn {
    others: Others,
    places: Semaphore,
}

impl HandOn {
    pub(super) fn new(others: Others) -> HandOn {
        HandOn { others, places: Semaphore::new(AT_ONCE) }
    }
}

#[async_trait]
impl CancelElsewhere for HandOn {
    async fn cancel(&self, process: i32, key: Vec<u8>) {
        let Ok(Ok(_place)) = tokio::time::timeout(TIMEOUT, self.places.acquire()).await else {
            tracing::warn!(process, "a cancel request is dropped: too many are handed on to other nodes");
            return;
        };
        // Plain numbers can be written.
        let request = Bytes::from(serde_json::to_vec(&Request { process, key }).unwrap_or_default());
        let answers = self.others.ask(SERVICE, request, TIMEOUT);
        pin_mut!(answers);
        // How long this takes says nothing of which node it was.
        let found = answers.fold(false, async |found, answer| found | answer).await;
        if !found {
            tracing::info!(process, "cancel request for no session of the cluster, or with the wrong key");
        }
    }
}

/// Obeys requests that came to other nodes.
pub(super) struct Service(pub(super) Arc<CancelRegistry>);

#[async_trait]
impl MessageService for Service {
    async fn answer(&self, request: Bytes) -> Bytes {
        let request = serde_json::from_slice::<Request>(&request);
        message(request.is_ok_and(|Request { process, key }| self.0.cancel(process, &key)))
    }
}
