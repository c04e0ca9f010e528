//! What the log store needs of a database: the one door to sled.
//!
//! Reads see what was written before; nothing is durable before [`LogStorage::flush`] returns, and then everything that was written
//! before is, in order: after a crash a later write is never there without an earlier one. All calls may block.

use std::io;
use std::ops::RangeInclusive;

/// A small record that is kept besides the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SmallRecord {
    /// Whom this node voted for.
    Vote,
    /// The last log id that is known to be committed.
    Committed,
    /// The last log id that was purged.
    Purged,
}

/// A durable, ordered map of log entries, and a few small records.
pub(crate) trait LogStorage: Send + Sync + 'static {
    /// A small record.
    fn read_small(&self, record: SmallRecord) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small record.
    fn write_small(&self, record: SmallRecord, bytes: Vec<u8>) -> io::Result<()>;

    /// The entries with an index in a range, in order.
    fn entries(&self, range: RangeInclusive<u64>) -> io::Result<Vec<(u64, Vec<u8>)>>;

    /// The entry with the highest index.
    fn last_entry(&self) -> io::Result<Option<(u64, Vec<u8>)>>;

    /// Adds entries, all or none.
    fn append(&self, entries: Vec<(u64, Vec<u8>)>) -> io::Result<()>;

    /// Removes the entries with an index in a range.
    fn remove(&self, range: RangeInclusive<u64>) -> io::Result<()>;

    /// Makes everything that was written durable.
    fn flush(&self) -> io::Result<()>;

    /// The bytes it takes on the disk.
    fn size_on_disk(&self) -> io::Result<u64>;
}
