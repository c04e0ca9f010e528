//! Statements that change rows: INSERT, UPDATE, DELETE, TRUNCATE, and the write path they share with COPY.

mod append;
pub(crate) mod constants;
pub(crate) mod defaults;
pub(crate) mod delete;
pub(crate) mod insert;
pub(crate) mod rewrite;
pub(crate) mod truncate;
pub(crate) mod update;
pub(crate) mod write;
