//! The engine: SQL sessions over the catalog and the lake, with PostgreSQL's meaning.
//!
//! A [`Session`] takes statements. A query goes from text ([`statement`]) through binding ([`bind`]) to a DataFusion plan
//! and a stream of batches; a write goes the same way and ends in [`dml::write`], a commit in the session's transaction.
//! What always holds:
//! - PostgreSQL is the specification: a difference in meaning is an error with a hint, not another answer.
//! - An error has PostgreSQL's SQLSTATE; the mapping from the layers below is in one place ([`error`]).
//! - Every statement reads one snapshot of the catalog; a commit is one command to it.
//!
//! Not here: the wire protocol, the configuration, the format of tables.

mod aggregates;
mod backup;
mod bind;
mod cast;
mod constraint_text;
mod copy;
mod copy_from;
mod copy_intake;
mod copy_load;
mod copy_to;
mod ddl;
mod distribute;
mod dml;
mod engine;
mod error;
mod explain;
pub mod external;
mod external_turns;
mod files;
mod functions;
mod helpers;
mod layout_text;
mod maintenance;
mod metrics;
mod names;
mod operators;
mod optimize;
mod pg_catalog;
mod places;
mod procedures;
mod queries;
mod scram;
mod search_path;
mod session;
mod settings;
mod statement;
mod syntax;
mod table_functions;
mod table_reader;
mod task_spans;
mod time_zone;
mod unique_names;

pub use backup::{BACKUP_EXTENSION, BACKUP_FOLDER, BackupOptions, backup_name};
pub use copy_from::CopyIn;
pub use engine::{Engine, EngineOptions};
pub use maintenance::MaintenanceOptions;
pub use queries::{Peers, Question};
pub use scram::{matches as password_matches, verifier as scram_verifier};
pub use session::{
    Canceller, CopyOut, Notice, Outcome, Prepared, ResultColumn, RowStream, Session, Startup, TransactionStatus,
};
pub use statement::Statement;
pub use wharf_fanout::{Fanout, FanoutOptions, Members};

/// The places on the way of a commit where a test can make the process fail.
pub const FAILPOINTS: &[&str] = &[];
