//! Which files of a table can have rows that a filter wants, by their partitions and by the bounds in the manifests.
//!
//! Pruning may keep too many files, never too few: what cannot be decided is kept.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion_pruning::{PruningPredicate, PruningPredicateBuilder};

use super::partitions::PartitionedColumn;
use crate::files::{FileSet, LakeFile};
use crate::table::LakeTable;

/// The files that may have rows for which all filters are true; none when that is every file.
pub(super) fn matching(
    table: &LakeTable,
    set: &FileSet,
    schema: &SchemaRef,
    filters: &[Expr],
    session: &dyn Session,
) -> Option<Vec<Arc<LakeFile>>> {
    let files = &set.files;
    if files.is_empty() {
        return None;
    }
    // A filter that cannot be evaluated here will be evaluated, and fail if it must, over the rows.
    let keep = evaluate(table, set, schema, filters, session).unwrap_or_else(|error| {
        tracing::debug!(%error, "files are not pruned");
        None
    })?;
    let kept = files.iter().zip(&keep).filter(|(_, keep)| **keep);
    let kept: Vec<_> = kept.map(|(file, _)| Arc::clone(file)).collect();
    (kept.len() < files.len()).then_some(kept)
}

fn evaluate(
    table: &LakeTable,
    set: &FileSet,
    schema: &SchemaRef,
    filters: &[Expr],
    session: &dyn Session,
) -> Result<Option<Vec<bool>>> {
    let Some(predicate) = predicate(schema, filters, session)? else { return Ok(None) };
    predicate.prune(&Files { table: Some(table), files: &set.files, schema, bounds: &set.bounds }).map(Some)
}

/// All filters as a question about bounds; none when bounds do not answer it.
///
/// # Errors
/// A filter that cannot be evaluated.
pub(super) fn predicate(
    schema: &SchemaRef,
    filters: &[Expr],
    session: &dyn Session,
) -> Result<Option<Arc<PruningPredicate>>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(None) };
    let df_schema = DFSchema::try_from(Arc::clone(schema))?;
    let filter = session.create_physical_expr(filter, &df_schema)?;
    Ok(PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .with_max_in_list_size(session.config_options().execution.parquet.max_in_list_size)
        .build(filter))
}

/// The statistics of files, column by column. Bounds that are not exact are true bounds, so they serve.
pub(super) struct Files<'a> {
    /// Whose partition specs the files have; none: nothing is to be concluded from partitions.
    pub(super) table: Option<&'a LakeTable>,
    pub(super) files: &'a [Arc<LakeFile>],
    pub(super) schema: &'a SchemaRef,
    /// What is known of these files already.
    pub(super) bounds: &'a Bounds,
}

/// What is known of a number of files, for the columns that filters were about.
#[derive(Default)]
pub(crate) struct Bounds {
    columns: Mutex<HashMap<usize, Arc<ColumnBounds>>>,
    rows: OnceLock<ArrayRef>,
}

/// What is known of a column, file by file.
struct ColumnBounds {
    lower: Option<ArrayRef>,
    upper: Option<ArrayRef>,
    nulls: ArrayRef,
}

impl Files<'_> {
    /// What is known of a column.
    fn column(&self, column: &Column) -> Option<Arc<ColumnBounds>> {
        let index = self.schema.index_of(column.name()).ok()?;
        let known = self.bounds.columns.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        if known.is_some() {
            return known;
        }
        let made = Arc::new(self.bounds_of(index));
        self.bounds.columns.lock().unwrap_or_else(PoisonError::into_inner).insert(index, Arc::clone(&made));
        Some(made)
    }

    fn bounds_of(&self, index: usize) -> ColumnBounds {
        let partitioned = self.partitioned(index);
        let partitioned = partitioned.as_ref();
        let count = self.files.len();
        let (mut lower, mut upper, mut nulls) = (Vec::with_capacity(count), Vec::with_capacity(count), Vec::new());
        let unknown = ScalarValue::try_from(self.schema.field(index).data_type()).ok();
        for file in self.files {
            let statistics = file.column_statistics(index).unwrap_or_else(ColumnStatistics::new_unknown);
            let ColumnStatistics { null_count, min_value, max_value, .. } = statistics;
            let of_partition = || match partitioned?.is_null(file)? {
                true => Some(file.entry.record_count()),
                false => Some(0),
            };
            nulls.push(null_count.get_value().map(|nulls| *nulls as u64).or_else(of_partition));
            if let Some(unknown) = &unknown {
                let least = min_value.get_value().cloned().or_else(|| partitioned?.lower(file));
                lower.push(least.unwrap_or_else(|| unknown.clone()));
                let most = max_value.get_value().cloned().or_else(|| partitioned?.upper(file));
                upper.push(most.unwrap_or_else(|| unknown.clone()));
            }
        }
        ColumnBounds {
            lower: ScalarValue::iter_to_array(lower).ok(),
            upper: ScalarValue::iter_to_array(upper).ok(),
            nulls: Arc::new(UInt64Array::from(nulls)),
        }
    }

    fn partitioned(&self, index: usize) -> Option<PartitionedColumn> {
        PartitionedColumn::new(self.table?, index)
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column)?.lower.clone()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column)?.upper.clone()
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(column)?.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = || -> ArrayRef {
            let counts = self.files.iter().map(|file| file.entry.record_count());
            Arc::new(counts.map(Some).collect::<UInt64Array>())
        };
        Some(Arc::clone(self.bounds.rows.get_or_init(counts)))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let partitioned = self.partitioned(self.schema.index_of(column.name()).ok()?)?;
        let wanted = partitioned.wanted(values)?;
        let answer = |file: &Arc<LakeFile>| (!partitioned.may_have(file, &wanted)).then_some(false);
        Some(self.files.iter().map(answer).collect())
    }
}
