//! COPY from and to files of an object store: text, CSV, binary, JSON (one object a line) and Parquet.
//!
//! A name is a path in the warehouse's folder, a URL in the warehouse's store, or, as in PostgreSQL, an absolute path of
//! the server's file system. Only superusers may name files. Parquet is read and written by DataFusion, the other formats
//! as they are for a client, so that a value means the same whichever way it comes.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use bytes::BytesMut;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{DataFrame, ParquetReadOptions};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use wharf_catalog::{Column, SqlType, Table};
use wharf_values::{SqlError, SqlState};

use crate::bind::names::display_name;
use crate::bind::{BindContext, assign_columns};
use crate::copy::{CopyFormat, CopyOptions, OptionItem};
use crate::copy_load::Rows;
use crate::error::from_datafusion;
use crate::session::Session;
use crate::{copy_from, copy_to};

/// Bytes of a file that are handed to the decoder at a time, at least.
const CHUNK_BYTES: usize = 256 << 10;
/// Parts of a file that are being stored while the next is encoded.
const PARTS_ON_THEIR_WAY: usize = 4;

/// A file: which store it is in, and where in it.
struct File {
    name: String,
    store: Arc<dyn ObjectStore>,
    url: String,
    path: Path,
}

impl File {
    fn new(session: &Session, name: &str, context: &BindContext) -> Result<File, SqlError> {
        if !session.identity.superuser {
            return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to COPY to or from a file")
                .with_detail("Only superusers may COPY to or from files.")
                .with_hint("Anyone can COPY to stdout or from stdin."));
        }
        let warehouse = &session.engine.warehouse;
        let url = if name.contains("://") {
            name.to_owned()
        } else if name.starts_with('/') {
            format!("file://{name}")
        } else {
            format!("{}/{name}", warehouse.url())
        };
        let (origin, rest) = split_url(&url).ok_or_else(|| invalid_name(name))?;
        let path = Path::parse(rest).map_err(|_| invalid_name(name))?;
        let (own, store) = warehouse.object_store();
        let own = own.as_str().trim_end_matches('/').to_owned();
        let store = if origin == own {
            store
        } else if origin == "file://" {
            let local = ObjectStoreUrl::local_filesystem();
            context.session.runtime_env().object_store(&local).map_err(from_datafusion)?
        } else {
            return Err(SqlError::unsupported(format!("\"{name}\" is not in the warehouse's object store"))
                .with_hint("Use a file of the warehouse's own object store."));
        };
        Ok(File { name: name.to_owned(), store, url: format!("{origin}/{path}"), path })
    }

    /// The format that the name says, for COPY without one.
    fn default_format(&self) -> CopyFormat {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("parquet") => CopyFormat::Parquet,
            Some("json" | "jsonl" | "ndjson") => CopyFormat::Json,
            _ => CopyFormat::Text,
        }
    }

    fn error(&self, purpose: &str, error: &object_store::Error) -> SqlError {
        use std::io::ErrorKind;
        // What the local file system says is somewhere below.
        let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let io = std::iter::from_fn(|| {
            let this = below?;
            below = this.source();
            Some(this)
        })
        .find_map(|error| error.downcast_ref::<std::io::Error>());
        let (code, reason) = match (error, io.map(std::io::Error::kind)) {
            (object_store::Error::NotFound { .. }, _) | (_, Some(ErrorKind::NotFound)) => {
                (SqlState::UNDEFINED_FILE, "No such file or directory".to_owned())
            }
            (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }, _)
            | (_, Some(ErrorKind::PermissionDenied)) => {
                (SqlState::INSUFFICIENT_PRIVILEGE, "Permission denied".to_owned())
            }
            (_, Some(ErrorKind::StorageFull)) => (SqlState::DISK_FULL, "No space left on device".to_owned()),
            _ => (SqlState::IO_ERROR, io.map_or_else(|| error.to_string(), ToString::to_string)),
        };
        SqlError::new(code, format!("could not open file \"{}\" for {purpose}: {reason}", self.name))
    }

    /// What COPY TO may not write over: the files of tables.
    fn check_writable(&self, warehouse_url: &str) -> Result<(), SqlError> {
        let inside = self.url.strip_prefix(warehouse_url).unwrap_or_default();
        if inside.split('/').any(|part| uuid::Uuid::try_parse(part).is_ok()) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("could not open file \"{}\" for writing: it is in the folder of a table", self.name),
            ));
        }
        Ok(())
    }
}

fn invalid_name(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_NAME, format!("\"{name}\" is not the name of a file"))
}

/// The part of a URL that names the store, and the path.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + 3;
    let path = authority + url[authority..].find('/')?;
    Some((&url[..path], &url[path + 1..]))
}

