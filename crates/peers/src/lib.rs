//! How the nodes of a cluster reach each other: one gRPC port with mutual TLS, and channels to the ports of others.
//!
//! What goes over it is not known here: a service takes bytes and answers bytes, by its name ([`MessageService`]), and any
//! other tonic service can stand beside it on the same port ([`Services::set_routes`]). What always holds:
//! - With an [`Identity`], each side proves by a certificate of the cluster's own authority who it is, in both directions, and a
//!   node whose certificate is missing, foreign or expired is not heard.
//! - Every call has a deadline, and says how it failed: nobody was reached, no answer came in time, or the peer said no
//!   ([`CallError`]). A connection whose other end has silently gone is found within seconds.
//! - Connections, calls at a time and the size of a message are limited.
//! - Calls and streams of data have connections of their own, so that a stalled stream does not hold up a heartbeat.
//!
//! Not here: who the peers are, and whether a call that failed is made again.

mod accept;
mod address;
mod channels;
mod codec;
mod connector;
mod error;
mod identity;
mod options;
mod server;
mod services;
mod stream;

pub use address::split_address;
pub use channels::PeerChannels;
pub use error::CallError;
pub use identity::{Identity, IdentityError, TlsFiles};
pub use options::PeerOptions;
pub use server::{ServeError, serve};
pub use services::{MessageService, Services};
