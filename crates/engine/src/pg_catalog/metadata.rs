//! Columns of system tables that are in the tables' own metadata files: partitioning, order, properties.
//!
//! What always holds: metadata files are read for a query that wants such a column, only of the tables that its conditions on other
//! columns leave, and not at all where that are too many.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, stream};
use wharf_catalog::Relation;
use wharf_lake::{LakeError, LakeTable, Warehouse};

use super::rows::{Cell, Rows};
use super::tables::Source;

/// How many metadata files are read at the same time.
const CONCURRENT_READS: usize = 16;

/// The columns of a system table that come from metadata files.
#[derive(Clone, Copy)]
pub(super) struct MetadataColumns {
    /// The column with the oid of the table that a row is of.
    pub(super) key: &'static str,
    /// Their names.
    pub(super) names: &'static [&'static str],
    /// Of how many tables they are read; of more than that they stay NULL.
    pub(super) most: usize,
    /// Their values, from the head of a table, or from why it cannot be read.
    pub(super) cells: fn(Result<&LakeTable, &LakeError>) -> Vec<Cell>,
}

/// The table of rows that lack these columns; none when a column cannot be made.
pub(super) fn table(rows: Rows, columns: MetadataColumns, source: &Source<'_>) -> Option<Arc<dyn TableProvider>> {
    let Some(session) = source.session else { return rows.finish() };
    let head = |oid: i64| {
        let relation = source.state.relation_by_oid(u32::try_from(oid).ok()?);
        relation.and_then(Relation::as_table).map(|table| table.metadata_location.clone())
    };
    let heads = rows.integers(columns.key)?.into_iter().map(|oid| oid.and_then(head)).collect();
    let places = columns.names.iter().map(|name| rows.place(name)).collect::<Option<Vec<_>>>()?;
    let batch = rows.batch().ok()?;
    Some(Arc::new(Table { rows, batch, heads, places, columns, warehouse: Arc::clone(&session.warehouse) }))
}

struct Table {
    /// With NULL where metadata files have to be read.
    rows: Rows,
    /// The same.
    batch: RecordBatch,
    /// The metadata file of each row's table.
    heads: Vec<Option<String>>,
    /// Which of the columns are read.
    places: Vec<usize>,
    columns: MetadataColumns,
    warehouse: Arc<Warehouse>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("names", &self.columns.names).finish_non_exhaustive()
    }
}

impl Table {
    /// The rows with everything, as far as the filters leave them.
    async fn filled(&self, session: &dyn Session, filters: &[Expr]) -> Result<RecordBatch> {
        let kept = self.kept(session, filters);
        let wanted = self.heads.iter().enumerate().filter(|(row, _)| kept.get(*row) != Some(&false));
        let wanted: Vec<(usize, String)> = wanted.filter_map(|(row, head)| Some((row, head.clone()?))).collect();
        if wanted.len() > self.columns.most {
            return Ok(self.batch.clone());
        }
        // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
        let reads: Vec<_> = wanted
            .into_iter()
            .map(|(row, head)| {
                let warehouse = Arc::clone(&self.warehouse);
                async move { (row, warehouse.load(&head).await) }
            })
            .collect();
        let mut read = stream::iter(reads).buffered(CONCURRENT_READS);
        let mut rows = self.rows.clone();
        while let Some((row, table)) = read.next().await {
            let cells = (self.columns.cells)(table.as_deref());
            for (place, cell) in self.places.iter().zip(cells) {
                rows.set(row, *place, cell);
            }
        }
        Ok(rows.batch()?)
    }

    /// Of each row whether the filters on other columns leave it. One that cannot be evaluated leaves all: it will be evaluated over the
    /// rows, and fail if it must.
    fn kept(&self, session: &dyn Session, filters: &[Expr]) -> Vec<bool> {
        let mut kept = vec![true; self.batch.num_rows()];
        let is_read = |name: &str| self.columns.names.contains(&name);
        for filter in filters.iter().filter(|filter| !filter.column_refs().iter().any(|column| is_read(&column.name))) {
            match self.evaluate(session, filter) {
                Ok(found) => {
                    let found = found.iter().map(|found| found == Some(true));
                    kept.iter_mut().zip(found).for_each(|(kept, found)| *kept &= found);
                }
                Err(error) => tracing::debug!(%error, "a filter leaves all rows of a system table"),
            }
        }
        kept
    }

    fn evaluate(&self, session: &dyn Session, filter: &Expr) -> Result<BooleanArray> {
        let schema = DFSchema::try_from(self.batch.schema())?;
        let filter = session.create_physical_expr(filter.clone(), &schema)?;
        let found = filter.evaluate(&self.batch)?.into_array(self.batch.num_rows())?;
        let found = found.as_boolean_opt().cloned();
        Ok(found.unwrap_or_else(|| BooleanArray::from(vec![true; self.batch.num_rows()])))
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let is_wanted = |place: &usize| projection.is_none_or(|wanted| wanted.contains(place));
        let batch = match self.places.iter().any(is_wanted) {
            true => self.filled(session, filters).await?,
            false => self.batch.clone(),
        };
        MemTable::try_new(batch.schema(), vec![vec![batch]])?.scan(session, projection, &[], limit).await
    }
}
