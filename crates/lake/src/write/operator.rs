//! Writing as the top of a plan: rows in, and out of it what their data files are, for whoever commits them.
//!
//! What always holds: all partitions of the input have one writer, so that each node that runs such a plan writes a file, and not one for
//! each of its partitions. A file is its taker's from the moment in which the row that speaks of it is given; one whose row nobody
//! takes is removed. Nothing is given before all rows are written.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::finished::Finished;
use super::{TableWriter, WriteOptions, WrittenFile, handed};
use crate::error::LakeError;
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// How many files a row of the output speaks of at most.
const FILES_PER_ROW: usize = 64;

/// The one column of the output: files as [`written_files`] reads them.
static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("files", DataType::Binary, false)])));

/// Writes its input's rows, at the types of a table's columns and in their order, into data files of the table.
pub struct WriteFilesExec {
    input: Arc<dyn ExecutionPlan>,
    warehouse: Arc<Warehouse>,
    /// Of the state of the table whose schema, layout and properties the files have.
    metadata_location: String,
    properties: Arc<PlanProperties>,
}

/// The operator without its input, on its way.
#[derive(Deserialize, Serialize)]
struct Wire {
    warehouse: String,
    metadata_location: String,
}

impl WriteFilesExec {
    /// For the table that a metadata file of a warehouse describes.
    pub fn new(input: Arc<dyn ExecutionPlan>, warehouse: Arc<Warehouse>, metadata_location: String) -> WriteFilesExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&SCHEMA)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        WriteFilesExec { input, warehouse, metadata_location, properties: Arc::new(properties) }
    }

    /// The operator without its input, as bytes for another node.
    ///
    /// # Errors
    /// None but for a bug.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let wire = Wire { warehouse: self.warehouse.url(), metadata_location: self.metadata_location.clone() };
        serde_json::to_vec(&wire).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator that [`to_bytes`](WriteFilesExec::to_bytes) has written, over an input.
    ///
    /// # Errors
    /// What no node of ours has written, and a table of another warehouse.
    pub fn from_bytes(
        bytes: &[u8],
        input: Arc<dyn ExecutionPlan>,
        warehouse: &Arc<Warehouse>,
    ) -> Result<WriteFilesExec> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        if wire.warehouse != warehouse.url() {
            return internal_err!("files for the warehouse {} on a node of {}", wire.warehouse, warehouse.url());
        }
        Ok(WriteFilesExec::new(input, Arc::clone(warehouse), wire.metadata_location))
    }
}

/// The files that rows of a [`WriteFilesExec`] speak of. They are the caller's to commit or to remove.
///
/// # Errors
/// Rows of another operator, and what no node of ours has written.
pub fn written_files(rows: &RecordBatch) -> Result<Vec<WrittenFile>, LakeError> {
    let column = rows.columns().first().and_then(|column| column.as_binary_opt::<i32>());
    let Some(column) = column else { return Err(LakeError::Batch("they do not speak of files".to_owned())) };
    let mut files = Vec::new();
    for row in 0..column.len() {
        files.extend(handed::from_bytes(column.value(row))?);
    }
    Ok(files)
}

impl fmt::Debug for WriteFilesExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteFilesExec")
            .field("metadata_location", &self.metadata_location)
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for WriteFilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteFilesExec: table={}", self.metadata_location)
    }
}

impl ExecutionPlan for WriteFilesExec {
    fn name(&self) -> &'static str {
        "WriteFilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else { return internal_err!("files are written of one input") };
        Ok(Arc::new(WriteFilesExec::new(input, Arc::clone(&self.warehouse), self.metadata_location.clone())))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("files are written by one partition, not by {partition}");
        }
        let writing = Writing {
            warehouse: Arc::clone(&self.warehouse),
            metadata_location: self.metadata_location.clone(),
            runtime: context.runtime_env(),
        };
        let rows = CoalescePartitionsExec::new(Arc::clone(&self.input)).execute(0, context)?;
        let given = stream::once(writing.write(rows))
            .map_ok(|bundles| stream::iter(bundles.into_iter().map(Bundle::hand_on)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), given)))
    }
}

/// What it takes to write.
struct Writing {
    warehouse: Arc<Warehouse>,
    metadata_location: String,
    runtime: Arc<RuntimeEnv>,
}

impl Writing {
    /// Writes all rows.
    async fn write(self, mut rows: SendableRecordBatchStream) -> Result<Vec<Bundle>> {
        let table = self.warehouse.load(&self.metadata_location).await?;
        let options = WriteOptions { runtime: Some(self.runtime), ..WriteOptions::default() };
        let mut writer = TableWriter::new(&self.warehouse, &table, options);
        while let Some(next) = rows.next().await {
            let written = match next {
                Ok(batch) => writer.write(batch).await.map_err(DataFusionError::from),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                // Whatever has computed the rows ends before the files do, which may take a while.
                drop(rows);
                writer.abort().await;
                return Err(error);
            }
        }
        drop(rows);
        let mut files = writer.finish_unclaimed().await?;
        self.warehouse.plan_has_written(files.len());
        let mut bundles = Vec::with_capacity(files.len().div_ceil(FILES_PER_ROW));
        while !files.is_empty() {
            let bundled = files.drain(..files.len().min(FILES_PER_ROW)).collect();
            bundles.push(Bundle::of(&table, bundled).await?);
        }
        Ok(bundles)
    }
}

/// Files that nobody has heard of yet, and what is going to be said of them.
struct Bundle {
    bytes: Vec<u8>,
    files: Vec<Finished>,
}

impl Bundle {
    /// Of files of one writer, which writes under one partition spec.
    async fn of(table: &LakeTable, files: Vec<Finished>) -> Result<Bundle> {
        let spec_id = files.first().map_or(0, |file| file.file().spec_id);
        let described = files.iter().map(|file| file.file().data_file.clone()).collect();
        let bytes = handed::to_bytes(table, spec_id, described).await?;
        Ok(Bundle { bytes, files })
    }

    /// The row; the files are its taker's.
    fn hand_on(self) -> Result<RecordBatch> {
        let Bundle { bytes, files } = self;
        let column = BinaryArray::from(vec![bytes.as_slice()]);
        let row = RecordBatch::try_new(Arc::clone(&SCHEMA), vec![Arc::new(column)])?;
        files.into_iter().for_each(|file| drop(file.claim()));
        Ok(row)
    }
}
