//! How much of a table's files each column takes, to tell what a scan of some columns reads.
//!
//! Manifests may say it of every file; a few files stand for all, since this is for estimates. What nothing is said of, as Iceberg does of
//! the columns with elements in them, shares what is left of the files.

use std::sync::Arc;

use iceberg::spec::Schema;

use crate::files::LakeFile;

/// So many files stand for all.
const FILES: usize = 64;

/// How much of the files the columns of a table take, in bytes.
#[derive(Debug, Default)]
pub(crate) struct ColumnSizes {
    by_column: Vec<u64>,
    /// The size of the files it is of.
    of: u64,
}

impl ColumnSizes {
    /// Of the first of these files, for the columns of a schema.
    pub(crate) fn of(files: &[Arc<LakeFile>], schema: &Schema) -> ColumnSizes {
        let fields = schema.as_struct().fields();
        let (mut known, mut of) = (vec![None; fields.len()], 0_u64);
        for file in files.iter().take(FILES) {
            of = of.saturating_add(file.entry.file_size_in_bytes());
            for (sum, field) in known.iter_mut().zip(fields) {
                if let Some(size) = file.entry.column_size(field.id) {
                    *sum = Some(sum.unwrap_or(0_u64).saturating_add(size));
                }
            }
        }
        let unknown = known.iter().filter(|size| size.is_none()).count() as u64;
        let rest = of.saturating_sub(known.iter().flatten().fold(0, |sum: u64, size| sum.saturating_add(*size)));
        let share = rest.checked_div(unknown).unwrap_or_default();
        ColumnSizes { by_column: known.into_iter().map(|size| size.unwrap_or(share)).collect(), of }
    }

    /// About how much of so many bytes of files belongs to the columns at these places. Columns that are not the table's are
    /// made, not read.
    pub(crate) fn share(&self, bytes: u64, columns: impl IntoIterator<Item = usize>) -> u64 {
        let sizes = columns.into_iter().filter_map(|column| self.by_column.get(column));
        let wanted: u128 = sizes.map(|size| u128::from(*size)).sum();
        let share = (u128::from(bytes) * wanted).checked_div(self.of.into()).unwrap_or_default();
        u64::try_from(share).unwrap_or(u64::MAX).min(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_reads_the_share_of_its_columns() {
        let sizes = ColumnSizes { by_column: vec![10, 30, 55], of: 100 };
        assert_eq!(sizes.share(1000, [0]), 100);
        assert_eq!(sizes.share(1000, [0, 2]), 650);
        assert_eq!(sizes.share(1000, []), 0);
        assert_eq!(sizes.share(1000, [7]), 0, "the number of a file is in no file");
        assert_eq!(sizes.share(u64::MAX, [1]), u64::MAX / 10 * 3 + 1);
        assert_eq!(ColumnSizes { by_column: vec![u64::MAX], of: 1 }.share(70, [0]), 70, "no more than there is");
        assert_eq!(ColumnSizes::default().share(70, [0]), 0);
    }
}
