//! Metadata tables: what Iceberg's metadata says of a table, as rows. `t$snapshots` and its kin.
//!
//! Names and meanings of the columns are Iceberg's; types are those of SQL, with maps and structs as json. Planning reads
//! nothing: the manifest list and manifests are read when rows are asked for, one manifest after the other.

mod files;
mod history;
mod manifests;
mod partitions;
mod rows;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use self::rows::Layout;
use crate::error::LakeError;
use crate::table::LakeTable;

/// A metadata table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// All snapshots that the table has.
    Snapshots,
    /// Which snapshot was current from when on.
    History,
    /// Branches and tags.
    Refs,
    /// The manifests of the snapshot.
    Manifests,
    /// The data and delete files of the snapshot.
    Files,
    /// What the snapshot has in each partition.
    Partitions,
}

const NAMES: [(&str, Inspection); 6] = [
    ("snapshots", Inspection::Snapshots),
    ("history", Inspection::History),
    ("refs", Inspection::Refs),
    ("manifests", Inspection::Manifests),
    ("files", Inspection::Files),
    ("partitions", Inspection::Partitions),
];

impl Inspection {
    /// `t$files` is the files of `t`; none when the name is not one of a metadata table.
    pub fn split(name: &str) -> Option<(&str, Inspection)> {
        let (table, suffix) = name.rsplit_once('$')?;
        let known = NAMES.iter().find(|(known, _)| *known == suffix);
        known.filter(|_| !table.is_empty()).map(|(_, inspection)| (table, *inspection))
    }

    fn layout(self) -> Layout {
        match self {
            Inspection::Snapshots => history::snapshots_layout(),
            Inspection::History => history::history_layout(),
            Inspection::Refs => history::refs_layout(),
            Inspection::Manifests => manifests::layout(),
            Inspection::Files => files::layout(),
            Inspection::Partitions => partitions::layout(),
        }
    }
}

/// A metadata table of a state of a table, for DataFusion.
pub fn inspect(table: &Arc<LakeTable>, inspection: Inspection) -> Arc<dyn TableProvider> {
    let layout = inspection.layout();
    Arc::new(MetadataTable { table: Arc::clone(table), inspection, schema: layout.schema() })
}

#[derive(Clone)]
struct MetadataTable {
    table: Arc<LakeTable>,
    inspection: Inspection,
    schema: SchemaRef,
}

impl fmt::Debug for MetadataTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataTable")
            .field("location", &self.table.metadata_location())
            .field("inspection", &self.inspection)
            .finish_non_exhaustive()
    }
}

type Batches = BoxStream<'static, Result<RecordBatch, LakeError>>;

impl MetadataTable {
    fn batches(&self) -> Batches {
        let table = Arc::clone(&self.table);
        let one = |batch: Result<RecordBatch, LakeError>| stream::once(async { batch }).boxed();
        match self.inspection {
            Inspection::Snapshots => one(history::snapshots(&table)),
            Inspection::History => one(history::history(&table)),
            Inspection::Refs => one(history::refs(&table)),
            Inspection::Manifests => stream::once(async move { manifests::rows(&table).await }).boxed(),
            Inspection::Partitions => stream::once(async move { partitions::rows(&table).await }).boxed(),
            Inspection::Files => files::batches(table),
        }
    }
}

#[async_trait]
impl TableProvider for MetadataTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&self.schema);
        let partitions = vec![Arc::new(self.clone()) as Arc<dyn PartitionStream>];
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, projection, [], false, limit)?))
    }
}

impl PartitionStream for MetadataTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches().map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_metadata_tables() {
        assert_eq!(Inspection::split("t$files"), Some(("t", Inspection::Files)));
        assert_eq!(Inspection::split("a$b$refs"), Some(("a$b", Inspection::Refs)));
        assert_eq!(Inspection::split("$files"), None);
        assert_eq!(Inspection::split("t$other"), None);
    }
}
