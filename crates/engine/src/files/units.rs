//! The files of a load, given out in units: some files that one node reads side by side.
//!
//! What always holds: units are large at first and become smaller, so that nodes that are faster take more, and all end at about the
//! same time; and a unit has enough files, where there are, for a node to be busy with all of its processors.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::SourceFile;

/// A unit of more bytes than this has one file.
const MAX_BYTES: u64 = 1 << 30;
/// Files of a unit, at most.
const MAX_FILES: usize = 10_000;
/// Each node is to take about so many units of those that are left.
const UNITS_EACH: u64 = 2;

/// The files that nobody has taken yet.
pub(super) struct Units {
    waiting: Mutex<VecDeque<SourceFile>>,
    takers: usize,
    side_by_side: usize,
}

impl Units {
    /// For so many nodes, which read so many files side by side. For one node all files are one unit.
    pub(super) fn new(files: Vec<SourceFile>, takers: usize, side_by_side: usize) -> Units {
        Units { waiting: Mutex::new(files.into()), takers, side_by_side }
    }

    /// The next unit; none: all are taken.
    pub(super) fn next(&self) -> Option<Vec<SourceFile>> {
        let mut waiting = self.waiting.lock();
        let count = match self.takers {
            0 | 1 => waiting.len(),
            takers => length(waiting.iter().map(|file| file.meta.size), takers, self.side_by_side),
        };
        (count > 0).then(|| waiting.drain(..count).collect())
    }

    /// Nothing is left to be taken.
    pub(super) fn close(&self) {
        self.waiting.lock().clear();
    }

    /// Gives back what was not loaded.
    pub(super) fn put_back(&self, unit: Vec<SourceFile>) {
        self.waiting.lock().extend(unit);
    }
}

/// How many of the files of these sizes are the next unit.
fn length(sizes: impl ExactSizeIterator<Item = u64> + Clone, takers: usize, side_by_side: usize) -> usize {
    let left: u64 = sizes.clone().sum();
    let share = (left / (takers as u64 * UNITS_EACH)).min(MAX_BYTES);
    let least = side_by_side.min(sizes.len().div_ceil(takers));
    let (mut count, mut bytes) = (0, 0);
    for size in sizes.take(MAX_FILES) {
        bytes += size;
        let enough = count >= least && bytes > share;
        if count > 0 && (enough || bytes > MAX_BYTES) {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(sizes: &[u64], takers: usize, side_by_side: usize) -> Vec<usize> {
        let mut left = sizes;
        let mut lengths = Vec::new();
        while !left.is_empty() {
            let next = length(left.iter().copied(), takers, side_by_side);
            lengths.push(next);
            left = &left[next..];
        }
        lengths
    }

    #[test]
    fn units_become_smaller() {
        assert_eq!(lengths(&[1 << 20; 60], 3, 1)[..4], [10, 8, 7, 5]);
        assert!(lengths(&[1 << 20; 60], 3, 1).ends_with(&[1]));
    }

    #[test]
    fn a_node_has_as_many_files_as_it_reads_side_by_side() {
        assert_eq!(lengths(&[1 << 20; 12], 3, 16), [4, 3, 2, 1, 1, 1]);
        assert_eq!(lengths(&[1 << 20; 60], 3, 8)[..5], [10, 8, 8, 8, 8]);
    }

    #[test]
    fn large_files_are_units_by_themselves() {
        assert_eq!(lengths(&[3 << 30, 3 << 30, 1 << 10], 2, 4), [1, 1, 1]);
        assert_eq!(lengths(&[0, 0, 0], 2, 1), [3]);
    }
}
