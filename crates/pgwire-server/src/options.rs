//! What an operator may choose about the front end.
//!
//! What always holds: every field has a default that is safe on a network, [`Options::default`] asks for passwords. Where
//! the values come from (file, environment, flags) is not known here.

use std::time::Duration;

use crate::tls::Tls;

/// The settings of the front end.
#[derive(Clone)]
pub struct Options {
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// The certificate and key; `None` refuses TLS.
    pub tls: Option<Tls>,
    /// Refuses clients that do not use TLS.
    pub require_tls: bool,
    /// How many sessions there may be at once; the next client gets `53300`.
    pub max_connections: usize,
    /// How long a client may take from connecting to being authenticated.
    pub authentication_timeout: Duration,
    /// The longest statement, set of parameters or piece of COPY data, in bytes. A longer one is answered with `54000`
    /// and ends the connection.
    pub max_message_bytes: usize,
    /// How many named statements a session may have prepared at once; the next one gets `54000`.
    pub max_prepared_statements: usize,
    /// How many portals a session may have open at once; the next one gets `54000`.
    pub max_portals: usize,
    /// How silent connections are probed; `None` leaves it to the operating system's default, which is not to.
    pub keepalive: Option<Keepalive>,
    /// How long running statements may take to finish after the shutdown began.
    pub drain_timeout: Duration,
    /// What the salts of users who do not exist are made from. It should stay the same over restarts, as real salts do.
    pub mock_authentication_secret: [u8; 32],
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all: whoever connects is who they say.
    Trust,
    /// By password, which is never sent (SCRAM-SHA-256; bound to the channel under TLS when the client can).
    ScramSha256,
}

/// TCP keepalive, so that a client that vanished without a word is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection counts as lost.
    pub count: u32,
}

impl Default for Options {
    fn default() -> Self {
        let mut mock_authentication_secret = [0; 32];
        getrandom::fill(&mut mock_authentication_secret).expect("the operating system has randomness");
        Options {
            authentication: Authentication::ScramSha256,
            tls: None,
            require_tls: false,
            max_connections: 1000,
            authentication_timeout: Duration::from_secs(60),
            max_message_bytes: 64 * 1024 * 1024,
            max_prepared_statements: 10_000,
            max_portals: 1_000,
            keepalive: Some(Keepalive::default()),
            drain_timeout: Duration::from_secs(30),
            mock_authentication_secret,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 6 }
    }
}
