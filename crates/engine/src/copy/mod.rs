//! The data formats of COPY: text, CSV and PostgreSQL's binary, both ways.
//!
//! What always holds: data may be cut anywhere between chunks; an error says the line, and the column where there is one,
//! as PostgreSQL's context does. Which table the data are of, and when they count, is decided elsewhere.

mod binary;
mod csv;
mod decoder;
mod encoder;
mod options;
mod text;

pub(crate) use decoder::CopyDecoder;
pub(crate) use encoder::CopyEncoder;
pub(crate) use options::{CopyFormat, CopyOptions};
