//! `[peers]`: the port for the other nodes of a cluster.
//!
//! Always holds: what the nodes say to each other goes unencrypted only where nobody else can hear it, or where the
//! configuration says so in as many words.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharf_peers::{PeerOptions, TlsFiles, split_address};

use super::{at_least, is_loopback, resolved};
use crate::failure::Failure;

/// `[peers]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PeersConfig {
    pub(crate) enabled: bool,
    pub(crate) listen: String,
    pub(crate) address: String,
    pub(crate) join: String,
    pub(crate) allow_insecure_listen: bool,
    pub(crate) tls_authority_file: PathBuf,
    pub(crate) tls_certificate_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) tls_reload_interval_ms: u64,
    pub(crate) max_connections: usize,
    pub(crate) max_calls: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) keepalive_interval_ms: u64,
    pub(crate) keepalive_timeout_ms: u64,
    pub(crate) max_connection_age_ms: u64,
}

impl Default for PeersConfig {
    fn default() -> Self {
        PeersConfig {
            enabled: false,
            listen: "127.0.0.1:5442".to_owned(),
            address: String::new(),
            join: String::new(),
            allow_insecure_listen: false,
            tls_authority_file: PathBuf::new(),
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_reload_interval_ms: 10_000,
            max_connections: 1_000,
            max_calls: 256,
            max_message_bytes: 64 << 20,
            connect_timeout_ms: 3_000,
            keepalive_interval_ms: 2_000,
            keepalive_timeout_ms: 3_000,
            max_connection_age_ms: 3_600_000,
        }
    }
}

impl PeersConfig {
    /// The address to bind; none when there is to be no port.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn listen_address(&self) -> Result<Option<SocketAddr>, Failure> {
        if self.enabled { resolved("peers.listen", &self.listen).map(Some) } else { Ok(None) }
    }

    /// Where other nodes and this machine's command line reach the port, which listens on `bound`.
    pub(crate) fn address(&self, bound: SocketAddr) -> String {
        if self.address.is_empty() { bound.to_string() } else { self.address.clone() }
    }

    /// The nodes of which one is asked to be let into its cluster, in order.
    pub(crate) fn contacts(&self) -> Vec<String> {
        self.join.split(',').map(str::trim).filter(|contact| !contact.is_empty()).map(str::to_owned).collect()
    }

    /// The certificates, when TLS is configured.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        let unset = self.tls_certificate_file.as_os_str().is_empty();
        (!unset).then(|| TlsFiles {
            authority: self.tls_authority_file.clone(),
            certificate: self.tls_certificate_file.clone(),
            key: self.tls_key_file.clone(),
        })
    }

    /// As the layer takes them.
    pub(crate) fn options(&self, drain_timeout_ms: u64) -> PeerOptions {
        let milliseconds = Duration::from_millis;
        PeerOptions {
            max_connections: self.max_connections,
            max_calls: self.max_calls,
            max_message_bytes: self.max_message_bytes,
            connect_timeout: milliseconds(self.connect_timeout_ms),
            keepalive_interval: milliseconds(self.keepalive_interval_ms),
            keepalive_timeout: milliseconds(self.keepalive_timeout_ms),
            max_connection_age: milliseconds(self.max_connection_age_ms),
            drain_timeout: milliseconds(drain_timeout_ms),
        }
    }

    pub(super) fn validate(&self) -> Result<(), Failure> {
        self.validate_tls()?;
        let contacts = self.contacts();
        let contacts = contacts.iter().map(|contact| ("peers.join", contact));
        for (key, address) in contacts.chain([("peers.address", &self.address)]) {
            if !address.is_empty() && split_address(address).is_none() {
                return Err(Failure::new(
                    format!("{key} = \"{address}\" is not a host and port"),
                    "write it as node1.example.com:5442, 192.0.2.7:5442 or [2001:db8::7]:5442",
                ));
            }
        }
        if !self.join.is_empty() && !self.enabled {
            return Err(Failure::new(
                "peers.join is set and peers.enabled is false",
                "set peers.enabled = true: a node of a cluster has to be reached by the others",
            ));
        }
        if let Some(listen) = self.listen_address()? {
            let secret = is_loopback(listen.ip()) || self.tls_files().is_some();
            if !secret && !self.allow_insecure_listen {
                return Err(Failure::new(
                    format!("refusing to let everybody be a node of the cluster who can reach {listen}, without TLS"),
                    "make certificates with `wharf cert` and set peers.tls_authority_file, peers.tls_certificate_file \
                     and peers.tls_key_file; listen on 127.0.0.1; or set peers.allow_insecure_listen = true if this \
                     network is yours alone",
                ));
            }
            if listen.ip().is_unspecified() && self.address.is_empty() {
                return Err(Failure::new(
                    format!("peers.listen = \"{}\" does not say where the other nodes reach this one", self.listen),
                    "set peers.address to this machine's name or address and port, such as node1.example.com:5442",
                ));
            }
        }
        at_least("peers.tls_reload_interval_ms", self.tls_reload_interval_ms, 100)?;
        at_least("peers.max_connections", self.max_connections as u64, 1)?;
        at_least("peers.max_calls", self.max_calls as u64, 1)?;
        // Pieces of Raft's snapshots and the largest command have to fit.
        at_least("peers.max_message_bytes", self.max_message_bytes as u64, 1 << 20)?;
        at_least("peers.connect_timeout_ms", self.connect_timeout_ms, 1)?;
        at_least("peers.keepalive_interval_ms", self.keepalive_interval_ms, 100)?;
        at_least("peers.keepalive_timeout_ms", self.keepalive_timeout_ms, 100)?;
        at_least("peers.max_connection_age_ms", self.max_connection_age_ms, 1_000)
    }

    /// TLS is whole or not at all.
    fn validate_tls(&self) -> Result<(), Failure> {
        let files = [
            ("peers.tls_authority_file", &self.tls_authority_file),
            ("peers.tls_certificate_file", &self.tls_certificate_file),
            ("peers.tls_key_file", &self.tls_key_file),
        ];
        let is_set = |(_, path): &(&str, &PathBuf)| !path.as_os_str().is_empty();
        let (Some((set, _)), Some((missing, _))) =
            (files.iter().find(|file| is_set(file)), files.iter().find(|file| !is_set(file)))
        else {
            return Ok(());
        };
        Err(Failure::new(
            format!("{set} is set and {missing} is not"),
            format!("set {missing} as well: TLS between nodes needs all three; `wharf cert` makes them"),
        ))
    }
}
