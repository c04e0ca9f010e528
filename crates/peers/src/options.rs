//! What an operator may choose about the port and the channels.
//!
//! What always holds: [`PeerOptions::default`] limits everything. Where the values come from is not known here.

use std::time::Duration;

/// The limits of the port and of channels to other ports.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// How many connections the port takes at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How many calls may be under way at once: from this node to one peer, where further ones wait within their deadlines; and
    /// to one service of this node, where further ones are refused.
    pub max_calls: usize,
    /// The largest message, in bytes, in either direction; a larger one is refused.
    pub max_message_bytes: usize,
    /// How long making a connection may take, TLS and all.
    pub connect_timeout: Duration,
    /// How often a connection is asked whether its other end is still there.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take; then the connection is closed.
    pub keepalive_timeout: Duration,
    /// How long a connection is used for: then its end is announced, and the next one is made with the certificates of that time.
    pub max_connection_age: Duration,
    /// How long calls that are being answered may take to end after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for PeerOptions {
    fn default() -> Self {
        PeerOptions {
            max_connections: 1_000,
            max_calls: 256,
            max_message_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
            max_connection_age: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
