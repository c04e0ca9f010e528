//! The port for the other nodes, wired: certificates, the port, channels to others, consensus' transport over them,
//! parts of queries, and what clients want of this node that is another's.
//!
//! Always holds: the port opens before the catalog does, since a node that joins or comes back is called by the others before
//! it can answer anything else; it closes after the catalog, which says goodbye to them.

mod cancels;
mod others;
mod tokens;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use wharf_consensus::{Group, Peer, Transport, TransportError};
use wharf_engine::{Engine, Fanout, Members, Question};
use wharf_iceberg_rest::Tokens;
use wharf_peers::{CallError, Identity, MessageService, PeerChannels, ServeError, Services, serve};
use wharf_pgwire_server::CancelRegistry;

use crate::backup;
use crate::cluster;
use crate::config::{Config, PeersConfig};
use crate::failure::Failure;

use others::Others;

/// The service that takes messages of Raft.
const RAFT: &str = "raft";

/// The service that answers a question of another engine. Each has its own, so that calls that take long leave those of the others
/// alone, and a node of a former version refuses what it does not know.
const fn service(question: Question) -> &'static str {
    match question {
        Question::Report => "queries",
        Question::RewriteFiles => "files",
        Question::LoadFiles => "loads",
    }
}

/// The open port.
pub(crate) struct Peers {
    address: String,
    services: Services,
    channels: Arc<PeerChannels>,
    /// Ends the tasks, also when a start fails half way.
    shutdown: DropGuard,
    serving: JoinHandle<Result<(), ServeError>>,
    watching: Option<JoinHandle<()>>,
    /// Finds out which nodes take part in queries.
    nodes: Option<AbortOnDropHandle<()>>,
}

impl Peers {
    /// Opens the port on a listener.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub(crate) fn open(listener: TcpListener, bound: SocketAddr, config: &Config) -> Result<Peers, Failure> {
        let peers = &config.peers;
        let identity = identity(peers)?;
        if identity.is_none() {
            tracing::warn!(address = %bound, "nodes are not asked for certificates: whoever reaches this address can be one");
        }
        let options = peers.options(config.server.shutdown_timeout_ms);
        let (services, shutdown) = (Services::new(&options), CancellationToken::new());
        let channels = PeerChannels::new(identity.clone(), options.clone());
        let watching = identity.clone().map(|identity| {
            let interval = Duration::from_millis(peers.tls_reload_interval_ms);
            tokio::spawn(identity.watch(interval, shutdown.clone()))
        });
        let serving = tokio::spawn(serve(listener, services.clone(), identity, options, shutdown.clone()));
        Ok(Peers {
            address: peers.address(bound),
            services,
            channels,
            shutdown: shutdown.drop_guard(),
            serving,
            watching,
            nodes: None,
        })
    }

    /// Where other nodes reach this one.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Answers for a group from now on.
    pub(crate) fn serve_group(&self, group: &Arc<Group>) {
        self.services.set_messages(RAFT, Arc::new(RaftService(Arc::clone(group))));
        self.services.set_messages(cluster::SERVICE, Arc::new(cluster::Service::new(Arc::clone(group))));
    }

    /// Gives backups of the catalog to those who ask.
    pub(crate) fn serve_backups(&self, engine: &Arc<Engine>) {
        self.services.set_messages(backup::SERVICE, Arc::new(backup::Service::new(Arc::clone(engine))));
    }

    /// From now on queries of this node are divided among the nodes of its group, and parts of theirs run here.
    ///
    /// # Errors
    /// An address that queries cannot name this node by.
    pub(crate) fn serve_fanout(&mut self, fanout: &Arc<Fanout>, group: &Arc<Group>) -> Result<(), Failure> {
        self.services.set_routes(fanout.routes());
        let members = GroupMembers { group: Arc::clone(group), channels: Arc::clone(&self.channels) };
        let watch = fanout.join_members(Arc::new(members), &self.address).map_err(|what| {
            Failure::new(what, "set peers.address to the host name or IP address, and the port, of this node")
        })?;
        self.nodes = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
        Ok(())
    }

    /// Other nodes are asked what they run and to help, and are told what this one does and helped by it.
    pub(crate) fn serve_engine(&self, engine: &Arc<Engine>) {
        for question in Question::ALL {
            let answering = EngineService { engine: Arc::downgrade(engine), question };
            self.services.set_messages(service(question), Arc::new(answering));
        }
        engine.join_peers(Arc::new(EnginesOfPeers(Arc::clone(&self.channels))));
    }

    /// The sessions of this node, for cancel requests: those that fit none are handed on to the other nodes, and what
    /// others hand on is obeyed.
    pub(crate) fn share_cancels(&self, group: &Arc<Group>) -> Arc<CancelRegistry> {
        let hand_on = cancels::HandOn::new(Others::new(group, &self.channels));
        let registry = CancelRegistry::new(Some(Arc::new(hand_on)));
        self.services.set_messages(cancels::SERVICE, Arc::new(cancels::Service(Arc::clone(&registry))));
        registry
    }

    /// From now on the Iceberg catalog takes tokens of the other nodes, and they take those of this one.
    pub(crate) fn share_tokens(&self, catalog: &mut wharf_iceberg_rest::Options, group: &Arc<Group>) {
        let own = Tokens::new(catalog.token_secret);
        self.services.set_messages(tokens::SERVICE, Arc::new(tokens::Service(own)));
        catalog.other_nodes = Some(Arc::new(tokens::Signers(Others::new(group, &self.channels))));
    }

    /// Takes no more parts of queries; those that run go on.
    pub(crate) fn stop_fanout(&self) {
        self.services.set_routes(Routes::default());
    }

    /// The way to other nodes, for consensus.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(RaftTransport(Arc::clone(&self.channels)))
    }

    /// The node whose cluster this one joins, if it is in none yet; none when it is to begin one. Of several contacts, one
    /// that is in a cluster is taken; when there is none, the first of the list begins one, and the others wait for it.
    pub(crate) async fn contact(&self, contacts: &[String]) -> Option<String> {
        let others: Vec<&String> = contacts.iter().filter(|contact| **contact != self.address).collect();
        let asked = others.iter().map(|contact| cluster::is_in_one(&self.channels, contact));
        let answers = futures::future::join_all(asked).await;
        if let Some((contact, _)) = others.iter().zip(answers).find(|(_, is_in_one)| *is_in_one) {
            return Some((*contact).clone());
        }
        let begins = contacts.first().is_none_or(|first| *first == self.address);
        others.first().filter(|_| !begins).map(|contact| (*contact).clone())
    }

    /// Closes the port.
    pub(crate) async fn close(self) {
        let Peers { shutdown, serving, watching, .. } = self;
        drop(shutdown);
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the port for peers ended with an error"),
            Err(error) => tracing::error!(%error, "the port for peers ended abnormally"),
        }
        if let Some(Err(error)) = futures::future::OptionFuture::from(watching).await {
            tracing::error!(%error, "watching the certificates ended abnormally");
        }
    }
}

