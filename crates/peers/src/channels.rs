//! Channels to the ports of other nodes, kept by address.
//!
//! What always holds: a call ends by its deadline, waiting for a place and for a connection included. A channel connects when it
//! is used, and again after it broke; after the node's certificates have changed, the next call makes a new one. How many are
//! kept is limited, and the one that was not used for longest goes first; what runs on it may end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::transport::{Channel, Endpoint};

use crate::address::split_address;
use crate::codec::BytesCodec;
use crate::connector::Connector;
use crate::error::CallError;
use crate::identity::Identity;
use crate::options::PeerOptions;
use crate::server::{CONNECTION_WINDOW_BYTES, FRAME_BYTES, STREAM_WINDOW_BYTES};
use crate::services::MESSAGES;

/// How many channels are kept: more than a cluster has nodes.
const MAX_CHANNELS: usize = 512;

/// What a connection is for. Each has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    /// Calls that are answered soon.
    Calls,
    /// Streams of data, which a slow reader may stop.
    Data,
}

/// A channel, and the calls that are under way on it.
#[derive(Clone)]
struct Kept {
    channel: Channel,
    calls: Arc<Semaphore>,
    generation: u64,
    used: Instant,
}

/// The way to other nodes.
pub struct PeerChannels {
    identity: Option<Arc<Identity>>,
    options: PeerOptions,
    kept: Mutex<HashMap<(String, Lane), Kept>>,
}

impl std::fmt::Debug for PeerChannels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerChannels").field("kept", &self.kept.lock().keys()).finish_non_exhaustive()
    }
}

impl PeerChannels {
    /// No channel yet. Without an identity nothing is encrypted and nobody proves anything.
    pub fn new(identity: Option<Arc<Identity>>, options: PeerOptions) -> Arc<PeerChannels> {
        Arc::new(PeerChannels { identity, options, kept: Mutex::default() })
    }

    /// Sends a message to a service of the node at `address` and waits for its answer.
    ///
    /// # Errors
    /// As [`CallError`] says, `timeout` after the call at the latest.
    pub async fn call(
        &self,
        address: &str,
        service: &str,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let path = PathAndQuery::try_from(format!("{MESSAGES}{service}"))
            .map_err(|_| CallError::Refused(format!("\"{service}\" cannot be the name of a service")))?;
        let limit = self.options.max_message_bytes;
        if request.len() > limit {
            let why = format!("a message of {} bytes is too large, the limit is {limit} bytes", request.len());
            return Err(CallError::Refused(why));
        }
        let Kept { channel, calls, .. } = self.channel(address, Lane::Calls)?;
        let answered = async {
            let _place = calls.acquire().await.map_err(|_| CallError::Unreachable("the node stops".to_owned()))?;
            let mut client = Grpc::new(channel).max_decoding_message_size(limit);
            client.ready().await.map_err(|error| CallError::Unreachable(crate::error::reasons(&error)))?;
            let mut request = Request::new(request);
            // Whoever answers shall not work on what nobody waits for any more.
            request.set_timeout(timeout);
            Ok(client.unary(request, path, BytesCodec).await?.into_inner())
        };
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(CallError::Timeout))
    }

    /// The channel for streams of data of other tonic services of the node at `address`. It is kept here: ask again for each
    /// call instead of keeping it. A connection whose other end is gone ends within seconds; deadlines are the caller's.
    ///
    /// # Errors
    /// [`CallError::Refused`] when `address` is not a host and a port.
    pub fn data_channel(&self, address: &str) -> Result<Channel, CallError> {
        Ok(self.channel(address, Lane::Data)?.channel)
    }

    /// Forgets the channels to all other addresses: those nodes are not in the cluster any more.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.kept.lock().retain(|(address, _), _| keep(address));
    }

    fn channel(&self, address: &str, lane: Lane) -> Result<Kept, CallError> {
        let generation = self.identity.as_ref().map_or(0, |identity| identity.generation());
        let mut kept = self.kept.lock();
        let key = (address.to_owned(), lane);
        if let Some(found) = kept.get_mut(&key).filter(|found| found.generation == generation) {
            found.used = Instant::now();
            return Ok(found.clone());
        }
        if kept.len() >= MAX_CHANNELS && !kept.contains_key(&key) {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        let made = Kept {
            channel: self.make(address)?,
            calls: Arc::new(Semaphore::new(self.options.max_calls)),
            generation,
            used: Instant::now(),
        };
        kept.insert(key, made.clone());
        Ok(made)
    }

    /// A channel that connects when it is used first.
    fn make(&self, address: &str) -> Result<Channel, CallError> {
        let refuse = || CallError::Refused(format!("\"{address}\" is not a host and a port"));
        let (host, port) = split_address(address).ok_or_else(refuse)?;
        let connector = Connector {
            host: host.to_owned(),
            port,
            identity: self.identity.clone(),
            timeout: self.options.connect_timeout,
        };
        // The connector encrypts, so that for tonic there is nothing to be encrypted.
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| refuse())?;
        let endpoint = endpoint
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES);
        let connect = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        });
        Ok(endpoint.connect_with_connector_lazy(connect))
    }
}
