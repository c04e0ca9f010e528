//! Whether changed rows are taken out of their files, or marked as deleted where they are.
//!
//! A table may say it by Iceberg's own properties, `write.delete.mode`, `write.update.mode` and `write.merge.mode`: copy-on-write makes
//! writing slower and reading fast; merge-on-read the other way round. Where it says nothing, each file goes the way that costs less in
//! the end (decision 0011). INSERT .. ON CONFLICT goes by the mode of MERGE.

use std::collections::BTreeSet;

use wharf_lake::{LakeTable, TouchedFile};

use super::Command;

/// A file that is no larger is written again whatever changes in it: that takes no longer than writing its deletes, and readers are
/// spared them.
const SMALL_BYTES: u64 = 4 * 1024 * 1024;
/// A file that has lost a larger share of its rows, one in so many, is written again: what readers pay for it grows with each
/// statement, and so does what is stored for nothing.
const LOST_SHARE: u64 = 10;

/// How rows of a table go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The files that have them are written again.
    CopyOnWrite,
    /// Delete files say where they are.
    MergeOnRead,
    /// One or the other, file by file.
    Cheaper,
}

/// What happens to the files that have changed rows, by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// These go, and what is left of them is written again.
    pub(super) rewritten: BTreeSet<i64>,
    /// These stay, and have deletes.
    pub(super) kept: BTreeSet<i64>,
}

impl Mode {
    /// The mode of a statement on a table.
    pub(super) fn of(command: Command, table: &LakeTable) -> Mode {
        let property = match command {
            Command::Delete => "write.delete.mode",
            Command::Update => "write.update.mode",
            Command::Merge | Command::Insert | Command::InsertOrNothing | Command::InsertOrUpdate => "write.merge.mode",
        };
        match table.properties().get(property) {
            Some(mode) if mode.eq_ignore_ascii_case("merge-on-read") => Mode::MergeOnRead,
            Some(mode) if mode.eq_ignore_ascii_case("copy-on-write") => Mode::CopyOnWrite,
            _ => Mode::Cheaper,
        }
    }

    /// Which way each of the files goes.
    pub(super) fn divide(self, files: &[TouchedFile]) -> Ways {
        let (rewritten, kept): (Vec<_>, Vec<_>) = files.iter().partition(|file| match self {
            Mode::CopyOnWrite => true,
            Mode::MergeOnRead => false,
            Mode::Cheaper => {
                let lost = file.deleted.saturating_add(file.touched);
                file.size_bytes <= SMALL_BYTES || lost.saturating_mul(LOST_SHARE) > file.rows
            }
        });
        let numbers = |files: Vec<&TouchedFile>| files.into_iter().map(|file| file.number).collect();
        Ways { rewritten: numbers(rewritten), kept: numbers(kept) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: i64, size_bytes: u64, deleted: u64, touched: u64) -> TouchedFile {
        TouchedFile { number, size_bytes, rows: 1000, deleted, touched }
    }

    #[test]
    fn a_large_file_with_few_changes_stays() {
        let large = SMALL_BYTES + 1;
        let files = [
            file(0, SMALL_BYTES, 0, 1),
            file(1, large, 0, 100),
            file(2, large, 0, 101),
            file(3, large, 90, 11),
            file(4, large, 90, 10),
        ];
        let ways = Mode::Cheaper.divide(&files);
        assert_eq!((ways.rewritten, ways.kept), ([0, 2, 3].into(), [1, 4].into()));
        assert_eq!(Mode::CopyOnWrite.divide(&files).kept, BTreeSet::new());
        assert_eq!(Mode::MergeOnRead.divide(&files).rewritten, BTreeSet::new());
    }
}
