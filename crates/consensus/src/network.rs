//! openraft's calls to other nodes, as requests of ours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use serde::de::DeserializeOwned;

use crate::elections::Elections;
use crate::peers::{CallError, Peers};
use crate::raft_types::{Member, NodeId, TypeConfig};
use crate::transport::{Peer, Transport, TransportError};
use crate::wire::{AppendAnswer, Refusal, Request, SnapshotAnswer, VoteAnswer};

/// How long replication waits before it tries a node again that cannot be reached.
const BACKOFF: Duration = Duration::from_millis(200);

/// The transport of a node that was given none: it says so.
pub(crate) struct NoTransport;

#[async_trait]
impl Transport for NoTransport {
    async fn call(&self, _peer: &Peer, _request: Bytes, _timeout: Duration) -> Result<Bytes, TransportError> {
        Err(TransportError::Unreachable("this node was started without a peer port".to_owned()))
    }
}

/// Makes connections for openraft.
pub(crate) struct Network {
    pub(crate) peers: Arc<Peers>,
    pub(crate) elections: Arc<Elections>,
}

/// A connection to one node.
pub(crate) struct Connection {
    peers: Arc<Peers>,
    elections: Arc<Elections>,
    peer: Peer,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Self::Network {
        let (peers, elections) = (Arc::clone(&self.peers), Arc::clone(&self.elections));
        Connection { peers, elections, peer: Peer { id: target, address: node.addr.clone() } }
    }
}

type Answered<T, E = openraft::error::Infallible> = Result<T, RPCError<NodeId, Member, RaftError<NodeId, E>>>;

impl Connection {
    async fn call<T: DeserializeOwned, E: std::error::Error>(
        &self,
        request: Request,
        action: RPCTypes,
        option: &RPCOption,
    ) -> Answered<T, E> {
        let timeout = option.hard_ttl();
        self.peers.call(&self.peer, &request, timeout).await.map_err(|error| match error {
            CallError::Transport(TransportError::Timeout) => {
                let id = self.peers.caller().node;
                RPCError::Timeout(Timeout { action, id, target: self.peer.id, timeout })
            }
            CallError::Transport(TransportError::Unreachable(_)) => RPCError::Unreachable(Unreachable::new(&error)),
            // It will not be otherwise at once.
            CallError::Transport(TransportError::Refused(_)) => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::Refused(Refusal::Unreadable(_)) => RPCError::Network(NetworkError::new(&error)),
            CallError::Refused(_) => RPCError::Unreachable(Unreachable::new(&error)),
        })
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answered<AppendEntriesResponse<NodeId>> {
        self.call::<AppendAnswer, _>(Request::Append(request), RPCTypes::AppendEntries, &option).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answered<InstallSnapshotResponse<NodeId>, InstallSnapshotError> {
        let answer = self.call(Request::Snapshot(request), RPCTypes::InstallSnapshot, &option).await;
        let answer: SnapshotAnswer = answer?;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.peer.id, RaftError::APIError(error))))
    }

    async fn vote(&mut self, request: VoteRequest<NodeId>, option: RPCOption) -> Answered<VoteResponse<NodeId>> {
        let own = request.last_log_id;
        let answer = self.call::<VoteAnswer, _>(Request::Vote(request), RPCTypes::Vote, &option).await?;
        if !answer.vote_granted && answer.last_log_id > own {
            self.elections.is_behind();
        }
        Ok(answer)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
