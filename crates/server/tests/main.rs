//! The tests of the binary from outside: how it starts, what transactions leave, and the crate graph it is built from.
#![allow(clippy::unwrap_used)]

mod any_node;
mod architecture;
mod backup;
mod cluster;
mod compaction;
mod copies;
mod counts;
mod divided;
mod hermitage;
mod kept_files;
mod maintenance;
mod operations;
mod queries;
mod reads;
mod start_up;
mod traces;
mod transactions;
mod written_by_nodes;
