//! PostgreSQL's values over Arrow: which Arrow type holds which SQL type, how values are written and read as text and
//! in the wire's binary format, and the error that says in PostgreSQL's words what was wrong with one.
//!
//! What always holds: text and binary are what PostgreSQL 15 prints and accepts, byte for byte, or an error with
//! `0A000` says what is refused; a value that was printed reads back as the same value. Reading and writing are
//! column-wise and do not allocate per value. There is no clock, no session and no query engine in this crate: what a
//! session decides (date style, time zone, the time of `now`) comes in a [`TextFormat`].

mod abbreviations;
pub mod binary_in;
pub mod binary_out;
mod calendar;
mod column_builder;
mod columns;
mod decimal;
pub mod encoder;
mod error;
mod format;
mod interval_parts;
mod jsonb;
pub mod mapping;
mod sql_state;
pub mod text_in;
pub mod text_out;
mod time_zone;

pub use binary_out::BinaryEncoder;
pub use column_builder::ColumnBuilder;
pub use error::{ErrorObject, SqlError, SqlState};
pub use format::{ByteaOutput, DateOrder, DateOutput, DateStyle, IntervalStyle, TextFormat};
pub use jsonb::normalize as normalize_jsonb;
pub use mapping::{NumericDisplay, arrow_type, field, sql_type};
pub use text_in::json::validate as validate_json;
pub use text_out::TextEncoder;
pub use time_zone::TimeZone;
