//! The catalog's handlers over a real engine, request by request.
#![allow(clippy::unwrap_used)]

mod authentication;
mod commits;
mod namespaces;
mod support;
mod tables;
mod views;
