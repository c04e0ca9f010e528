//! The formats of COPY: options, decoders from bytes to columns, encoders from batches to bytes.
//!
//! What always holds: text, CSV and binary are read and written as PostgreSQL 15 does, with its errors, SQLSTATEs and
//! error contexts; JSON's lines hold what `row_to_json` makes of a row; bytes may be cut anywhere. Nothing here reads a table, knows a session or waits: the caller feeds a
//! decoder and takes batches from it, or gives an encoder batches and takes bytes.

mod binary;
mod csv;
mod decoder;
mod encoder;
mod fields;
mod header;
mod json;
mod options;
mod rejects;
mod sample;
mod statement;
mod text;

pub(crate) use decoder::CopyDecoder;
pub(crate) use encoder::CopyEncoder;
pub(crate) use options::{CopyFormat, CopyOptions};
pub(crate) use rejects::{Reject, Rejected, Rejects};
pub(crate) use sample::sample;
pub(crate) use statement::{OptionItem, OptionValue, parse_options, parse_statement};

#[cfg(test)]
mod tests;
