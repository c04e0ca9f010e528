//! The catalog: which databases, roles, schemas, tables and views there are, as pure data.
//!
//! [`State`] is the replicated state machine of Wharf: persistent data, of which a snapshot is a clone in O(1), and
//! [`apply`] is its only way forward. What always holds:
//! - **No I/O, no clock, no randomness**: time and ids arrive inside the command, so that every replica that applies the same
//!   commands has the same state, byte for byte ([`state_hash`]).
//! - A command either applies whole or changes nothing but the memory of its request id.
//! - An oid is never given twice.
//!
//! What a table's data is, how it is read and where it is stored is not known here: a table is a row with the location
//! of its Iceberg metadata. Nor is SQL: names arrive resolved, definitions of views are text.

mod apply;
mod command;
mod constraint;
mod encoding;
mod error;
mod format;
mod model;
mod state;
mod state_hash;
mod types;

pub use apply::apply;
pub use command::{
    Answer, Command, CommentTarget, DroppedRelation, Effect, Envelope, Gone, Notice, RelationName, TableChange,
    ViewText,
};
pub use constraint::{Action, Constraint, Rule};
pub use encoding::{EncodingError, decode_envelope, decode_state, encode_envelope, encode_state};
pub use error::CatalogError;
pub use format::{NEWEST_FORMAT, OLDEST_FORMAT};
pub use model::{
    Column, Database, DroppedTable, ForeignOption, ForeignSource, ForeignTable, ForeignValue, Namespace, Relation,
    RelationKind, Role, Table, View, oids,
};
pub use state::State;
pub use state_hash::state_hash;
pub use types::{ParseTypeError, SqlType};
