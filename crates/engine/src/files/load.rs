//! COPY FROM files: several at a time, each once.
//!
//! What always holds: the rows of all files, what is remembered of the files and the rejected rows count together or not at
//! all. A load that ends early leaves no file of the table behind.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream_partitioned;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use wharf_catalog::{Column, Table};
use wharf_lake::ParquetFiles;
use wharf_lake::commit::LoadedFiles;
use wharf_values::{SqlError, SqlState};

use super::options::default_format;
use super::place::{all_files, require_superuser};
use super::progress::Progress;
use super::{FileOptions, SourceFile, contents, glob, loaded, rejects};
use crate::bind::{BindContext, assign_columns};
use crate::copy::{CopyDecoder, CopyFormat, CopyOptions, OptionItem, Rejects};
use crate::copy_load::{Loading, Rows};
use crate::dml::write;
use crate::engine::Engine;
use crate::error::{from_datafusion, from_join, from_lake};
use crate::optimize::physical_plan;
use crate::session::{Branch, Session};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;
/// Files that are read side by side, at most.
const MAX_WORKERS: usize = 16;

/// A COPY from files.
pub(crate) struct Load<'a> {
    pub(crate) table: &'a Arc<Table>,
    pub(crate) branch: Branch,
    /// The places in the table of the columns that come.
    pub(crate) provided: Vec<usize>,
    /// The file of the statement; there may be more among the options.
    pub(crate) name: &'a str,
    pub(crate) options: &'a [OptionItem],
}

/// Loads files; gives the number of rows.
///
/// # Errors
/// `42501` without the right, `58P01` for a missing file, `42704` for a branch that is not there, what the options can be refused with and what is wrong with
/// the data.
pub(crate) async fn load(session: &mut Session, load: Load<'_>, context: &BindContext) -> Result<u64, SqlError> {
    require_superuser(session)?;
    let (file_options, items) = FileOptions::split(load.options)?;
    file_options.check_direction(false)?;
    let names: Vec<String> = [load.name.to_owned()].into_iter().chain(file_options.more.iter().cloned()).collect();
    let plain = !load.name.contains("://");
    // What PostgreSQL can say too means what it means there: the file is loaded, however often that is said.
    let as_postgres = names.len() == 1 && plain && !glob::is_pattern(load.name, true);
    let limits = session.limits();
    let files = limits.within(all_files(&session.engine, &names, &file_options)).await?;
    // A pattern says less than the names of the files that it means.
    let example = files.first().filter(|_| !as_postgres).map_or(load.name, |file| &file.name);
    let options = CopyOptions::with_default(&items, false, default_format(example, as_postgres))?;
    if file_options.rejects_table.is_some() && !options.tolerates_errors() {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "COPY REJECTS_TABLE requires ON_ERROR to be set to IGNORE or SKIP",
        ));
    }
    let remember = !as_postgres || file_options.force.is_some();
    let again = file_options.force.unwrap_or(as_postgres);
    let (files, skipped) = if remember && !again {
        let table = session.open_branch(load.table, load.branch).await?;
        loaded::new_files(&table, files)
    } else {
        (files, 0)
    };
    if skipped > 0 {
        let noun = if skipped == 1 { "file was" } else { "files were" };
        let notice =
            SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("{skipped} {noun} loaded before, skipping"));
        session.notice("NOTICE", notice.with_hint("FORCE true loads them again."));
    }
    if files.is_empty() {
        return Ok(0);
    }
    let rejects_table = match &file_options.rejects_table {
        Some(name) => Some(rejects::table(session, name).await?),
        None => None,
    };
    let rejects = Arc::new(options.rejects(rejects_table.is_some()));
    let listed = session.begin_work("COPY FROM", &load.table.name);
    listed.progress.total(files.len() as u64, files.iter().map(|file| file.meta.size).sum());
    let remembered = remember.then(|| LoadedFiles { digests: files.iter().map(loaded::digest).collect(), again });
    let job = Job { load: &load, options: &options, file_options: &file_options, progress: &listed.progress };
    let written = match options.format {
        CopyFormat::Parquet => job.parquet(session, files, context).await?,
        _ => job.decoded(session, files, &rejects, context).await?,
    };
    for notice in rejects.notices() {
        session.notice("NOTICE", notice);
    }
    let mut count = 0;
    let mut data_files = Vec::new();
    for rows in written {
        let (rows, files) = rows.into_files().await?;
        count += rows;
        data_files.extend(files);
    }
    let mut writes = vec![write::Write {
        table: Arc::clone(load.table),
        branch: load.branch,
        files: data_files,
        loaded: remembered,
    }];
    if let Some(table) = rejects_table {
        writes.push(rejects::write(session, &table, rejects.take(), context).await?);
    }
    write::finish_all(session, writes).await?;
    Ok(count)
}

