//! COPY TO: a table or a query as bytes for the client or a file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlparser::ast::{self, Statement as Ast};
use wharf_values::{SqlError, SqlState};

use crate::bind::BindContext;
use crate::bind::names::display_name;
use crate::copy::{CopyEncoder, CopyFormat, CopyOptions};
use crate::files::unload::unload;
use crate::session::{CopyOut, Outcome, Session};
use crate::statement::Statement;

/// Starts a COPY TO; one to a file ends here too.
///
/// # Errors
/// What binding the table or query refuses, and what the options can be refused with.
pub(crate) async fn start(session: &mut Session, statement: &Statement) -> Result<Outcome, SqlError> {
    let Ast::Copy { source, target, .. } = &*statement.ast else {
        return Err(SqlError::internal("not COPY"));
    };
    let query = match source {
        ast::CopySource::Query(query) if changes_rows(&query.body) => {
            return Err(SqlError::unsupported("COPY of a statement that changes rows is not supported")
                .with_hint("Run it by itself and take its rows from RETURNING."));
        }
        ast::CopySource::Query(query) => query.as_ref().clone(),
        ast::CopySource::Table { table_name, columns } => table_query(table_name, columns)?,
    };
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    if let ast::CopySource::Table { table_name, .. } = source
        && let Ok(wharf_catalog::Relation::View(view)) = crate::names::find_relation(table_name, &context)
    {
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy from view \"{}\"", view.name))
            .with_hint("Try the COPY (SELECT ...) TO variant."));
    }
    let plan = session.plan_query(&query, &[], &context).await?;
    match target {
        ast::CopyTarget::Stdout => {
            let options = CopyOptions::new(&statement.copy_options, true)?;
            let columns = plan.schema().fields().len();
            let chunks = encoded(session, &plan, &options, &context).await?;
            Ok(Outcome::CopyOut(CopyOut { binary: options.format == CopyFormat::Binary, columns, chunks }))
        }
        ast::CopyTarget::File { filename } => {
            let rows = unload(session, plan, filename, &statement.copy_options, &context).await?;
            Ok(Outcome::Complete(format!("COPY {rows}")))
        }
        _ => Err(SqlError::unsupported("COPY TO PROGRAM is not supported")
            .with_hint("COPY TO STDOUT, and run the program with the client.")),
    }
}

fn changes_rows(body: &ast::SetExpr) -> bool {
    use ast::SetExpr as Body;
    matches!(body, Body::Insert(_) | Body::Update(_) | Body::Delete(_) | Body::Merge(_))
}

/// Encoded rows: bytes, and how many rows they hold. What comes before and after the rows are chunks of no rows.
pub(crate) type Chunks = BoxStream<'static, Result<(Bytes, u64), SqlError>>;

/// The rows of a plan in a format that is encoded here.
///
/// # Errors
/// `42P10` for a column of an option that the plan does not have, `0A000` for a type or format without an encoding.
pub(crate) async fn encoded(
    session: &Session,
    plan: &LogicalPlan,
    options: &CopyOptions,
    context: &BindContext,
) -> Result<Chunks, SqlError> {
    let columns: Vec<_> =
        plan.schema().fields().iter().map(|field| (display_name(field.name()).to_owned(), Arc::clone(field))).collect();
    let mut encoder = CopyEncoder::new(options, columns, &context.format)?;
    let stream = session.start_rows(plan, &context.session).await?;
    let batches = session.limits().guard(stream);
    let mut header = Vec::new();
    encoder.header(&mut header);
    let start = (!header.is_empty()).then(|| Ok((Bytes::from(header), 0)));
    let rest = batches.map(Some).chain(futures::stream::once(async { None })).scan(
        encoder,
        |encoder, batch: Option<Result<RecordBatch, SqlError>>| {
            let mut out = Vec::new();
            let chunk = match batch {
                Some(Ok(batch)) => {
                    encoder.encode(&batch, &mut out).map(|()| (Bytes::from(out), batch.num_rows() as u64))
                }
                Some(Err(error)) => Err(error),
                None => {
                    encoder.trailer(&mut out);
                    Ok((Bytes::from(out), 0))
                }
            };
            futures::future::ready(Some(chunk))
        },
    );
    Ok(futures::stream::iter(start).chain(rest).boxed())
}

/// `SELECT columns FROM table`.
fn table_query(name: &ast::ObjectName, columns: &[ast::Ident]) -> Result<ast::Query, SqlError> {
    let list = match columns {
        [] => "*".to_owned(),
        columns => columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    match crate::statement::parse(&format!("SELECT {list} FROM {name}"))?.pop() {
        Some(Ast::Query(query)) => Ok(*query),
        _ => Err(SqlError::internal("a query for COPY did not parse")),
    }
}
