//! Statistics of files that are one of very many, made when they are wanted.
//!
//! DataFusion wants the statistics of all files of a scan in its plan: for a hundred thousand files they are hundreds of megabytes. It uses
//! them twice: to open the most promising files first where rows are wanted in an order, and to not open a file at all
//! that a filter leaves out by then. Both are done here from what the manifests say.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion_datasource::PartitionedFile;

use crate::files::LakeFile;

/// The file with its statistics.
pub(super) fn with_statistics(file: PartitionedFile) -> PartitionedFile {
    match (&file.statistics, of(&file)) {
        (None, Some(lake_file)) => {
            let statistics = lake_file.written_statistics();
            file.with_statistics(statistics)
        }
        _ => file,
    }
}

fn of(file: &PartitionedFile) -> Option<&Arc<LakeFile>> {
    file.extension::<Arc<LakeFile>>()
}

/// An order in which rows are wanted, as far as it is one of files.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadOrder {
    /// The place of the column in the table.
    column: usize,
    descending: bool,
}

impl ReadOrder {
    /// Of the first column that rows are ordered by; none when that is an expression.
    pub(super) fn new(order: &[PhysicalSortExpr], table: &Schema) -> Option<ReadOrder> {
        let first = order.first()?;
        let column = first.expr.downcast_ref::<Column>()?;
        Some(ReadOrder { column: table.index_of(column.name()).ok()?, descending: first.options.descending })
    }

    /// The files in that order, by their lower bounds, those without one at the end. Files that have their statistics with them are left
    /// to DataFusion.
    pub(super) fn of_files(self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        if files.iter().all(|file| file.statistics.is_some() || of(file).is_none()) {
            return files;
        }
        let mut keyed: Vec<_> = files.into_iter().map(|file| (self.lower_bound(&file), file)).collect();
        keyed.sort_by(|(a, _), (b, _)| self.compare(a.as_ref(), b.as_ref()));
        keyed.into_iter().map(|(_, file)| file).collect()
    }

    fn lower_bound(self, file: &PartitionedFile) -> Option<ScalarValue> {
        of(file)?.column_statistics(self.column)?.min_value.get_value().cloned()
    }

    fn compare(self, a: Option<&ScalarValue>, b: Option<&ScalarValue>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => {
                let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                if self.descending { order.reverse() } else { order }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::physical_expr::PhysicalExpr;

    use super::*;
    use crate::files::tests::unread_files;

    #[tokio::test(flavor = "multi_thread")]
    async fn files_of_a_large_scan_get_what_those_of_a_small_one_have() {
        let files = unread_files(40).await;
        let parts = |of| files.iter().flat_map(|file| file.parts(of).unwrap().1).collect::<Vec<_>>();
        let (late, early) = (parts(usize::MAX), parts(1));
        assert!(late.iter().all(|file| file.statistics.is_none()));
        for (late, early) in late.iter().zip(&early) {
            assert!(early.statistics.is_some());
            assert_eq!(with_statistics(late.clone()).statistics, early.statistics);
        }

        let schema = Schema::new(vec![arrow::datatypes::Field::new("a1", arrow::datatypes::DataType::Int64, true)]);
        let by = |expr: Arc<dyn PhysicalExpr>, descending| {
            let options = arrow::compute::SortOptions { descending, nulls_first: false };
            ReadOrder::new(&[PhysicalSortExpr { expr, options }], &schema)
        };
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a1", 7));
        let first = |files: &[PartitionedFile]| {
            let least = |file: &PartitionedFile| {
                with_statistics(file.clone()).statistics.unwrap().column_statistics[0].min_value.get_value().cloned()
            };
            files.iter().take(3).map(least).collect::<Vec<_>>()
        };
        let int = |value: i64| Some(ScalarValue::Int64(Some(value)));
        let mixed: Vec<_> = late.iter().step_by(2).chain(late.iter().skip(1).step_by(2)).cloned().collect();
        let up = by(Arc::clone(&column), false).unwrap().of_files(mixed.clone());
        assert_eq!(first(&up), [int(0), int(1000), int(2000)]);
        let down = by(column, true).unwrap().of_files(mixed);
        assert_eq!(first(&down), [int(39_000), int(38_000), int(37_000)]);
        assert_eq!((up.len(), down.len()), (40, 40));
        assert!(by(datafusion::physical_expr::expressions::lit(1), false).is_none());
    }
}
