//! The front end over real sockets: wire scripts, authentication, limits, cancelling, shutdown.
//!
//! The engine behind it is a scripted double, except where the scripts are told to speak to another server: see
//! `scripts`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authentication;
mod connections;
mod drivers;
mod scripts;
mod support;