/// The node's certificates; none when nothing is encrypted.
///
/// # Errors
/// Certificates that cannot be used.
pub(crate) fn identity(config: &PeersConfig) -> Result<Option<Arc<Identity>>, Failure> {
    let Some(files) = config.tls_files() else { return Ok(None) };
    let identity = Identity::load(files).map_err(|error| {
        Failure::from_error(
            "cannot use the certificates of this node",
            &error,
            "correct peers.tls_authority_file, peers.tls_certificate_file and peers.tls_key_file; `wharf cert` makes \
             such files",
        )
    })?;
    Ok(Some(identity))
}

/// The nodes of the catalog's group are those that queries can be divided among.
#[derive(Debug)]
struct GroupMembers {
    group: Arc<Group>,
    channels: Arc<PeerChannels>,
}

impl Members for GroupMembers {
    fn addresses(&self) -> Vec<String> {
        self.group.status().members.into_iter().map(|member| member.address).collect()
    }

    fn channel(&self, address: &str) -> Result<tonic::transport::Channel, String> {
        self.channels.data_channel(address).map_err(|error| error.to_string())
    }
}

/// Consensus' messages come from the port.
struct RaftService(Arc<Group>);

#[async_trait]
impl MessageService for RaftService {
    async fn answer(&self, request: Bytes) -> Bytes {
        self.0.handle(request).await
    }
}

/// Consensus' messages go over the channels.
struct RaftTransport(Arc<PeerChannels>);

#[async_trait]
impl Transport for RaftTransport {
    async fn call(&self, peer: &Peer, request: Bytes, timeout: Duration) -> Result<Bytes, TransportError> {
        let answer = self.0.call(&peer.address, RAFT, request, timeout).await;
        answer.map_err(|error| match error {
            CallError::Unreachable(why) => TransportError::Unreachable(why),
            CallError::Timeout => TransportError::Timeout,
            CallError::Refused(why) => TransportError::Refused(why),
        })
    }
}

/// What others ask the engine of this node.
struct EngineService {
    engine: Weak<Engine>,
    question: Question,
}

#[async_trait]
impl MessageService for EngineService {
    async fn answer(&self, request: Bytes) -> Bytes {
        match self.engine.upgrade() {
            Some(engine) => engine.answer(self.question, &request).await,
            None => Bytes::new(),
        }
    }
}

/// The engines of the other nodes.
struct EnginesOfPeers(Arc<PeerChannels>);

#[async_trait]
impl wharf_engine::Peers for EnginesOfPeers {
    async fn ask(&self, address: &str, question: Question, request: Bytes, timeout: Duration) -> Result<Bytes, String> {
        self.0.call(address, service(question), request, timeout).await.map_err(|error| error.to_string())
    }
}
