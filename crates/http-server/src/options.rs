//! What an operator may choose about the port.
//!
//! What always holds: [`Options::default`] limits everything. Where the values come from is not known here.

use std::time::Duration;

use crate::tls::Tls;

/// The settings of the port.
#[derive(Clone)]
pub struct Options {
    /// The certificate and key: with them the port speaks HTTPS and nothing else.
    pub tls: Option<Tls>,
    /// How many connections there may be at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a connection may be silent, a request that is worked on included; then it is closed.
    pub silence_timeout: Duration,
    /// How long running requests may take to finish after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            tls: None,
            max_connections: 1_000,
            silence_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
