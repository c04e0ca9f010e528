//! Keeping tables small and quick: forgetting old snapshots, removing files that nothing refers to, and writing many small files
//! together.
//!
//! What always holds: nothing is removed that a snapshot, a branch, a tag, another table or a reader still refers to; who asks for
//! a removal names the states of tables that count. Removing comes after the catalog has taken the state that does not refer
//! to the files any more, never before.

mod compaction;
mod expire;
mod orphans;
mod references;
mod retention;

pub use compaction::{CompactionGroup, CompactionOptions, plan_compaction};
pub use expire::{Expiry, expire, files_only_of};
pub use orphans::{Removed, find_dropped, find_orphans, remove};
pub(crate) use references::{of_snapshots, of_table};
pub use retention::ExpireOptions;
pub(crate) use retention::surplus;
