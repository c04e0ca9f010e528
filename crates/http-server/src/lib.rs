//! The HTTP port: the Iceberg REST catalog, and what those who operate a node ask it.
//!
//! | path | answer |
//! | --- | --- |
//! | `/iceberg/..` | the catalog, see `wharf_iceberg_rest` |
//! | `/health/live` | 200 as long as the process answers |
//! | `/health/ready` | 200 when statements can run: the catalog answers and the object store is reached; else 503 |
//! | `/metrics` | what is counted, in Prometheus' text format |
//!
//! What always holds: connections are limited, and silent ones end. Health and metrics are told to whoever reaches the port, so
//! they name no role, no table and no value; they are answered even when the catalog has as many requests as it takes.

mod connection;
mod health;
mod listener;
mod metrics;
mod options;
mod router;
mod serve;
mod tls;

pub use options::Options;
pub use router::router;
pub use serve::serve;
pub use tls::{Tls, TlsError};
