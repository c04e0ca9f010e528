//! Asking a node, for the command line.

use std::time::Duration;

use bytes::Bytes;
use wharf_peers::{CallError, PeerChannels};

use super::{Answer, Request, SERVICE};
use crate::config::Config;
use crate::failure::Failure;
use crate::peers;

/// How long an answer may take: a node that is removed or made the leader has to catch up first.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a node may take to say that it is in a cluster.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the node at an address, by the certificates of the configuration.
///
/// # Errors
/// A node that does not answer, or what it refuses.
pub(crate) async fn ask(config: &Config, address: &str, request: Request) -> Result<Answer, Failure> {
    let bytes = serde_json::to_vec(&request)
        .map_err(|error| Failure::from_error("cannot write the message", &error, "report this"))?;
    read(address, &call(config, address, SERVICE, Bytes::from(bytes)).await?)
}

/// What a service of the node at an address answers, by the certificates of the configuration.
///
/// # Errors
/// A node that does not answer.
pub(crate) async fn call(config: &Config, address: &str, service: &str, message: Bytes) -> Result<Bytes, Failure> {
    let identity = peers::identity(&config.peers)?;
    let channels = PeerChannels::new(identity, config.peers.options(0));
    channels.call(address, service, message, TIMEOUT).await.map_err(|error| {
        let remedy = match &error {
            CallError::Unreachable(_) => {
                "name a node that runs with --at HOST:PORT; if it uses TLS, name a configuration with certificates of its \
                 cluster with --config"
            }
            CallError::Timeout => "ask again, or another node with --at HOST:PORT; what was asked may still be done",
            CallError::Refused(_) => {
                "use a configuration with certificates of the same authority, for the host that is named with --at"
            }
        };
        Failure::from_error(format_args!("node {address}"), &error, remedy)
    })
}

/// Reads an answer.
///
/// # Errors
/// What cannot be read, and what the node refuses.
pub(crate) fn read(address: &str, answer: &[u8]) -> Result<Answer, Failure> {
    let answer = serde_json::from_slice(answer).map_err(|error| {
        Failure::from_error(
            format_args!("cannot read the answer of {address}"),
            &error,
            "use a wharf of the same version as the node's",
        )
    })?;
    match answer {
        Answer::Failed { what, remedy } => Err(Failure::new(what, remedy)),
        answer => Ok(answer),
    }
}

/// Is the node at an address in a cluster already? False, too, when it does not answer within moments.
pub(crate) async fn is_in_one(channels: &PeerChannels, address: &str) -> bool {
    let Ok(bytes) = serde_json::to_vec(&Request::Status) else { return false };
    channels.call(address, SERVICE, Bytes::from(bytes), PROBE_TIMEOUT).await.is_ok()
}
