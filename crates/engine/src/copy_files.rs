//! COPY from and to files of the object store: Parquet, CSV and JSON (one object a line).
//!
//! A name without a scheme is a path in the warehouse's own object store; only superusers may name files. DataFusion's
//! readers and writers do the work.

use std::sync::Arc;

use datafusion::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{CsvReadOptions, DataFrame, JsonReadOptions, ParquetReadOptions};
use futures::StreamExt;
use sqlparser::ast::CopyOption;
use wharf_catalog::{Column, Table};
use wharf_values::{SqlError, SqlState};

use crate::bind::{BindContext, assign_columns};
use crate::dml::write::{self, Target};
use crate::error::from_datafusion;
use crate::session::{Outcome, Session};

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Parquet,
    Csv,
    Json,
}

/// What a file is, and how a CSV file is written.
struct FileFormat {
    kind: FileKind,
    header: bool,
    delimiter: u8,
}

fn format(options: &[CopyOption], filename: &str) -> Result<FileFormat, SqlError> {
    let mut kind = None;
    let mut header = false;
    let mut delimiter = b',';
    for option in options {
        match option {
            CopyOption::Format(name) => {
                kind = Some(match name.value.to_lowercase().as_str() {
                    "parquet" => FileKind::Parquet,
                    "csv" => FileKind::Csv,
                    "json" => FileKind::Json,
                    other => {
                        return Err(SqlError::unsupported(format!("files of format \"{other}\" are not supported"))
                            .with_hint("The formats are parquet, csv and json."));
                    }
                });
            }
            CopyOption::Header(value) => header = *value,
            CopyOption::Delimiter(value) if value.is_ascii() => delimiter = *value as u8,
            other => {
                return Err(SqlError::unsupported(format!("option {other} is not supported for files"))
                    .with_hint("Use FORMAT, HEADER and DELIMITER, or COPY FROM STDIN."));
            }
        }
    }
    let by_name = || match filename.rsplit('.').next() {
        Some("parquet") => Ok(FileKind::Parquet),
        Some("csv") => Ok(FileKind::Csv),
        Some("json" | "ndjson" | "jsonl") => Ok(FileKind::Json),
        _ => Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "the format of the file is not known")
            .with_hint("Say WITH (FORMAT parquet), csv or json.")),
    };
    Ok(FileFormat { kind: kind.map_or_else(by_name, Ok)?, header, delimiter })
}

fn require_superuser(session: &Session) -> Result<(), SqlError> {
    if session.identity.superuser {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to COPY to or from a file")
        .with_detail("Only superusers may COPY to or from files.")
        .with_hint("Anyone can COPY to stdout or from stdin."))
}

/// The URL of a file: as it is written, or a path in the warehouse's store.
fn url(session: &Session, filename: &str) -> Result<String, SqlError> {
    if filename.contains("://") {
        let (own, _) = session.engine.warehouse.object_store();
        let same_store = filename.starts_with("file://") || filename.starts_with(own.as_str());
        if !same_store {
            return Err(SqlError::unsupported(format!("\"{filename}\" is not in the warehouse's object store"))
                .with_hint("Use a file of the warehouse's own object store."));
        }
        return Ok(filename.to_owned());
    }
    Ok(filename.to_owned())
}

fn context(state: &Arc<SessionState>) -> SessionContext {
    SessionContext::new_with_state(state.as_ref().clone())
}

async fn read(
    state: &Arc<SessionState>,
    url: &str,
    format: &FileFormat,
    table: &Table,
    provided: &[usize],
) -> Result<DataFrame, SqlError> {
    let context = context(state);
    let schema = arrow::datatypes::Schema::new(
        provided
            .iter()
            .map(|index| {
                let column = &table.columns[*index];
                arrow::datatypes::Field::new(&column.name, wharf_values::arrow_type(&column.ty), true)
            })
            .collect::<Vec<_>>(),
    );
    match format.kind {
        FileKind::Parquet => context.read_parquet(url, ParquetReadOptions::default().file_extension("")).await,
        FileKind::Csv => {
            let options = CsvReadOptions::new()
                .has_header(format.header)
                .delimiter(format.delimiter)
                .newlines_in_values(true)
                .file_extension("")
                .schema(&schema);
            context.read_csv(url, options).await
        }
        FileKind::Json => context.read_json(url, JsonReadOptions::default().file_extension("").schema(&schema)).await,
    }
    .map_err(from_datafusion)
}

