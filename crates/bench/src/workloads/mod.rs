//! What servers are measured with: TPC-H's tables and queries, and a client that speaks the protocol and little else.
//!
//! Nothing here knows which server it talks to, and nothing is timed here.

pub(crate) mod tpch;
pub(crate) mod wire;
