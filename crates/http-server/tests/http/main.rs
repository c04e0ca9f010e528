//! The HTTP port over a real engine.
#![allow(clippy::unwrap_used, missing_docs)]

mod health;
mod metrics;
mod port;
mod support;
