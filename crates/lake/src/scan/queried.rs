//! A table as queries read it: which manifests are read is known once a scan has its filters.
//!
//! What always holds: the rows are those of [`LakeProvider`] over all files of the table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::{LakeProvider, summaries};
use crate::error::LakeError;
use crate::files::FileSet;
use crate::table::LakeTable;

/// A state of a table that queries read.
pub struct QueriedTable(Arc<LakeTable>);

impl std::fmt::Debug for QueriedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("QueriedTable").field(&self.0.metadata_location()).finish()
    }
}

impl QueriedTable {
    pub(crate) fn new(table: Arc<LakeTable>) -> QueriedTable {
        QueriedTable(table)
    }

    /// The table behind this.
    pub fn table(&self) -> &Arc<LakeTable> {
        &self.0
    }

    /// The files among which a scan chooses.
    async fn files(
        &self,
        session: &dyn Session,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<FileSet>, LakeError> {
        let table = &self.0;
        if let Some(files) = table.loaded_files() {
            return Ok(Arc::clone(files));
        }
        let manifests = table.manifests().await?;
        let wanted = match limit {
            Some(limit) if filters.is_empty() => summaries::enough(manifests, limit as u64),
            _ => summaries::matching(table, manifests, filters, session),
        };
        match wanted {
            Some(wanted) => table.files_of(&wanted).await,
            None => table.files().await,
        }
    }
}

#[async_trait]
impl TableProvider for QueriedTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files(session, filters, limit).await?;
        LakeProvider::new(Arc::clone(&self.0), files).scan(session, projection, filters, limit).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
