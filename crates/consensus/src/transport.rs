//! How this crate reaches other nodes: bytes there, bytes back. Who carries them is somebody else's business.
//!
//! Everything that the nodes of a group say to each other is encoded here, with a version (`wire.rs`), and goes through one
//! [`Transport`]; on the other end it is given to `Group::handle`. A transport may lose, delay, repeat and reorder: Raft expects
//! that. It must not change bytes, and must give up at the timeout.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A node that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number in the group; 0 when it is not known yet, as when a node asks to join.
    pub id: u64,
    /// `host:port` of its peer port.
    pub address: String,
}

/// Why there is no answer. The request may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection to the node. Calling again at once would fail as well.
    #[error("node cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("node did not answer in time")]
    Timeout,
    /// The node is there and does not take the call: another protocol, no permission, too much to do.
    #[error("node refused the call: {0}")]
    Refused(String),
}

/// Carries requests between the nodes of a group.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Carries one encoded request of this crate to a node and gives its encoded answer.
    ///
    /// # Errors
    /// As [`TransportError`] says. It returns within about `timeout`.
    async fn call(&self, peer: &Peer, request: Bytes, timeout: Duration) -> Result<Bytes, TransportError>;
}
