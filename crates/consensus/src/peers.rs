//! Calls to other nodes: which version they speak, whether they are of our group, and when they last answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::raft_types::NodeId;
use crate::runtime::{self, Moment};
use crate::transport::{Peer, Transport, TransportError};
use crate::wire::{self, Head, Hello, Refusal, Request};

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Who calls: what every frame says of its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) cluster: Uuid,
    pub(crate) node: NodeId,
    pub(crate) hello: Hello,
}

/// The other nodes, as seen from one.
pub(crate) struct Peers {
    transport: Arc<dyn Transport>,
    caller: Caller,
    /// The version that was agreed on, by address.
    agreed: Mutex<BTreeMap<String, u16>>,
    /// When a node last did what it was asked.
    answered: Mutex<BTreeMap<NodeId, Moment>>,
    /// When a node last asked for something.
    heard: Mutex<BTreeMap<NodeId, Moment>>,
    /// The newest format of the catalog that a node reads, as it last said.
    reads: Mutex<BTreeMap<NodeId, u16>>,
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>, caller: Caller) -> Self {
        let (answered, heard) = (Mutex::default(), Mutex::default());
        Peers { transport, caller, agreed: Mutex::default(), answered, heard, reads: Mutex::default() }
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller
    }

    /// Asks a node.
    ///
    /// # Errors
    /// The transport's, or why the node does not answer; [`Refusal::Version`] when there is no version that both speak.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        peer: &Peer,
        request: &Request,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let deadline = runtime::now() + timeout;
        let version = match self.agreed_with(peer) {
            Some(version) => version,
            None => self.agree(peer, timeout).await?,
        };
        let bytes = wire::encode_request(self.head(version, peer), request);
        let answer = self.transport.call(peer, bytes, runtime::left(deadline)).await?;
        let answer = wire::decode_answer(&answer);
        match &answer {
            // It has become another version since.
            Err(Refusal::Version(_)) => drop(self.agreed.lock().remove(&peer.address)),
            Err(_) => {}
            Ok(_) => drop(self.answered.lock().insert(peer.id, runtime::now())),
        }
        Ok(answer?)
    }

    /// How long ago a node did what it was asked; none when it never did.
    pub(crate) fn last_answer(&self, node: NodeId) -> Option<Duration> {
        self.answered.lock().get(&node).map(|at| runtime::now() - *at)
    }

    /// How long ago a node answered or asked.
    pub(crate) fn last_contact(&self, node: NodeId) -> Option<Duration> {
        let heard = self.heard.lock().get(&node).map(|at| runtime::now() - *at);
        self.last_answer(node).into_iter().chain(heard).min()
    }

    /// A node asks for something.
    pub(crate) fn note_heard(&self, node: NodeId) {
        if node != 0 {
            self.heard.lock().insert(node, runtime::now());
        }
    }

    /// Asks a node what it speaks and reads now: it may be of another build than it was.
    ///
    /// # Errors
    /// The transport's, or why the node does not answer.
    pub(crate) async fn hello(&self, peer: &Peer, timeout: Duration) -> Result<Hello, CallError> {
        let ours = self.caller.hello;
        let hello = wire::encode_request(self.head(ours.versions.oldest, peer), &Request::Hello(ours));
        let answer: Bytes = self.transport.call(peer, hello, timeout).await?;
        let theirs = wire::decode_hello(&answer)?;
        self.note_hello(peer.id, theirs);
        Ok(theirs)
    }

    /// A node has said what it speaks and reads.
    pub(crate) fn note_hello(&self, node: NodeId, hello: Hello) {
        if node != 0 {
            self.reads.lock().insert(node, hello.reads());
        }
    }

    /// The newest format of the catalog that a node reads: as it says now or, when it does not answer, as it last said.
    /// None when it has not said so since this node started.
    pub(crate) async fn reads(&self, peer: &Peer, timeout: Duration) -> Option<u16> {
        match self.hello(peer, timeout).await {
            Ok(hello) => Some(hello.reads()),
            Err(error) => {
                tracing::debug!(node = peer.id, address = peer.address, %error, "hello not answered");
                self.reads.lock().get(&peer.id).copied()
            }
        }
    }

    fn agreed_with(&self, peer: &Peer) -> Option<u16> {
        self.agreed.lock().get(&peer.address).copied()
    }

    /// Finds the version to speak with a node.
    async fn agree(&self, peer: &Peer, timeout: Duration) -> Result<u16, CallError> {
        let ours = self.caller.hello.versions;
        let theirs = self.hello(peer, timeout).await?.versions;
        let Some(version) = ours.common(theirs) else {
            tracing::error!(
                node = peer.id,
                address = peer.address,
                ?ours,
                ?theirs,
                "no version of the peer protocol is spoken by both nodes: upgrade the older one",
            );
            return Err(Refusal::Version(theirs).into());
        };
        self.agreed.lock().insert(peer.address.clone(), version);
        Ok(version)
    }

    fn head(&self, version: u16, peer: &Peer) -> Head {
        Head { version, cluster: self.caller.cluster, from: self.caller.node, to: peer.id }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use async_trait::async_trait;

    use super::*;
    use crate::wire::{ReadIndexAnswer, Versions};

    /// A node that speaks some versions; it answers read indexes with the version that it was asked in.
    struct Node(Mutex<Versions>);

    fn hello(versions: Versions) -> Hello {
        Hello { versions, catalog: Some(versions.newest) }
    }

    #[async_trait]
    impl Transport for Node {
        async fn call(&self, _: &Peer, request: Bytes, _: Duration) -> Result<Bytes, TransportError> {
            let versions = *self.0.lock();
            let (head, request) = wire::decode_request(versions, &request);
            Ok(match request {
                Ok(Request::Hello(_)) => wire::encode_hello(head.version, hello(versions)),
                Ok(_) => wire::encode_answer(head.version, &Some(u64::from(head.version))),
                Err(refusal) => wire::encode_refusal(head.version, &refusal),
            })
        }
    }

    #[tokio::test]
    async fn nodes_speak_the_newest_common_version_or_say_why_not() {
        let versions = |oldest, newest| Versions { oldest, newest };
        let node = Arc::new(Node(Mutex::new(versions(1, 2))));
        let ask = async |peers: &Peers| {
            let peer = Peer { id: 2, address: "there:1".to_owned() };
            peers.call::<ReadIndexAnswer>(&peer, &Request::ReadIndex, Duration::from_secs(1)).await
        };
        let speaks = |versions| {
            let caller = Caller { cluster: Uuid::nil(), node: 1, hello: hello(versions) };
            Peers::new(Arc::clone(&node) as Arc<dyn Transport>, caller)
        };
        let (previous, next, stranger) = (speaks(versions(1, 1)), speaks(versions(2, 3)), speaks(versions(4, 5)));
        assert_eq!(ask(&previous).await.unwrap(), Some(1));
        assert_eq!(ask(&next).await.unwrap(), Some(2));
        let error = ask(&stranger).await.unwrap_err();
        assert_eq!(error.to_string(), "it speaks versions 1 to 2 of the peer protocol");
        assert!(stranger.last_answer(2).is_none() && next.last_answer(2).is_some());
        // The other node is upgraded: once it is refused, then a new version is agreed on.
        *node.0.lock() = versions(3, 4);
        assert!(matches!(ask(&next).await.unwrap_err(), CallError::Refused(Refusal::Version(_))));
        assert_eq!(ask(&next).await.unwrap(), Some(3));
    }

    /// A node that says which formats of the catalog it reads, or says nothing of it, or is away.
    struct Reader(Mutex<Option<Option<u16>>>);

    #[async_trait]
    impl Transport for Reader {
        async fn call(&self, peer: &Peer, _: Bytes, _: Duration) -> Result<Bytes, TransportError> {
            let away = || TransportError::Unreachable(peer.address.clone());
            let catalog = (*self.0.lock()).ok_or_else(away)?;
            Ok(wire::encode_hello(1, Hello { versions: Versions::OURS, catalog }))
        }
    }

    #[tokio::test]
    async fn what_a_node_reads_is_what_it_says_now_or_last_said() {
        let node = Arc::new(Reader(Mutex::new(None)));
        let caller = Caller { cluster: Uuid::nil(), node: 1, hello: Hello::OURS };
        let peers = Peers::new(Arc::clone(&node) as Arc<dyn Transport>, caller);
        let peer = Peer { id: 2, address: "there:1".to_owned() };
        let reads = async || peers.reads(&peer, Duration::from_secs(1)).await;
        assert_eq!(reads().await, None, "it has never said anything");
        *node.0.lock() = Some(Some(2));
        assert_eq!(reads().await, Some(2));
        *node.0.lock() = None;
        assert_eq!(reads().await, Some(2), "it is away");
        // An earlier build is started in its place.
        *node.0.lock() = Some(None);
        assert_eq!(reads().await, Some(1));
    }
}