/// What all workers of a load share.
struct Job<'a> {
    load: &'a Load<'a>,
    options: &'a CopyOptions,
    file_options: &'a FileOptions,
    progress: &'a Progress,
}

impl Job<'_> {
    async fn rows(&self, session: &Session, context: &BindContext) -> Result<Rows, SqlError> {
        let (table, branch, provided) = (self.load.table, self.load.branch, self.load.provided.clone());
        let rows = match self.options.is_by_name() {
            true => Rows::open_by_name(session, table, branch, provided, context).await?,
            false => Rows::open(session, table, branch, provided, context).await?,
        };
        Ok(rows.telling(self.progress))
    }

    fn columns(&self) -> Vec<&Column> {
        self.load.provided.iter().map(|index| &self.load.table.columns[*index]).collect()
    }

    /// Loads files of a format that is decoded here.
    async fn decoded(
        &self,
        session: &mut Session,
        files: Vec<SourceFile>,
        rejects: &Arc<Rejects>,
        context: &BindContext,
    ) -> Result<Vec<Rows>, SqlError> {
        let workers = context.session.config().target_partitions().clamp(1, MAX_WORKERS).min(files.len());
        let several = files.len() > 1;
        let queue = Mutex::new(VecDeque::from(files));
        let mut work = Vec::with_capacity(workers);
        for _ in 0..workers {
            let rows = self.rows(session, context).await?;
            work.push(self.worker(rows, &queue, several, rejects, context));
        }
        session.limits().within(futures::future::try_join_all(work)).await
    }

    /// Takes one file after the other.
    async fn worker(
        &self,
        mut rows: Rows,
        queue: &Mutex<VecDeque<SourceFile>>,
        several: bool,
        rejects: &Arc<Rejects>,
        context: &BindContext,
    ) -> Result<Rows, SqlError> {
        loop {
            let next = queue.lock().pop_front();
            let Some(file) = next else { return Ok(rows) };
            let decoder = self.decoder(&file, rejects, context)?;
            let loaded = self.one(&file, decoder, rows).await;
            rows = loaded.map_err(|error| {
                // In PostgreSQL's spelling the statement names the only file.
                if several || !file.plain { error.with_context(format!("file \"{}\"", file.name)) } else { error }
            })?;
            self.progress.file_done();
        }
    }

    fn decoder(
        &self,
        file: &SourceFile,
        rejects: &Arc<Rejects>,
        context: &BindContext,
    ) -> Result<CopyDecoder, SqlError> {
        let columns = self.columns();
        let columns = columns.iter().map(|column| (column.name.clone(), column.ty.clone(), column.nullable)).collect();
        let decoder = CopyDecoder::new(self.options, &self.load.table.name, columns, &context.format, BATCH_ROWS)?;
        Ok(decoder.rejecting(rejects, Some(Arc::clone(&file.name))))
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
    async fn parquet(
        &self,
        session: &mut Session,
        files: Vec<SourceFile>,
        context: &BindContext,
    ) -> Result<Vec<Rows>, SqlError> {
        let limits = session.limits();
        let (count, bytes) = (files.len(), files.iter().map(|file| file.meta.size).sum());
        let plan = limits.within(parquet_plan(&session.engine, files, &self.columns(), context)).await?;
        let state = &context.session;
        let physical = physical_plan(&plan, state).await?;
        let streams = execute_stream_partitioned(physical, state.task_ctx()).map_err(from_datafusion)?;
        // Dropping the set ends the tasks.
        let mut tasks = JoinSet::new();
        for mut stream in streams {
            let mut rows = self.rows(session, context).await?;
            tasks.spawn(async move {
                while let Some(batch) = stream.next().await {
                    rows.write(batch.map_err(from_datafusion)?.columns()).await?;
                }
                Ok(rows)
            });
        }
        let written = limits
            .within(async {
                let mut written = Vec::new();
                while let Some(done) = tasks.join_next().await {
                    written.push(done.map_err(|error| from_join(&error))??);
                }
                Ok(written)
            })
            .await?;
        self.progress.read(bytes);
        (0..count).for_each(|_| self.progress.file_done());
        Ok(written)
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
