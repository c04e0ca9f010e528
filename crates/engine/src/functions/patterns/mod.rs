//! Pattern matching (chapter 9.7 of PostgreSQL's manual): regular expressions, `SIMILAR TO`, `LIKE`.
//!
//! What always holds: a pattern means what it means to PostgreSQL. `regex` decides who matches it: the `regex` crate where
//! `translate` proves that it takes the same match, `matcher`, which follows PostgreSQL's rules to the letter, otherwise.

mod char_set;
mod functions;
mod like;
mod matcher;
mod regex;
mod syntax;
mod translate;

use super::overload::Declaration;

pub(super) const FUNCTIONS: &[&[Declaration]] = &[functions::FUNCTIONS, like::FUNCTIONS];
