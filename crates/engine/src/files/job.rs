//! Reading files into rows of a table: several at a time, on this node.
//!
//! What always holds: a job knows no session, so that a node reads files for another as it does for itself. Rows that are dropped
//! leave no file of the table behind.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream_partitioned;
use futures::StreamExt;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use wharf_catalog::Column;
use wharf_lake::ParquetFiles;
use wharf_values::{SqlError, SqlState, mapping};

use super::progress::Progress;
use super::{FileOptions, SourceFile, contents};
use crate::bind::types::cast_field;
use crate::bind::{BindContext, assign_columns};
use crate::copy::{CopyDecoder, CopyFormat, CopyOptions, Rejects};
use crate::copy_intake::Intake;
use crate::copy_load::{Loading, Rows};
use crate::engine::Engine;
use crate::error::{from_datafusion, from_join, from_lake};
use crate::optimize::physical_plan;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;
/// Files that are read side by side, at most.
const MAX_WORKERS: usize = 16;

/// What all workers of a load share.
pub(super) struct Job<'a> {
    pub(super) engine: &'a Engine,
    pub(super) intake: &'a Intake,
    pub(super) options: &'a CopyOptions,
    pub(super) file_options: &'a FileOptions,
    pub(super) rejects: &'a Arc<Rejects>,
    pub(super) progress: &'a Progress,
    pub(super) context: &'a BindContext,
    /// Errors say which file they are about.
    pub(super) names_files: bool,
    /// What a column is that none of the Parquet files has.
    pub(super) absent: Absent,
}

/// What a column is that no Parquet file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// `42703`
    Refused,
    /// NULL: these are not all of the files, and others have it.
    Null,
}

impl Job<'_> {
    /// Loads files into rows that take more, of files before these among them.
    ///
    /// # Errors
    /// What is wrong with the data.
    pub(super) async fn load(&self, files: Vec<SourceFile>, rows: Vec<Rows>) -> Result<Vec<Rows>, SqlError> {
        match self.options.format {
            CopyFormat::Parquet => self.parquet(files, rows).await,
            _ => self.decoded(files, rows).await,
        }
    }

    /// How many files are read side by side.
    pub(super) fn workers(&self) -> usize {
        self.context.session.config().target_partitions().clamp(1, MAX_WORKERS)
    }

    /// Finds out what is wrong with files when they are looked at together, for those who load some of them each.
    ///
    /// # Errors
    /// As [`parquet_plan`]; nothing for other formats.
    pub(super) async fn check_together(&self, files: &[SourceFile]) -> Result<(), SqlError> {
        if self.options.format == CopyFormat::Parquet {
            let columns = self.intake.columns();
            parquet_plan(self.engine, files.to_vec(), &columns, Absent::Refused, self.context).await?;
        }
        Ok(())
    }

    fn rows(&self) -> Rows {
        self.intake.rows(self.engine).telling(self.progress)
    }

    /// Loads files of a format that is decoded here.
    async fn decoded(&self, files: Vec<SourceFile>, mut rows: Vec<Rows>) -> Result<Vec<Rows>, SqlError> {
        let workers = self.workers().min(files.len());
        let queue = Mutex::new(VecDeque::from(files));
        let mut work = Vec::with_capacity(workers);
        for _ in 0..workers {
            work.push(self.worker(rows.pop().unwrap_or_else(|| self.rows()), &queue));
        }
        rows.extend(try_join_all(work).await?);
        Ok(rows)
    }

    /// Takes one file after the other.
    async fn worker(&self, mut rows: Rows, queue: &Mutex<VecDeque<SourceFile>>) -> Result<Rows, SqlError> {
        loop {
            let next = queue.lock().pop_front();
            let Some(file) = next else { return Ok(rows) };
            let decoder = self.decoder(&file)?;
            let loaded = self.one(&file, decoder, rows).await;
            rows = loaded.map_err(|error| match self.names_files {
                true => error.with_context(format!("file \"{}\"", file.name)),
                false => error,
            })?;
            self.progress.file_done();
        }
    }

    fn decoder(&self, file: &SourceFile) -> Result<CopyDecoder, SqlError> {
        let columns = self.intake.columns();
        let columns = columns.iter().map(|column| (column.name.clone(), column.ty.clone(), column.nullable)).collect();
        let name = &self.intake.table.name;
        let decoder = CopyDecoder::new(self.options, name, columns, &self.context.format, BATCH_ROWS)?;
        Ok(decoder.rejecting(self.rejects, Some(Arc::clone(&file.name))))
    }

    async fn one(&self, file: &SourceFile, decoder: CopyDecoder, rows: Rows) -> Result<Rows, SqlError> {
        let mut chunks = contents::chunks(file, self.file_options, self.progress).await?;
        // When reading fails, dropping the load gives it up.
        let mut loading = Loading::start(decoder, rows);
        while let Some(chunk) = chunks.next().await {
            loading.write(chunk?).await;
            if loading.has_ended() {
                break;
            }
        }
        loading.end().await
    }

    /// Loads Parquet files, whose columns go to the table's of the same names.
    async fn parquet(&self, files: Vec<SourceFile>, mut rows: Vec<Rows>) -> Result<Vec<Rows>, SqlError> {
        let (count, bytes) = (files.len(), files.iter().map(|file| file.meta.size).sum());
        let plan = parquet_plan(self.engine, files, &self.intake.columns(), self.absent, self.context).await?;
        let state = &self.context.session;
        let physical = physical_plan(&plan, state).await?;
        let streams = execute_stream_partitioned(physical, state.task_ctx()).map_err(from_datafusion)?;
        // Dropping the set ends the tasks.
        let mut tasks: JoinSet<Result<Rows, SqlError>> = JoinSet::new();
        for mut stream in streams {
            let mut rows = rows.pop().unwrap_or_else(|| self.rows());
            tasks.spawn(async move {
                while let Some(batch) = stream.next().await {
                    rows.write(batch.map_err(from_datafusion)?.columns()).await?;
                }
                Ok(rows)
            });
        }
        while let Some(done) = tasks.join_next().await {
            rows.push(done.map_err(|error| from_join(&error))??);
        }
        self.progress.read(bytes);
        (0..count).for_each(|_| self.progress.file_done());
        Ok(rows)
    }
}

