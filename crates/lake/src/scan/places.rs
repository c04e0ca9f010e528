//! Rows by where they are: files by number, rows by their place in the file.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::BooleanArray;
use roaring::RoaringTreemap;

/// A set of rows of a table.
#[derive(Clone, Debug, Default)]
pub struct RowPlaces {
    files: BTreeMap<i64, RoaringTreemap>,
}

impl RowPlaces {
    /// Adds a row; false when it was there already.
    pub fn insert(&mut self, file: i64, row: i64) -> bool {
        self.files.entry(file).or_default().insert(row.unsigned_abs())
    }

    /// Is no row in it?
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The numbers of the files that have such rows.
    pub fn files(&self) -> BTreeSet<i64> {
        self.files.keys().copied().collect()
    }

    /// The rows of one file.
    pub fn of_file(&self, file: i64) -> Option<&RoaringTreemap> {
        self.files.get(&file)
    }

    /// How many rows of a file are in it.
    pub fn count(&self, file: i64) -> u64 {
        self.files.get(&file).map_or(0, RoaringTreemap::len)
    }

    /// True for each of the rows that is not in the set.
    pub fn others(&self, files: &[i64], rows: &[i64]) -> BooleanArray {
        // Rows of one file stand together.
        let mut last: Option<(i64, Option<&RoaringTreemap>)> = None;
        let others = files.iter().zip(rows).map(|(file, row)| {
            let known = match last {
                Some((number, known)) if number == *file => known,
                _ => {
                    let known = self.files.get(file);
                    last = Some((*file, known));
                    known
                }
            };
            !known.is_some_and(|known| known.contains(row.unsigned_abs()))
        });
        others.collect::<Vec<bool>>().into()
    }

    pub(crate) fn has_file(&self, file: i64) -> bool {
        self.files.contains_key(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_those_that_were_not_added() {
        let mut places = RowPlaces::default();
        assert!(places.insert(3, 7));
        assert!(!places.insert(3, 7));
        assert!(places.insert(4, 0));
        let others = places.others(&[3, 3, 4, 4, 5], &[7, 8, 0, 7, 7]);
        assert_eq!(others.values().iter().collect::<Vec<_>>(), [false, true, false, true, true]);
        assert_eq!(places.count(3), 1);
        assert_eq!(places.files(), BTreeSet::from([3, 4]));
    }
}
