//! Filters that become known only while a query runs, held against every row of a scan.
//!
//! A hash join that has read one side knows which keys of the other can find a partner. DataFusion hands that down to the scans as
//! a dynamic filter. Its Parquet scan leaves out row groups and pages by it, but looks at
//! single rows only where all filters go into the decoder, which costs more than it gives for most queries. Here the rows of a
//! decoded batch are held against those filters, so that rows which a join far above would drop are not joined, repartitioned and
//! aggregated first. `placement` says for which scans that pays. A filter that keeps most rows is put to rest and tried again now
//! and then.
//!
//! Leaving out a row is always right: whoever has made the filter would drop it. Only filters over plain columns are used: an
//! expression could fail on a row that something between the scan and the join takes out.

mod placement;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{BatchCoalescer, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
pub use placement::PlaceRuntimeFilters;

/// How many rows a filter is tried on before it is judged.
const TRIAL_ROWS: u64 = 16 * 1024;
/// A filter rests when it keeps more than this of the rows that come to it, in percent.
const WORTHWHILE_PERCENT: u64 = 60;
/// A filter that rests is tried on every so many batches.
const RETRY_BATCHES: u64 = 64;

/// Is it the filter of a join on arrays? For the greatest of those DataFusion takes the empty one as soon as there is one, so that rows
/// would be lost: such a filter is not taken.
pub(super) fn is_over_arrays(filter: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let nested = |key: &Arc<dyn PhysicalExpr>| key.data_type(schema).is_ok_and(|data_type| data_type.is_nested());
    filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some() && filter.children().into_iter().any(nested)
}

/// The filters of a scan, over the columns of its table.
#[derive(Clone, Debug, Default)]
pub(super) struct RuntimeFilters {
    /// Those that change while the query runs.
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    /// Those of the query, which are looked at first, since they cost less. Somebody above evaluates them in any case.
    constant: Vec<Arc<dyn PhysicalExpr>>,
    /// Are rows held against them?
    placed: bool,
}

impl RuntimeFilters {
    /// These filters and others.
    pub(super) fn with(&self, filters: &[Arc<dyn PhysicalExpr>]) -> RuntimeFilters {
        let mut all = self.clone();
        for filter in filters {
            let is_dynamic = filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
            if is_dynamic { &mut all.dynamic } else { &mut all.constant }.push(Arc::clone(filter));
        }
        all
    }

    /// The same filters, to be held against rows, if one of them is wanted, by its id.
    pub(super) fn placed(&self, wanted: impl Fn(u64) -> bool) -> Option<RuntimeFilters> {
        let wanted = self.dynamic.iter().filter_map(|filter| filter.expression_id()).any(wanted);
        (wanted && !self.placed).then(|| RuntimeFilters { placed: true, ..self.clone() })
    }

    /// The filters over what one partition of the scan gives out; nothing when there are none. A filter over a column that is
    /// not given out is left to those above.
    pub(super) fn rows(
        &self,
        projection: Option<&ProjectionExprs>,
        batch_rows: usize,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
    ) -> Option<Arc<RowFilters>> {
        if !self.placed {
            return None;
        }
        let given_out = |filter: &Arc<dyn PhysicalExpr>| match projection {
            Some(projection) => projection.project_expr(filter).ok(),
            None => Some(Arc::clone(filter)),
        };
        let of_columns = |filter: &Arc<dyn PhysicalExpr>| {
            filter.children().into_iter().all(|child| child.downcast_ref::<Column>().is_some())
        };
        let dynamic: Vec<_> =
            self.dynamic.iter().filter_map(given_out).filter(of_columns).map(RowFilter::new).collect();
        (!dynamic.is_empty()).then(|| {
            let left_out = MetricBuilder::new(metrics).counter("rows_left_out_by_dynamic_filters", partition);
            let constant = self.constant.iter().filter_map(given_out).collect();
            Arc::new(RowFilters { dynamic, constant, batch_rows: batch_rows.max(1), left_out })
        })
    }
}

/// The filters of one partition of a scan.
#[derive(Debug)]
pub(super) struct RowFilters {
    dynamic: Vec<RowFilter>,
    constant: Vec<Arc<dyn PhysicalExpr>>,
    batch_rows: usize,
    left_out: Count,
}

impl RowFilters {
    /// The rows of a stream that pass; small batches are brought together.
    pub(super) fn apply(
        self: Arc<Self>,
        batches: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let state = Filtering { filters: self, batches: Some(batches), gathered: None };
        stream::unfold(state, |mut state| async move { state.next().await.map(|batch| (batch, state)) }).boxed()
    }

