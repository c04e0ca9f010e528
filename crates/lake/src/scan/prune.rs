//! Which files of a table can have rows that a filter wants, by their partitions and by the bounds in the manifests.
//!
//! Pruning may keep too many files, never too few: what cannot be decided is kept.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion_pruning::PruningPredicateBuilder;

use super::partitions::PartitionedColumn;
use crate::table::{LakeFile, LakeTable};

/// The files that may have rows for which all filters are true; none when that is every file.
pub(super) fn matching(
    table: &LakeTable,
    files: &[Arc<LakeFile>],
    schema: &SchemaRef,
    filters: &[Expr],
    session: &dyn Session,
) -> Option<Vec<Arc<LakeFile>>> {
    if files.is_empty() {
        return None;
    }
    let filter = conjunction(filters.iter().cloned())?;
    // A filter that cannot be evaluated here will be evaluated, and fail if it must, over the rows.
    let keep = evaluate(table, files, schema, filter, session).unwrap_or_else(|error| {
        tracing::debug!(%error, "files are not pruned");
        None
    })?;
    let kept = files.iter().zip(&keep).filter(|(_, keep)| **keep);
    let kept: Vec<_> = kept.map(|(file, _)| Arc::clone(file)).collect();
    (kept.len() < files.len()).then_some(kept)
}

fn evaluate(
    table: &LakeTable,
    files: &[Arc<LakeFile>],
    schema: &SchemaRef,
    filter: Expr,
    session: &dyn Session,
) -> Result<Option<Vec<bool>>> {
    let df_schema = DFSchema::try_from(Arc::clone(schema))?;
    let filter = session.create_physical_expr(filter, &df_schema)?;
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .with_max_in_list_size(session.config_options().execution.parquet.max_in_list_size)
        .build(filter);
    match predicate {
        Some(predicate) => predicate.prune(&Files { table: Some(table), files, schema }).map(Some),
        None => Ok(None),
    }
}

/// The statistics of files, column by column. Bounds that are not exact are true bounds, so they serve.
pub(super) struct Files<'a> {
    /// Whose partition specs the files have; none: nothing is to be concluded from partitions.
    pub(super) table: Option<&'a LakeTable>,
    pub(super) files: &'a [Arc<LakeFile>],
    pub(super) schema: &'a SchemaRef,
}

impl Files<'_> {
    fn values(
        &self,
        column: &Column,
        value: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>,
        of_partition: impl Fn(&PartitionedColumn, &LakeFile) -> Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let partitioned = self.partitioned(index);
        let unknown = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            let known = value(&file.statistics.column_statistics[index]).get_value();
            let known = known.cloned().or_else(|| of_partition(partitioned.as_ref()?, file));
            known.unwrap_or_else(|| unknown.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl Files<'_> {
    fn partitioned(&self, index: usize) -> Option<PartitionedColumn> {
        PartitionedColumn::new(self.table?, index)
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.min_value, PartitionedColumn::lower)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.max_value, PartitionedColumn::upper)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let partitioned = self.partitioned(index);
        let counts = self.files.iter().map(|file| {
            let nulls = file.statistics.column_statistics[index].null_count.get_value();
            let of_partition = || match partitioned.as_ref()?.is_null(file)? {
                true => Some(file.entry.record_count()),
                false => Some(0),
            };
            nulls.map(|nulls| *nulls as u64).or_else(of_partition)
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| file.entry.record_count());
        Some(Arc::new(counts.map(Some).collect::<UInt64Array>()))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let partitioned = self.partitioned(self.schema.index_of(column.name()).ok()?)?;
        let wanted = partitioned.wanted(values)?;
        let answer = |file: &Arc<LakeFile>| (!partitioned.may_have(file, &wanted)).then_some(false);
        Some(self.files.iter().map(answer).collect())
    }
}