/// COPY FROM a file.
///
/// # Errors
/// `42501` without the right, `58P01` for a missing file, `42703` and `42804` for columns that do not fit.
pub(crate) async fn load(
    session: &mut Session,
    table: &Arc<Table>,
    provided: &[usize],
    filename: &str,
    options: &[CopyOption],
    bind: &BindContext,
) -> Result<Outcome, SqlError> {
    require_superuser(session)?;
    let format = format(options, filename)?;
    let frame = read(&bind.session, &url(session, filename)?, &format, table, provided).await?;
    let columns: Vec<&Column> = provided.iter().map(|index| &table.columns[*index]).collect();
    let plan = by_name(frame.into_unoptimized_plan(), &columns)?;
    let plan = assign_columns(plan, &columns, true, bind).map_err(from_datafusion)?;
    let defaults = crate::copy_from::defaults(session, table, provided, bind).await?;
    let state = &bind.session;
    let optimized = state.optimize(&plan).map_err(from_datafusion)?;
    let physical =
        state.query_planner().create_physical_plan(&optimized, state.as_ref()).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    let limits = session.limits();
    let mut target = Target::open(session, table).await?;
    let written = limits
        .within(async {
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(from_datafusion)?;
                let mut all = Vec::with_capacity(defaults.len());
                for (index, default) in defaults.iter().enumerate() {
                    all.push(match default {
                        Some(value) => value.to_array_of_size(batch.num_rows()).map_err(from_datafusion)?,
                        None => {
                            let place = provided.iter().position(|place| *place == index).unwrap_or_default();
                            Arc::clone(batch.column(place))
                        }
                    });
                }
                target.write(all).await?;
            }
            Ok(())
        })
        .await;
    let rows = write::finish(session, target, written).await?;
    Ok(Outcome::Complete(format!("COPY {rows}")))
}

/// The file's columns of these names, in this order.
fn by_name(plan: LogicalPlan, columns: &[&Column]) -> Result<LogicalPlan, SqlError> {
    let mut exprs = Vec::with_capacity(columns.len());
    for column in columns {
        let found = plan.schema().iter().find(|(_, field)| *field.name() == column.name);
        let Some((qualifier, field)) = found else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("the file has no column \"{}\"", column.name),
            )
            .with_hint("Name the columns that the file has: COPY table (a, b) FROM .."));
        };
        exprs.push(datafusion::logical_expr::Expr::from((qualifier, field)));
    }
    datafusion::logical_expr::LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(|builder| builder.build())
        .map_err(from_datafusion)
}

/// COPY TO a file.
///
/// # Errors
/// `42501` without the right, and what the query or the object store raises.
pub(crate) async fn unload(
    session: &mut Session,
    plan: LogicalPlan,
    filename: &str,
    options: &[CopyOption],
    bind: &BindContext,
) -> Result<Outcome, SqlError> {
    require_superuser(session)?;
    let format = format(options, filename)?;
    let url = url(session, filename)?;
    let frame = DataFrame::new(bind.session.as_ref().clone(), plan);
    let write = DataFrameWriteOptions::new().with_single_file_output(true);
    let limits = session.limits();
    let counted = limits
        .within(async {
            match format.kind {
                FileKind::Parquet => frame.write_parquet(&url, write, Some(TableParquetOptions::default())).await,
                FileKind::Csv => {
                    let csv = datafusion::config::CsvOptions::default()
                        .with_has_header(format.header)
                        .with_delimiter(format.delimiter);
                    frame.write_csv(&url, write, Some(csv)).await
                }
                FileKind::Json => frame.write_json(&url, write, None).await,
            }
            .map_err(from_datafusion)
        })
        .await?;
    let rows = counted
        .first()
        .and_then(|batch| {
            use arrow::array::AsArray;
            batch.column(0).as_primitive_opt::<arrow::datatypes::UInt64Type>().map(|counts| counts.value(0))
        })
        .unwrap_or(0);
    Ok(Outcome::Complete(format!("COPY {rows}")))
}