/// The columns of Parquet files, by the names of the table's and at their types.
///
/// # Errors
/// `42703` for a column that no file has, `0A000` for one of a type that SQL does not have.
pub(crate) async fn parquet_plan(
    engine: &Engine,
    files: Vec<SourceFile>,
    columns: &[&Column],
    absent: Absent,
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    let name = match files.as_slice() {
        [only] => format!("file \"{}\"", only.name),
        _ => "the files".to_owned(),
    };
    let provider = parquet_files(engine, files, context).await?;
    let unreadable = provider.unreadable().to_vec();
    let scan = LogicalPlanBuilder::scan("files", provider_as_source(Arc::new(provider)), None);
    let scan = scan.and_then(|builder| builder.build()).map_err(from_datafusion)?;
    let mut exprs = Vec::with_capacity(columns.len());
    for column in columns {
        let found = scan.schema().iter().find(|(_, field)| *field.name() == column.name);
        let Some((qualifier, field)) = found else {
            if let Some((column, ty)) = unreadable.iter().find(|(unreadable, _)| *unreadable == column.name) {
                return Err(SqlError::unsupported(format!("column \"{column}\" of {name} is of type {ty}"))
                    .with_hint("Name the other columns in COPY: COPY table (a, b) FROM .."));
            }
            if absent == Absent::Null {
                let null = ScalarValue::try_from(&mapping::arrow_type(&column.ty)).map_err(from_datafusion)?;
                let metadata = cast_field(&column.ty).metadata().clone();
                exprs.push(Expr::Literal(null, Some(metadata.into())).alias(&column.name));
                continue;
            }
            let message = format!("column \"{}\" does not exist in {name}", column.name);
            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message)
                .with_hint("Name the columns that the file has: COPY table (a, b) FROM .."));
        };
        exprs.push(Expr::from((qualifier, field)));
    }
    LogicalPlanBuilder::from(scan)
        .project(exprs)
        .and_then(|builder| builder.build())
        .and_then(|plan| assign_columns(plan, columns, true, context))
        .map_err(from_datafusion)
}

/// Parquet files as a table; they have to be in one store.
///
/// # Errors
/// `22P04` for what is no Parquet file, `0A000` for files of several stores.
pub(crate) async fn parquet_files(
    engine: &Engine,
    files: Vec<SourceFile>,
    context: &BindContext,
) -> Result<ParquetFiles, SqlError> {
    let Some(first) = files.first().cloned() else {
        return Err(SqlError::internal("no files to read"));
    };
    if files.iter().any(|file| file.origin != first.origin) {
        return Err(SqlError::unsupported("Parquet files of several object stores cannot be read together")
            .with_hint("Load them by one statement for each store."));
    }
    let metas = files.into_iter().map(|file| file.meta).collect();
    let warehouse = &engine.warehouse;
    let opened = ParquetFiles::open(context.session.as_ref(), warehouse, &first.origin, first.store, metas).await;
    opened.map_err(|error| {
        let error = from_lake(&error);
        // Not a file of ours that is damaged, but one that is something else.
        let code = if error.code == SqlState::DATA_CORRUPTED { SqlState::BAD_COPY_FILE_FORMAT } else { error.code };
        SqlError { code, ..error }
    })
}
