//! Values against PostgreSQL 15.
//!
//! `golden/*.txt` list inputs with what PostgreSQL makes of them: its text and binary output or its error. They are
//! checked on every run. Where the environment variable `WHARF_TEST_POSTGRES` says how to reach a PostgreSQL 15 (such as
//! `host=127.0.0.1 port=5432 user=postgres`), they are compared with that server too, and random values are tried on
//! both sides. One command takes the answers anew:
//!
//! ```text
//! WHARF_TEST_POSTGRES='host=.. user=..' WHARF_REWRITE_GOLDEN=1 cargo test --release -p wharf-values --test values
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

mod golden;
mod postgres;
mod random;
