//! The PostgreSQL protocol in front of an engine: startup, authentication, the simple and the extended query protocol,
//! COPY, cancelling.
//!
//! What always holds:
//! - This is the only crate that knows the messages of the wire. It knows no SQL: every text goes to the engine
//!   ([`backend`]), every value through `wharf_values`.
//! - Whatever bytes a client sends, they end in an answer, an error or a closed connection, and take no more memory than
//!   [`Options`] allow. The modules that read bytes (`frame`, `decode`, `startup_packet`, `scram`) know neither sockets
//!   nor sessions and are fuzzed alone (`fuzz/`).
//! - A connection is one task; nothing is spawned for a statement; what is sent for a pipeline is sent in one write.
//!
//! The life of a connection: `listener` accepts → `startup` encrypts and reads who it is → `authentication` →
//! `protocol` answers messages, the simple ones in `simple`, the extended ones in `extended` with their `portal`s, COPY in
//! `copy`; rows are written by `encode`. Messages come in through `wire`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authentication;
pub mod backend;
mod cancel;
mod copy;
mod decode;
mod encode;
mod error;
mod extended;
mod frame;
mod limits;
mod listener;
mod options;
mod portal;
mod protocol;
mod scram;
mod session_adapter;
mod simple;
mod socket;
mod startup;
mod startup_packet;
mod tls;
mod wire;

#[cfg(test)]
mod decoder_fuzz;
#[cfg(test)]
#[path = "../fuzz/harness.rs"]
mod harness;

pub use cancel::{CancelElsewhere, CancelRegistry};
pub use listener::serve;
pub use options::{Authentication, Keepalive, Options};
pub use tls::{Tls, TlsError};
