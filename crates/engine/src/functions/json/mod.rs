//! JSON functions and the functions behind JSON's operators (chapter 9.16 of PostgreSQL's manual).
//!
//! What always holds: `json` is the text it came in, `jsonb` text in one normal form (keys by length and bytes, a space
//! after colon and comma); both are checked where they enter, so a document here is well formed. Access works on the text
//! without building a tree; changes build one. Functions that return sets return an array, which the binder unnests.

mod access;
mod build;
mod change;
mod gather;
mod order;
mod scan;
mod test;
mod value;

pub(crate) use build::RowWriter;
pub(crate) use scan::{Kind, Parts, as_text, kind, string_text};

use super::overload::Declaration;

pub(super) const FUNCTIONS: &[&[Declaration]] =
    &[access::FUNCTIONS, build::FUNCTIONS, change::FUNCTIONS, gather::FUNCTIONS, order::FUNCTIONS, test::FUNCTIONS];