    /// The rows of a batch that pass.
    fn passing(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let mut awake: Vec<&RowFilter> = self.dynamic.iter().filter(|filter| filter.is_awake()).collect();
        if awake.is_empty() {
            return Ok(batch);
        }
        let mut batch = batch;
        for filter in &self.constant {
            batch = match mask(filter, &batch)? {
                Some(mask) => filter_record_batch(&batch, &mask)?,
                None => batch,
            };
        }
        // What leaves the fewest rows comes first.
        awake.sort_by_key(|filter| filter.kept_permille());
        let rows = batch.num_rows();
        for filter in awake {
            if batch.num_rows() == 0 {
                break;
            }
            batch = match filter.mask(&batch)? {
                Some(mask) => filter_record_batch(&batch, &mask)?,
                None => batch,
            };
        }
        self.left_out.add(rows - batch.num_rows());
        Ok(batch)
    }
}

/// Which rows pass a filter, without nulls; nothing when all do.
fn mask(filter: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
    let mask = match filter.evaluate(batch)? {
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => return Ok(None),
        ColumnarValue::Scalar(_) => BooleanArray::from(vec![false; batch.num_rows()]),
        ColumnarValue::Array(mask) => match mask.as_boolean() {
            mask if mask.null_count() > 0 => prep_null_mask_filter(mask),
            mask => mask.clone(),
        },
    };
    Ok((mask.true_count() < mask.len()).then_some(mask))
}

/// A stream that is being filtered.
struct Filtering {
    filters: Arc<RowFilters>,
    /// Nothing after the last batch.
    batches: Option<BoxStream<'static, Result<RecordBatch>>>,
    gathered: Option<BatchCoalescer>,
}

impl Filtering {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(batch) = self.gathered.as_mut().and_then(BatchCoalescer::next_completed_batch) {
                return Some(Ok(batch));
            }
            let batch = match self.batches.as_mut()?.next().await {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.batches = None;
                    let mut gathered = self.gathered.take()?;
                    return match gathered.finish_buffered_batch() {
                        Ok(()) => gathered.next_completed_batch().map(Ok),
                        Err(error) => Some(Err(error.into())),
                    };
                }
            };
            if let Err(error) = self.push(batch) {
                return Some(Err(error));
            }
        }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let gathered = self.gathered.get_or_insert_with(|| {
            let rows = self.filters.batch_rows;
            BatchCoalescer::new(batch.schema(), rows).with_biggest_coalesce_batch_size(Some(rows / 2))
        });
        Ok(gathered.push_batch(self.filters.passing(batch)?)?)
    }
}

/// One filter, and whether it is worth its time.
#[derive(Debug)]
struct RowFilter {
    filter: Arc<dyn PhysicalExpr>,
    /// Of which state of the filter the counts are.
    generation: AtomicU64,
    seen: AtomicU64,
    kept: AtomicU64,
    rested: AtomicU64,
}

impl RowFilter {
    fn new(filter: Arc<dyn PhysicalExpr>) -> RowFilter {
        RowFilter {
            filter,
            generation: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            rested: AtomicU64::new(0),
        }
    }

    /// Should the filter be asked about the next batch? The counts are guesses: a partition is read by one task at a time, and one
    /// that takes over sees them soon enough.
    fn is_awake(&self) -> bool {
        let generation = snapshot_generation(&self.filter);
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            self.seen.store(0, Ordering::Relaxed);
            self.kept.store(0, Ordering::Relaxed);
        }
        if !self.is_resting() {
            return true;
        }
        let retried = self.rested.fetch_add(1, Ordering::Relaxed).is_multiple_of(RETRY_BATCHES);
        if retried {
            // What it does now counts, and nothing before.
            self.seen.store(0, Ordering::Relaxed);
            self.kept.store(0, Ordering::Relaxed);
        }
        retried
    }

    fn is_resting(&self) -> bool {
        let (seen, kept) = (self.seen.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed));
        seen >= TRIAL_ROWS && kept * 100 > seen * WORTHWHILE_PERCENT
    }

    /// How many of a thousand rows it has kept; a filter that was not tried yet keeps all.
    fn kept_permille(&self) -> u64 {
        let (seen, kept) = (self.seen.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed));
        (kept * 1000).checked_div(seen).unwrap_or(1000)
    }

    /// Which rows pass; nothing when all do.
    fn mask(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let mask = mask(&self.filter, batch)?;
        let (seen, kept) = (batch.num_rows(), mask.as_ref().map_or(batch.num_rows(), BooleanArray::true_count));
        self.seen.fetch_add(seen as u64, Ordering::Relaxed);
        self.kept.fetch_add(kept as u64, Ordering::Relaxed);
        Ok(mask)
    }
}
