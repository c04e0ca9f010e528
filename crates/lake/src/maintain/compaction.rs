//! Which data files are to be written together: small ones, and those that have lost rows.
//!
//! Files are packed by partition into groups of about the target size, first fit in the order of their sequence numbers, so that rows
//! that were written together stay together. A group is written anew when that leaves clearly fewer files, or when rows of it
//! are deleted. This is Iceberg's strategy `binpack`. Its strategy `sort` takes the same files, in groups that are as large as can be sorted
//! at once, so that the files that a group becomes have ranges that do not overlap.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::LakeFile;
use crate::scan::LakeProvider;
use crate::write::target_file_bytes;

/// A file below this share of the target size, in percent, is small.
const SMALL_PERCENT: u64 = 75;
/// A file above this share of the target size, in percent, is large.
const LARGE_PERCENT: u64 = 180;

/// What a compaction is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionOptions {
    /// The size that files should have, in bytes; none: what the table says.
    pub target_file_bytes: Option<u64>,
    /// With so many files a group is written anew even if they are too small for a whole file of the target size.
    pub min_input_files: usize,
    /// Files that are neither small nor large and have lost no row are written anew, too.
    pub rewrite_all: bool,
    /// The rows of a group are sorted, and it is as large as this, in bytes; none: a group is as large as a file should be.
    pub sorted_bytes: Option<u64>,
}

impl Default for CompactionOptions {
    fn default() -> CompactionOptions {
        CompactionOptions { target_file_bytes: None, min_input_files: 5, rewrite_all: false, sorted_bytes: None }
    }
}

/// Files that become one, or a few when they are large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactionGroup {
    /// Their numbers, for [`LakeProvider::only`].
    pub files: BTreeSet<i64>,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// How many rows they were written with.
    pub rows: u64,
    /// Some of them have lost rows, or are too large.
    due: bool,
}

impl CompactionGroup {
    /// A group that was found before.
    pub fn new(files: BTreeSet<i64>, bytes: u64, rows: u64) -> CompactionGroup {
        CompactionGroup { files, bytes, rows, due: true }
    }
}

/// Finds the groups that are worth it. The provider has to be one that numbers its files.
pub fn plan_compaction(provider: &LakeProvider, options: &CompactionOptions) -> Vec<CompactionGroup> {
    let target = options.target_file_bytes.unwrap_or_else(|| target_file_bytes(provider.table().properties()));
    let mut partitions: BTreeMap<String, Vec<(i64, &LakeFile)>> = BTreeMap::new();
    for (number, file) in (0..).zip(provider.files()) {
        // Only told apart here, so any form of the tuple will do. Files of two specs may meet in a group: the writer finds the
        // partitions of their rows anyway.
        let partition = format!("{:?}", file.entry.partition());
        partitions.entry(partition).or_default().push((number, file));
    }
    let mut groups = Vec::new();
    for mut files in partitions.into_values() {
        files.sort_by_key(|(number, file)| (file.entry.sequence_number(), std::cmp::Reverse(*number)));
        let candidates = files.into_iter().map(|(number, file)| Candidate::new(number, file, target));
        groups.extend(pack(
            candidates.filter(|file| options.rewrite_all || file.is_small || file.due),
            target,
            options,
        ));
    }
    groups
}

/// A file that may be written anew.
struct Candidate {
    number: i64,
    bytes: u64,
    rows: u64,
    is_small: bool,
    due: bool,
}

impl Candidate {
    fn new(number: i64, file: &LakeFile, target_bytes: u64) -> Candidate {
        let bytes = file.entry.file_size_in_bytes();
        let share = |percent: u64| target_bytes / 100 * percent;
        Candidate {
            number,
            bytes,
            rows: file.entry.record_count(),
            is_small: bytes < share(SMALL_PERCENT),
            due: file.deletes.is_some() || bytes > share(LARGE_PERCENT),
        }
    }
}

/// Packs files into groups and leaves out those that are not worth it.
fn pack(
    files: impl Iterator<Item = Candidate>,
    target_bytes: u64,
    options: &CompactionOptions,
) -> Vec<CompactionGroup> {
    let group_bytes = options.sorted_bytes.unwrap_or(target_bytes).max(target_bytes);
    let mut groups: Vec<CompactionGroup> = Vec::new();
    for file in files {
        let fits = groups.iter_mut().find(|group| group.bytes + file.bytes <= group_bytes);
        let group = match fits {
            Some(group) => group,
            None => {
                groups.push(CompactionGroup::default());
                groups.last_mut().expect("a group was just put there")
            }
        };
        group.files.insert(file.number);
        group.bytes += file.bytes;
        group.rows += file.rows;
        group.due |= file.due;
    }
    groups.retain(|group| {
        let full = group.files.len() > 1 && group.bytes >= target_bytes / 100 * SMALL_PERCENT;
        options.rewrite_all || group.due || full || group.files.len() >= options.min_input_files.max(2)
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET_BYTES: u64 = 1000;

    fn packed(sizes: &[u64], options: &CompactionOptions) -> Vec<Vec<i64>> {
        let share = |percent: u64| TARGET_BYTES / 100 * percent;
        let files = (0..).zip(sizes).map(|(number, bytes)| Candidate {
            number,
            bytes: *bytes,
            rows: 1,
            is_small: *bytes < share(SMALL_PERCENT),
            due: *bytes > share(LARGE_PERCENT),
        });
        pack(files, TARGET_BYTES, options).into_iter().map(|group| group.files.into_iter().collect()).collect()
    }

    #[test]
    fn groups_are_about_as_large_as_a_file_should_be() {
        let options = CompactionOptions { min_input_files: 3, ..CompactionOptions::default() };
        assert_eq!(packed(&[400, 500, 300, 300, 200], &options), [vec![0, 1], vec![2, 3, 4]]);
        // Two small files are not worth it, three are.
        assert_eq!(packed(&[10, 20], &options), Vec::<Vec<i64>>::new());
        assert_eq!(packed(&[10, 20, 30], &options), [vec![0, 1, 2]]);
        // A large file is split by writing it anew.
        assert_eq!(packed(&[2000], &options), [vec![0]]);
        let sorted = CompactionOptions { sorted_bytes: Some(5000), ..options.clone() };
        assert_eq!(
            packed(&[400, 500, 300, 300, 200], &sorted),
            [vec![0, 1, 2, 3, 4]],
            "all that can be sorted at once"
        );
        assert_eq!(packed(&[10], &CompactionOptions { rewrite_all: true, ..options }), [vec![0]]);
    }
}
