//! Which files of a table can have rows that a filter wants, by the bounds in the manifests.
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

use crate::table::LakeFile;

/// The files that may have rows for which all filters are true; none when that is every file.
pub(super) fn matching(
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
    let keep = evaluate(files, schema, filter, session).unwrap_or_else(|error| {
        tracing::debug!(%error, "files are not pruned");
        None
    })?;
    let kept = files.iter().zip(&keep).filter(|(_, keep)| **keep);
    let kept: Vec<_> = kept.map(|(file, _)| Arc::clone(file)).collect();
    (kept.len() < files.len()).then_some(kept)
}

fn evaluate(
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
        Some(predicate) => predicate.prune(&Files { files, schema }).map(Some),
        None => Ok(None),
    }
}

/// The statistics of files, column by column. Bounds that are not exact are true bounds, so they serve.
pub(super) struct Files<'a> {
    pub(super) files: &'a [Arc<LakeFile>],
    pub(super) schema: &'a SchemaRef,
}

impl Files<'_> {
    fn values(
        &self,
        column: &Column,
        value: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>,
    ) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let unknown = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            let known = value(&file.statistics.column_statistics[index]).get_value();
            known.cloned().unwrap_or_else(|| unknown.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.max_value)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let counts = self.files.iter().map(|file| {
            let nulls = file.statistics.column_statistics[index].null_count.get_value();
            nulls.map(|nulls| *nulls as u64)
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| file.entry.record_count());
        Some(Arc::new(counts.map(Some).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
