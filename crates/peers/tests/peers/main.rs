//! The port and the channels over real sockets: who is let in, how calls fail, and what is limited.
#![allow(clippy::unwrap_used, missing_docs)]

mod calls;
mod certificates;
mod half_open;
mod limits;
mod reload;
mod support;
