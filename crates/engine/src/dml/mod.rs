//! Statements that change rows: INSERT, TRUNCATE, and the write path they share with COPY.

mod append;
pub(crate) mod constants;
pub(crate) mod insert;
pub(crate) mod truncate;
pub(crate) mod write;
