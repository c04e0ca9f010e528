//! Rows of data files, to be deleted or seen.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use roaring::RoaringTreemap;

use crate::write::WrittenFile;

/// Rows that a statement deletes, by the data files they are in and their positions there.
#[derive(Clone, Debug, Default)]
pub struct RowDeletes {
    files: BTreeMap<String, RoaringTreemap>,
}

impl RowDeletes {
    /// Adds rows of the data file at a location.
    pub fn add(&mut self, location: &str, rows: &RoaringTreemap) {
        if !rows.is_empty() {
            *self.files.entry(location.to_owned()).or_default() |= rows;
        }
    }

    /// Is there no row in it?
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many rows there are.
    pub fn len(&self) -> u64 {
        self.files.values().map(RoaringTreemap::len).sum()
    }

    /// The rows of each data file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &RoaringTreemap)> {
        self.files.iter()
    }

    /// Are there rows of a data file?
    pub(crate) fn has_file(&self, location: &str) -> bool {
        self.files.contains_key(location)
    }

    /// Are there rows of any of these files?
    pub(crate) fn concern(&self, files: &[WrittenFile]) -> bool {
        files.iter().any(|file| self.has_file(file.location()))
    }

    /// Takes in the rows of another.
    pub(crate) fn extend(&mut self, other: &RowDeletes) {
        other.files.iter().for_each(|(location, rows)| self.add(location, rows));
    }
}

/// Data files that a statement has read and written again: where they are, and what was deleted of each when it was read.
/// Whoever puts other files into their place knows by this whether somebody has deleted more meanwhile.
#[derive(Clone, Debug, Default)]
pub struct RemovedFiles {
    files: HashMap<String, u64>,
}

impl RemovedFiles {
    /// Adds a data file of which these rows were deleted.
    pub(crate) fn add(&mut self, location: String, deleted: Option<&RoaringTreemap>) {
        self.files.insert(location, deleted.map_or(0, fingerprint));
    }

    /// Is there no file in it?
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Is a data file in it?
    pub fn contains(&self, location: &str) -> bool {
        self.files.contains_key(location)
    }

    /// Takes a data file out; whether it was in.
    pub fn remove(&mut self, location: &str) -> bool {
        self.files.remove(location).is_some()
    }

    /// Takes in the files of another.
    pub fn extend(&mut self, other: RemovedFiles) {
        self.files.extend(other.files);
    }

    /// The locations.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether the same rows of a data file are deleted as when it was read.
    pub(crate) fn is_as_seen(&self, location: &str, deleted: Option<&RoaringTreemap>) -> bool {
        self.files.get(location) == Some(&deleted.map_or(0, fingerprint))
    }
}

/// A number that differs, but for chance, between different sets of rows; 0 for none.
fn fingerprint(rows: &RoaringTreemap) -> u64 {
    if rows.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    for position in rows.iter() {
        position.hash(&mut hasher);
    }
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_rows_have_different_fingerprints() {
        let of = |positions: &[u64]| fingerprint(&positions.iter().copied().collect());
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[1, 7]), of(&[7, 1]));
        assert_ne!(of(&[1, 7]), of(&[1, 8]));
    }
}
