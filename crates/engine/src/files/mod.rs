//! Files outside of tables: what statements load from, read in place and write to.
//!
//! What always holds: only superusers name files, within the locations that the configuration allows; credentials come from
//! the statement or the configuration and are never stored or shown. Files outside of tables may change, so no cache stands
//! before them and what is known of them is asked anew by every statement.

pub(crate) mod contents;
pub(crate) mod described;
mod divide;
pub(crate) mod external;
mod for_others;
pub(crate) mod glob;
pub(crate) mod infer;
mod job;
pub(crate) mod load;
pub(crate) mod loaded;
pub(crate) mod options;
pub(crate) mod place;
pub(crate) mod progress;
mod rejects;
mod travelling;
mod units;
pub(crate) mod unload;

pub(crate) use options::FileOptions;
pub(crate) use place::{Place, SourceFile};
