//! What an operator may choose about the catalog.
//!
//! What always holds: [`Options::default`] asks for passwords and limits everything. Where the values come from is not known
//! here.

use std::sync::Arc;
use std::time::Duration;

use crate::vouched::OtherNodes;

/// The settings of the catalog.
#[derive(Clone)]
pub struct Options {
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// The database of clients that name no warehouse.
    pub database: String,
    /// How many requests may be worked on at once; the next one is answered 503.
    pub max_requests: usize,
    /// The largest body of a request, in bytes; a larger one is answered 413.
    pub max_body_bytes: usize,
    /// How long a request may take; then it is answered 504.
    pub request_timeout: Duration,
    /// How long a token is good for.
    pub token_lifetime: Duration,
    /// What tokens are signed with: whoever knows it can be anybody. Tokens of another secret are refused unless
    /// another node says that they are its own.
    pub token_secret: [u8; 32],
    /// The other nodes of the cluster, which sign with secrets of their own; none for a node that is alone.
    pub other_nodes: Option<Arc<dyn OtherNodes>>,
}

/// How clients prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By a token, which the role's password is exchanged for.
    Password,
    /// Not at all: a request without a token is of this role, and a token is given to whoever asks.
    Trust {
        /// The role.
        role: String,
    },
}

impl Default for Options {
    fn default() -> Self {
        let mut token_secret = [0; 32];
        getrandom::fill(&mut token_secret).expect("the operating system has randomness");
        Options {
            authentication: Authentication::Password,
            database: "wharf".to_owned(),
            max_requests: 256,
            max_body_bytes: 32 << 20,
            request_timeout: Duration::from_secs(60),
            token_lifetime: Duration::from_secs(3_600),
            token_secret,
            other_nodes: None,
        }
    }
}
