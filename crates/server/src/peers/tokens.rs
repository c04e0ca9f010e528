//! Tokens of the Iceberg catalog that other nodes have signed.
//!
//! What always holds: a node's secret stays with it; it says of a token whether the signature is its own, and nothing
//! else. Which tokens are asked about, and how often, is the catalog's business.

use std::future::ready;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, pin_mut};
use wharf_iceberg_rest::{OtherNodes, Tokens};
use wharf_peers::MessageService;

use super::others::{Others, message};

/// The name of the service.
pub(super) const SERVICE: &str = "tokens";

/// How long the other nodes may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the other nodes.
pub(super) struct Signers(pub(super) Others);

#[async_trait]
impl OtherNodes for Signers {
    async fn have_signed(&self, token: &str) -> bool {
        let answers = self.0.ask(SERVICE, Bytes::copy_from_slice(token.as_bytes()), TIMEOUT);
        pin_mut!(answers);
        answers.any(ready).await
    }
}

/// Answers them.
pub(super) struct Service(pub(super) Tokens);

#[async_trait]
impl MessageService for Service {
    async fn answer(&self, request: Bytes) -> Bytes {
        message(std::str::from_utf8(&request).is_ok_and(|token| self.0.has_signed(token)))
    }
}
