//! Fan-out: one query on several nodes.
//!
//! A plan that DataFusion has made for one node is divided by `datafusion-distributed` into stages, each a part of the plan that
//! several nodes run over their share of the files or of the rows; this crate brings what that library leaves open. What always holds:
//! - **An answer is the same as on one node.** A plan is divided only after all of it has been written down and read back without a
//!   difference ([`codec`]); a plan that cannot be, or whose meaning depends on being whole ([`eligible`]), stays on one node.
//! - **A node that runs a part knows what the session knows**: time zone and formats, the statement's clock, the functions, the memory
//!   pool that all its queries share, the statement's deadline ([`worker`]).
//! - **An error has the SQLSTATE it would have on one node**, and says which node it comes from only when the node is the matter
//!   ([`travelling`]).
//! - Rows of a join that are mostly of a few keys are spread over all nodes ([`skew`]).
//! - A scan hears from joins on other nodes which of its rows can find a partner ([`filters`]).
//! - A query whose node is lost begins anew on the others, as long as no row of it has left or whoever takes its rows can give them back, and
//!   at last on its own node alone ([`run`]).
//! - So does one a part of which has found too little memory or disk on its node ([`run`]).
//! - Nodes of another format give each other no work ([`format`]), nodes that do not answer get none ([`live`]), and busy ones none of new
//!   queries ([`load`]).
//! - No work outlives its query: what runs a part ends when the stream of its rows is dropped, when the query's node is done or gone ([`service`]), or at the deadline.
//!
//! What nodes give each other to do that is no query uses the same format, settings, expressions ([`carried`]) and errors ([`WrittenError`]).
//!
//! Which nodes there are and how they are reached is given ([`Members`], or [`Cluster`]), and so are the functions and settings ([`Vocabulary`]).
//!
//! Not here: sessions and SQL, membership, sockets and their encryption.

mod anew;
mod carried;
mod channels;
mod cluster;
mod codec;
mod eligible;
mod explain;
mod fanout;
mod filters;
mod format;
mod joins;
mod live;
mod load;
mod losses;
mod parts;
mod planner;
mod routing;
mod run;
mod service;
mod skew;
mod task;
mod travelling;
mod unary;
mod vocabulary;
mod worker;

pub use anew::anew;
pub use cluster::{Channel, Cluster};
pub use eligible::{Distribute, Wanted};
pub use explain::{Ran, lines};
pub use fanout::{Fanout, FanoutOptions, NotSpread, Spread};
pub use live::Members;
pub use parts::{QueryTag, StageRunning};
pub use run::Given;
pub use travelling::WrittenError;
pub use vocabulary::{Vocabulary, WrittenOperator};
