//! External tables: files that queries read where they are.
//!
//! What always holds: which files there are is asked anew by every query; the rows are those that COPY would load, because
//! COPY's readers read them: DataFusion's for Parquet, which prunes by the statistics in the files, and COPY's own for CSV,
//! text and JSON, since no other reads PostgreSQL's values. Nothing is remembered of the files, and nothing written.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::ViewTable;
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use wharf_catalog::{Column, ForeignOption, ForeignTable, ForeignValue, SqlType};
use wharf_values::{SqlError, TextFormat, mapping};

use super::described::Described;
use super::job::{Absent, parquet_plan};
use super::progress::Progress;
use super::{FileOptions, SourceFile, contents};
use crate::bind::BindContext;
use crate::bind::planner::with_column_names;
use crate::cast::as_stored;
use crate::copy::{CopyDecoder, CopyFormat, CopyOptions, OptionItem, OptionValue};
use crate::engine::Engine;
use crate::error::{from_datafusion, to_datafusion};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// An external table as queries read it.
///
/// # Errors
/// `58P01` when there are no files, `42501` for a location that the configuration does not allow, and what the files are
/// refused with.
pub(crate) async fn provider(
    table: &ForeignTable,
    context: &BindContext,
    engine: &Engine,
) -> Result<Arc<dyn TableProvider>, SqlError> {
    let items: Vec<OptionItem> = table.source.options.iter().map(item).collect();
    let described = Described::find(engine, &table.source.locations, &items, false).await?;
    if described.options.format == CopyFormat::Parquet {
        let columns: Vec<&Column> = table.columns.iter().collect();
        let plan = parquet_plan(engine, described.files, &columns, Absent::Refused, context).await?;
        let plan = with_column_names(plan, &table.columns)?;
        return Ok(Arc::new(ViewTable::new(plan, None)));
    }
    let Described { files, options, file_options, .. } = described;
    let fields = table.columns.iter().map(|column| mapping::field(&column.name, &column.ty, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let reading = Arc::new(Reading {
        table: table.name.clone(),
        columns: table.columns.iter().map(|column| (column.name.clone(), column.ty.clone(), true)).collect(),
        schema: Arc::clone(&schema),
        options,
        file_options,
        format: context.format.clone(),
    });
    // What is wrong with the options is wrong with the table, whether there are rows or not.
    reading.decoder()?;
    let count = context.session.config().target_partitions().clamp(1, files.len().max(1));
    let mut shares = vec![VecDeque::new(); count];
    for (index, file) in files.into_iter().enumerate() {
        shares[index % count].push_back(file);
    }
    let share = |files| Arc::new(Share { reading: Arc::clone(&reading), files }) as Arc<dyn PartitionStream>;
    let table = StreamingTable::try_new(schema, shares.into_iter().map(share).collect());
    Ok(Arc::new(table.map_err(from_datafusion)?))
}

/// An option as the catalog has it.
pub(crate) fn option(item: &OptionItem) -> ForeignOption {
    let value = match &item.value {
        OptionValue::None => ForeignValue::None,
        OptionValue::Text(text) => ForeignValue::Text(text.clone()),
        OptionValue::List(names) => ForeignValue::List(names.clone()),
        OptionValue::Star => ForeignValue::All,
    };
    ForeignOption { name: item.name.clone(), value }
}

fn item(option: &ForeignOption) -> OptionItem {
    let value = match &option.value {
        ForeignValue::None => OptionValue::None,
        ForeignValue::Text(text) => OptionValue::Text(text.clone()),
        ForeignValue::List(names) => OptionValue::List(names.clone()),
        ForeignValue::All => OptionValue::Star,
    };
    OptionItem { name: option.name.clone(), value }
}

/// How the files of a table are read.
#[derive(Debug)]
struct Reading {
    table: String,
    columns: Vec<(String, SqlType, bool)>,
    schema: SchemaRef,
    options: CopyOptions,
    file_options: FileOptions,
    format: TextFormat,
}

impl Reading {
    fn decoder(&self) -> Result<CopyDecoder, SqlError> {
        CopyDecoder::new(&self.options, &self.table, self.columns.clone(), &self.format, BATCH_ROWS)
    }

    /// A batch of all columns of the table. Those that a header does not name are NULL.
    fn batch(&self, places: Option<&Arc<[usize]>>, columns: Vec<ArrayRef>) -> Result<RecordBatch, SqlError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (index, field) in self.schema.fields().iter().enumerate() {
            let found = match places {
                None => columns.get(index),
                Some(places) => places.iter().position(|place| *place == index).and_then(|at| columns.get(at)),
            };
            arrays.push(match found {
                Some(column) => as_stored(column, field.data_type())?,
                None => new_null_array(field.data_type(), rows),
            });
        }
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| SqlError::internal(error.to_string()))
    }
}

/// The files that one stream reads, one after the other.
#[derive(Debug)]
struct Share {
    reading: Arc<Reading>,
    files: VecDeque<SourceFile>,
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        &self.reading.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let state = Scan { reading: Arc::clone(&self.reading), files: self.files.clone(), open: None };
        let batches = stream::try_unfold(state, |mut state| async move {
            let next = state.next().await?;
            Ok::<_, datafusion::error::DataFusionError>(next.map(|batch| (batch, state)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.reading.schema), batches))
    }
}

/// Files being read.
struct Scan {
    reading: Arc<Reading>,
    files: VecDeque<SourceFile>,
    open: Option<Open>,
}

/// A file being read.
struct Open {
    name: Arc<str>,
    chunks: BoxStream<'static, Result<Bytes, SqlError>>,
    decoder: CopyDecoder,
    ended: bool,
}

impl Scan {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                let open = Open::new(&file, &self.reading).await;
                self.open = Some(open.map_err(to_datafusion)?);
                continue;
            };
            if let Some(columns) = open.decoder.next_batch() {
                let batch = self.reading.batch(open.decoder.places(), columns);
                return batch.map(Some).map_err(to_datafusion);
            }
            if open.ended {
                self.open = None;
                continue;
            }
            let read = open.read().await;
            read.map_err(|error| to_datafusion(error.with_context(format!("file \"{}\"", open.name))))?;
        }
    }
}

impl Open {
    async fn new(file: &SourceFile, reading: &Reading) -> Result<Open, SqlError> {
        let chunks = contents::chunks(file, &reading.file_options, &Progress::unlisted()).await?;
        Ok(Open { name: Arc::clone(&file.name), chunks, decoder: reading.decoder()?, ended: false })
    }

    /// Decodes the next piece.
    async fn read(&mut self) -> Result<(), SqlError> {
        match self.chunks.next().await {
            Some(chunk) => self.decoder.push(chunk?),
            None => {
                self.ended = true;
                self.decoder.finish()
            }
        }
    }
}
