//! The network of a group of one: there is none, and it says so.
//!
//! A group of one never sends anything, so these errors are seen only by someone who adds a node before there is a transport.

use std::fmt;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory};

use crate::raft_types::{NodeId, TypeConfig};

/// Makes connections that do not connect.
pub(crate) struct NoNetwork;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NoTransport {
    target: NodeId,
}

impl fmt::Display for NoTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} cannot be reached: this version of wharf has groups of one node only", self.target)
    }
}

impl std::error::Error for NoTransport {}

impl RaftNetworkFactory<TypeConfig> for NoNetwork {
    type Network = NoTransport;

    async fn new_client(&mut self, target: NodeId, _node: &BasicNode) -> Self::Network {
        NoTransport { target }
    }
}

type Refused<T, E = openraft::error::Infallible> = Result<T, RPCError<NodeId, BasicNode, RaftError<NodeId, E>>>;

impl NoTransport {
    fn refusal<E: std::error::Error>(&self) -> RPCError<NodeId, BasicNode, RaftError<NodeId, E>> {
        RPCError::Unreachable(Unreachable::new(self))
    }
}

impl RaftNetwork<TypeConfig> for NoTransport {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Refused<AppendEntriesResponse<NodeId>> {
        Err(self.refusal())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Refused<InstallSnapshotResponse<NodeId>, InstallSnapshotError> {
        Err(self.refusal())
    }

    async fn vote(&mut self, _request: VoteRequest<NodeId>, _option: RPCOption) -> Refused<VoteResponse<NodeId>> {
        Err(self.refusal())
    }
}
