//! Filters that joins make for scans on other nodes.
//!
//! On one node a hash join that has read one side tells the scans of the other which keys can still find a partner; DataFusion has
//! put a dynamic filter there for it. Once a plan is divided, the join and the scan are in different stages, and each has a copy of
//! the filter that the other does not see. Here the filter travels:
//! - [`plant`] puts an operator into the first side of each such join, which sees the keys on their way ([`GatherKeysExec`]); after
//!   the plan has been divided, [`settle`] takes out those that are of no use;
//! - each task of the first side tells the keys it has seen to all nodes of the query ([`Exchange`]);
//! - a task whose scans wait for a filter ([`Awaited`]) begins when the keys of all tasks are there, and updates the copy in its scans.
//!
//! What always holds:
//! - The filter keeps every row that the join would: it has all keys of the first side, or more.
//! - Waiting has a limit, and a filter that does not come is none: the query then reads more.

mod exchange;
mod gather;
mod keys;
mod plant;
mod service;

pub(crate) use exchange::{Arrivals, Awaited, Exchange, Filters};
pub(crate) use gather::{GatherKeysExec, Gathered};
pub(crate) use plant::{awaited, plant, planted, settle};
