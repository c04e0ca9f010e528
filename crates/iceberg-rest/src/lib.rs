//! The Iceberg REST catalog: what another engine needs to read and write Wharf's tables, over HTTP.
//!
//! It speaks the catalog API of Apache Iceberg's REST specification
//! (<https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml>) under `/iceberg/v1`: a warehouse and
//! prefix is a database, a namespace a schema. What always holds:
//! - A commit of another engine is the same compare-and-swap behind Raft as one of a SQL session
//!   ([`wharf_engine::external`]); what it has changed the next SQL statement sees.
//! - Who may do what is decided as for SQL: roles prove their password, and what a session could do for the same role is done
//!   through one.
//! - No secret of the server's own leaves it: object stores are reached with credentials the client has, or with short-lived ones
//!   for one table.
//! - Requests at a time, their size and their duration are limited.
//!
//! Not here: the port (`wharf_http_server`), scan planning on the server, and the metadata files themselves, which are the lake's.

mod application;
mod authentication;
mod catalog_config;
mod commits;
mod delegation;
mod error;
mod names;
mod namespaces;
mod options;
mod pages;
mod requests;
mod router;
mod sql;
mod tables;
mod tokens;
mod view_metadata;
mod views;
mod vouched;

pub use options::{Authentication, Options};
pub use router::router;
pub use tokens::Tokens;
pub use vouched::OtherNodes;
