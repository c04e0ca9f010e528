//! What manifests say column by column of a table: values by field id, of many files together.
//!
//! Most files of a manifest have values for the same columns in the same order. Then the ids are kept once, not once a file.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Int32Type;

/// For each file, values by field id. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ByField {
    /// The ids of one file where all have the same, otherwise of one file after the other.
    ids: Arc<[i32]>,
    /// Where the values of each file are; none where all have the same ids.
    offsets: Option<OffsetBuffer<i32>>,
    values: ArrayRef,
}

impl ByField {
    /// Takes lists of pairs of `key` and `value`, as manifests have them for maps; none when nobody has a value. An error is what is
    /// wrong with them.
    pub(super) fn new(lists: &ListArray) -> Result<Option<ByField>, String> {
        let pairs = lists.values().as_struct_opt().ok_or("it has a map that is none")?;
        let ids = pairs.column_by_name("key").and_then(|ids| ids.as_primitive_opt::<Int32Type>());
        let ids = ids.ok_or("it has a map without field ids")?.values();
        let values = pairs.column_by_name("value").ok_or("it has a map without values")?;
        if values.is_empty() {
            return Ok(None);
        }
        let mut values = ArrayRef::clone(values);
        values.shrink_to_fit();
        let offsets = lists.offsets();
        let of_row = |row: &[i32]| &ids[row[0] as usize..row[1] as usize];
        let first = offsets.windows(2).next().map(of_row).unwrap_or_default();
        let same = offsets[0] == 0 && offsets.windows(2).all(|row| of_row(row) == first);
        Ok(Some(match same {
            true => ByField { ids: first.into(), offsets: None, values },
            false => {
                let mut offsets = offsets.clone();
                offsets.shrink_to_fit();
                ByField { ids: ids.iter().copied().collect(), offsets: Some(offsets), values }
            }
        }))
    }

    fn places(&self, row: usize) -> Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => row * self.ids.len()..(row + 1) * self.ids.len(),
        }
    }

    /// The place of the value that a file has for a field.
    pub(super) fn find(&self, row: usize, id: i32) -> Option<usize> {
        let places = self.places(row);
        let ids = if self.offsets.is_some() { self.ids.get(places.clone())? } else { &*self.ids };
        ids.iter().rposition(|known| *known == id).map(|at| places.start + at)
    }

    /// The fields that a file has values for, with the places of these.
    pub(super) fn of(&self, row: usize) -> impl Iterator<Item = (i32, usize)> + '_ {
        let shared = self.offsets.is_none();
        let places = self.places(row);
        let start = places.start;
        places.map(move |place| (self.ids[if shared { place - start } else { place }], place))
    }

    /// The values, at their places.
    pub(super) fn values(&self) -> &ArrayRef {
        &self.values
    }

    pub(super) fn size_bytes(&self) -> usize {
        let offsets = self.offsets.as_ref().map_or(0, |offsets| offsets.inner().inner().capacity());
        self.ids.len() * size_of::<i32>() + offsets + self.values.get_array_memory_size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int32Array, Int64Array, StructArray};
    use arrow::datatypes::{DataType, Field, Fields, Int64Type};

    use super::*;

    fn by_field(rows: &[&[(i32, i64)]]) -> ByField {
        let pairs = || rows.iter().flat_map(|row| row.iter());
        let fields =
            Fields::from(vec![Field::new("key", DataType::Int32, false), Field::new("value", DataType::Int64, false)]);
        let ids = Int32Array::from_iter_values(pairs().map(|(id, _)| *id));
        let values = Int64Array::from_iter_values(pairs().map(|(_, value)| *value));
        let pairs = StructArray::new(fields, vec![Arc::new(ids), Arc::new(values)], None);
        let field = Arc::new(Field::new("item", pairs.data_type().clone(), false));
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.len()));
        ByField::new(&ListArray::new(field, offsets, Arc::new(pairs), None)).unwrap().unwrap()
    }

    #[test]
    fn values_are_found_whether_or_not_all_files_have_the_same_columns() {
        let rows: [&[&[(i32, i64)]]; 2] =
            [&[&[(1, 10), (3, 30)], &[(1, 11), (3, 31)]], &[&[(1, 10), (3, 30)], &[(3, 31)], &[]]];
        for rows in rows {
            let made = by_field(rows);
            assert_eq!(made.offsets.is_none(), rows.len() == 2);
            let values = made.values().as_primitive::<Int64Type>();
            for (row, expected) in rows.iter().enumerate() {
                let of: Vec<_> = made.of(row).map(|(id, place)| (id, values.value(place))).collect();
                assert_eq!(of, *expected);
                for id in [1, 2, 3] {
                    let found = made.find(row, id).map(|place| values.value(place));
                    let wanted = expected.iter().find(|(known, _)| *known == id).map(|(_, value)| *value);
                    assert_eq!(found, wanted);
                }
            }
        }
    }
}