/// COPY FROM a file; gives the number of rows.
///
/// # Errors
/// `42501` without the right, `58P01` for a missing file, what the options can be refused with and what is wrong with
/// the data.
pub(crate) async fn load(
    session: &mut Session,
    table: &Arc<Table>,
    provided: Vec<usize>,
    name: &str,
    options: &[OptionItem],
    context: &BindContext,
) -> Result<u64, SqlError> {
    let file = File::new(session, name, context)?;
    let options = CopyOptions::with_default(options, false, file.default_format())?;
    let limits = session.limits();
    if options.format == CopyFormat::Parquet {
        let plan = parquet_plan(&file, table, &provided, context).await?;
        let mut rows = Rows::open(session, table, provided, context).await?;
        let written = limits.within(write_plan(&plan, &mut rows, context)).await;
        return rows.finish(session, written).await;
    }
    let mut loading = copy_from::load(session, table, provided, &options, context).await?;
    // When reading fails, dropping the load gives it up.
    limits
        .within(async {
            let failed = |error| file.error("reading", &error);
            let mut stream = file.store.get(&file.path).await.map_err(failed)?.into_stream();
            let mut gathered = BytesMut::new();
            while let Some(bytes) = stream.next().await {
                gathered.extend_from_slice(&bytes.map_err(failed)?);
                if gathered.len() >= CHUNK_BYTES {
                    loading.write(gathered.split().freeze()).await;
                }
                if loading.has_ended() {
                    return Ok(());
                }
            }
            loading.write(gathered.freeze()).await;
            Ok(())
        })
        .await?;
    loading.finish(session).await
}

/// The file's columns of the table's names, at the table's types.
async fn parquet_plan(
    file: &File,
    table: &Table,
    provided: &[usize],
    context: &BindContext,
) -> Result<LogicalPlan, SqlError> {
    // Only one file of this name is meant, not whatever the name is a pattern of.
    file.store.head(&file.path).await.map_err(|error| file.error("reading", &error))?;
    let session = SessionContext::new_with_state(context.session.as_ref().clone());
    let read = ParquetReadOptions::default().file_extension("");
    let plan = session.read_parquet(&file.url, read).await.map_err(from_datafusion)?.into_unoptimized_plan();
    let columns: Vec<&Column> = provided.iter().map(|index| &table.columns[*index]).collect();
    let mut exprs = Vec::with_capacity(columns.len());
    for column in &columns {
        let found = plan.schema().iter().find(|(_, field)| *field.name() == column.name);
        let Some((qualifier, field)) = found else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{}\" does not exist in file \"{}\"", column.name, file.name),
            )
            .with_hint("Name the columns that the file has: COPY table (a, b) FROM .."));
        };
        exprs.push(Expr::from((qualifier, field)));
    }
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(|builder| builder.build())
        .and_then(|plan| assign_columns(plan, &columns, true, context))
        .map_err(from_datafusion)
}

async fn write_plan(plan: &LogicalPlan, rows: &mut Rows, context: &BindContext) -> Result<(), SqlError> {
    let state = &context.session;
    let optimized = state.optimize(plan).map_err(from_datafusion)?;
    let physical =
        state.query_planner().create_physical_plan(&optimized, state.as_ref()).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    while let Some(batch) = stream.next().await {
        rows.write(batch.map_err(from_datafusion)?.columns()).await?;
    }
    Ok(())
}

/// COPY TO a file; gives the number of rows. A file of that name is replaced, once all of the new one is there.
///
/// # Errors
/// `42501` without the right, and what the options, the query or the object store raise.
pub(crate) async fn unload(
    session: &mut Session,
    plan: LogicalPlan,
    name: &str,
    options: &[OptionItem],
    context: &BindContext,
) -> Result<u64, SqlError> {
    let file = File::new(session, name, context)?;
    file.check_writable(&session.engine.warehouse.url())?;
    let options = CopyOptions::with_default(options, true, file.default_format())?;
    let limits = session.limits();
    if options.format == CopyFormat::Parquet {
        return limits.within(write_parquet(plan, &file, context)).await;
    }
    let mut chunks = copy_to::encoded(session, &plan, &options, context).await?;
    let failed = |error| file.error("writing", &error);
    let upload = limits.within(async { file.store.put_multipart(&file.path).await.map_err(failed) }).await?;
    let mut writer = WriteMultipart::new(upload);
    let written = limits
        .within(async {
            let mut total = 0;
            while let Some(chunk) = chunks.next().await {
                let (bytes, rows) = chunk?;
                writer.wait_for_capacity(PARTS_ON_THEIR_WAY).await.map_err(failed)?;
                writer.put(bytes);
                total += rows;
            }
            Ok(total)
        })
        .await;
    match written {
        Ok(total) => {
            writer.finish().await.map_err(failed)?;
            Ok(total)
        }
        Err(error) => {
            if let Err(error) = writer.abort().await {
                tracing::warn!(file = %file.name, %error, "could not remove what a failed COPY wrote");
            }
            Err(error)
        }
    }
}

async fn write_parquet(plan: LogicalPlan, file: &File, context: &BindContext) -> Result<u64, SqlError> {
    if let Some(field) = plan.schema().fields().iter().find(|field| wharf_values::sql_type(field) == SqlType::Interval)
    {
        let name = display_name(field.name());
        return Err(SqlError::unsupported(format!("column \"{name}\" of type interval cannot be written to Parquet"))
            .with_hint("Cast it to text."));
    }
    let names: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| Expr::from((qualifier, field)).alias(display_name(field.name())))
        .collect();
    let plan =
        LogicalPlanBuilder::from(plan).project(names).and_then(|builder| builder.build()).map_err(from_datafusion)?;
    let frame = DataFrame::new(context.session.as_ref().clone(), plan);
    let options = DataFrameWriteOptions::new().with_single_file_output(true);
    let counted = frame.write_parquet(&file.url, options, None).await.map_err(from_datafusion)?;
    let count = counted.first().and_then(|batch| batch.column(0).as_primitive_opt::<UInt64Type>());
    Ok(count.map_or(0, |counts| counts.values().iter().sum()))
}
