//! The formats against what PostgreSQL 15 answered.
#![allow(clippy::unwrap_used)]
