//! Whether a history is one that a correct database can have.
//!
//! It knows nothing of the database: it takes what clients were told, and what is there at the end.

mod graph;
mod lists;
mod registers;
mod rows;

pub(super) use lists::check as lists;
pub(super) use registers::{Verdict, check as register};
pub(super) use rows::{Found, check as rows};
