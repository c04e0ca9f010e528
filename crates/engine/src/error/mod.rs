//! From the errors of the layers below to what the client is told: one place that knows which SQLSTATE each has.
//!
//! What always holds: an error that the client can cause has a SQLSTATE of its own; `XX000` means a bug of ours.

mod wording;

use std::error::Error;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use tokio::task::JoinError;
use wharf_catalog::CatalogError;
use wharf_lake::commit::RefError;
use wharf_lake::{LakeError, store_error, store_reason};
use wharf_values::{SqlError, SqlState};

use wording::{from_execution, from_plan, from_schema, from_unsupported};

/// Carries an [`SqlError`] through DataFusion, to be taken out again by [`from_datafusion`].
pub(crate) fn to_datafusion(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What the client is told of a branch or tag that cannot be changed so.
pub(crate) fn from_ref(error: &RefError) -> SqlError {
    let code = match error {
        RefError::Exists { .. } => SqlState::DUPLICATE_OBJECT,
        RefError::Missing { .. } => SqlState::UNDEFINED_OBJECT,
        RefError::WrongKind { .. } => SqlState::WRONG_OBJECT_TYPE,
        RefError::NoSnapshot | RefError::Main | RefError::NotAhead { .. } | RefError::NotAncestor { .. } => {
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
        }
    };
    let sql = SqlError::new(code, error.to_string());
    match error {
        RefError::NoSnapshot => sql.with_hint("Write to the table first."),
        RefError::NotAncestor { .. } => {
            sql.with_hint("ALTER TABLE .. SET CURRENT VERSION makes any snapshot the current one.")
        }
        _ => sql,
    }
}

/// What the client is told of a failed plan or execution.
pub(crate) fn from_datafusion(error: DataFusionError) -> SqlError {
    if is_stopping(&error) {
        return stopping();
    }
    match error {
        DataFusionError::External(inner) => from_external(inner),
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let place = diagnostic.span.and_then(|span| usize::try_from(span.start.column).ok());
            from_datafusion(*inner).or_position(place.filter(|place| *place > 0))
        }
        DataFusionError::Shared(inner) => from_shared(&inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => from_datafusion(first),
            None => SqlError::internal("an empty list of errors"),
        },
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        DataFusionError::ParquetError(inner) => {
            SqlError::new(SqlState::DATA_CORRUPTED, format!("cannot read a data file: {inner}"))
        }
        DataFusionError::ObjectStore(inner) => from_object_store(&inner),
        DataFusionError::IoError(inner) => from_io(&inner),
        DataFusionError::SchemaError(inner, _) => from_schema(*inner),
        DataFusionError::NotImplemented(message) => from_unsupported(&message),
        DataFusionError::SQL(inner, _) => syntax(&inner.to_string()),
        DataFusionError::Plan(message) => from_plan(&message),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(&message),
        DataFusionError::Execution(message) => from_execution(&message),
        DataFusionError::Configuration(message) => {
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, first_line(&message))
        }
        other => SqlError::internal(first_line(&other.strip_backtrace())),
    }
}

/// `57014`, in PostgreSQL's words.
pub(crate) fn canceled() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// `57P01`, in PostgreSQL's words: the process ends under the statement.
pub(crate) fn stopping() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
        .with_hint("Run the statement again, on another node or when this one is back.")
}

/// What the client is told of a background task that gave no result.
pub(crate) fn from_join(error: &JoinError) -> SqlError {
    match is_stopping(error) {
        true => stopping(),
        false => SqlError::internal(format!("a background task ended early: {error}")),
    }
}

/// Whether an error is only there because the process ends: at its bottom is a task that was dropped with the runtime, or that a
/// runtime which ends did not take. A task that has panicked is none.
///
/// No statement that is cancelled or takes too long (`57014`) comes by here. `Limits::within` drops whoever waits for the tasks of a
/// statement; that is what ends them, and nobody is left to hear of it.
pub(crate) fn is_stopping(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // DataFusion's repartitioning shares it among its partitions.
        let shared = || error.downcast_ref::<Arc<JoinError>>().map(|shared| &**shared);
        if let Some(join) = error.downcast_ref::<JoinError>().or_else(shared) {
            return join.is_cancelled();
        }
        let planned = error.downcast_ref::<DataFusionError>();
        if let Some(DataFusionError::Execution(text) | DataFusionError::Internal(text)) = planned {
            // All that is left where two of DataFusion's operators wait for their tasks.
            let known = ["Non Panic Task error: ", "JoinError instantiating streams "];
            let of_a_task = known.iter().any(|start| text.starts_with(start));
            return of_a_task && first_line(text).ends_with(" was cancelled");
        }
        next = error.source();
    }
    false
}

fn from_external(error: Box<dyn std::error::Error + Send + Sync>) -> SqlError {
    let error = match error.downcast::<SqlError>() {
        Ok(sql) => return *sql,
        Err(other) => other,
    };
    let error = match error.downcast::<DataFusionError>() {
        Ok(inner) => return from_datafusion(*inner),
        Err(other) => other,
    };
    match error.downcast::<LakeError>() {
        Ok(lake) => from_lake(&lake),
        Err(other) => SqlError::internal(other.to_string()),
    }
}

/// Errors that several consumers of one stream share cannot be moved out.
pub(crate) fn from_shared(error: &DataFusionError) -> SqlError {
    if is_stopping(error) {
        return stopping();
    }
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(sql) => sql.clone(),
            None => match inner.downcast_ref::<LakeError>() {
                Some(lake) => from_lake(lake),
                None => SqlError::internal(inner.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_shared(inner),
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::ArrowError(inner, _) => from_arrow_ref(inner),
        DataFusionError::ParquetError(inner) => {
            SqlError::new(SqlState::DATA_CORRUPTED, format!("cannot read a data file: {inner}"))
        }
        DataFusionError::ObjectStore(inner) => from_object_store(inner),
        DataFusionError::IoError(inner) => from_io(inner),
        DataFusionError::NotImplemented(message) => SqlError::unsupported(first_line(message)),
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
        other => SqlError::internal(first_line(&other.strip_backtrace())),
    }
}

fn from_arrow(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => from_external(inner),
        other => from_arrow_ref(&other),
    }
}

fn from_arrow_ref(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range"),
        ArrowError::CastError(message) if message.contains("overflow") || message.contains("Can't cast") => {
            SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range")
                .with_detail(sentence(&first_line(message)))
        }
        ArrowError::CastError(message) => SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, first_line(message)),
        ArrowError::ParquetError(message) => {
            SqlError::new(SqlState::DATA_CORRUPTED, format!("cannot read a data file: {}", first_line(message)))
        }
        ArrowError::IoError(_, inner) => from_io(inner),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<SqlError>() {
            Some(sql) => sql.clone(),
            None => SqlError::internal(inner.to_string()),
        },
        ArrowError::InvalidArgumentError(message) if message.contains("too large to store in a Decimal") => {
            SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
        }
        ArrowError::NotYetImplemented(message) => SqlError::unsupported(first_line(message)),
        other => SqlError::internal(first_line(&other.to_string())),
    }
}

fn from_object_store(error: &object_store::Error) -> SqlError {
    match error {
        object_store::Error::NotFound { path, .. } => {
            SqlError::new(SqlState::UNDEFINED_FILE, format!("file \"{path}\" does not exist in the object store"))
        }
        other => SqlError::new(SqlState::IO_ERROR, format!("object store error: {}", store_reason(other))),
    }
}

fn from_io(error: &std::io::Error) -> SqlError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return disk_full();
    }
    SqlError::new(SqlState::IO_ERROR, format!("input/output error: {error}"))
}

fn out_of_memory(message: &str) -> SqlError {
    SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(sentence(&first_line(message))).with_hint(
        "Run the statement again when less runs, raise engine.memory_limit_bytes in the configuration, or reduce what \
         the query keeps at once.",
    )
}

fn disk_full() -> SqlError {
    SqlError::new(SqlState::DISK_FULL, "no space left on the device")
        .with_hint("Free some space and run the statement again; nothing of it was kept.")
}

/// Errors of the table layer.
pub(crate) fn from_lake(error: &LakeError) -> SqlError {
    if is_stopping(error) {
        return stopping();
    }
    let with = |code| SqlError::new(code, error.to_string());
    match error {
        LakeError::DiskFull { .. } => disk_full(),
        LakeError::Corrupt { .. } => with(SqlState::DATA_CORRUPTED),
        LakeError::DataFile { source, .. } if from_shared(source).code == SqlState::DISK_FULL => disk_full(),
        // A store that cannot be reached says nothing about the file.
        LakeError::DataFile { location, source } => match store_error(source.as_ref()) {
            Some(failed) => SqlError::new(
                SqlState::IO_ERROR,
                format!("could not read data file \"{location}\": {}", store_reason(failed)),
            ),
            None => with(SqlState::DATA_CORRUPTED),
        },
        LakeError::NotFound { .. } | LakeError::ForeignLocation { .. } => with(SqlState::UNDEFINED_FILE),
        LakeError::InvalidLayout(_) => with(SqlState::INVALID_OBJECT_DEFINITION),
        LakeError::UndefinedField(_) => with(SqlState::UNDEFINED_COLUMN),
        LakeError::InvalidUrl { .. } | LakeError::Invalid(_) => with(SqlState::INVALID_PARAMETER_VALUE),
        LakeError::Store { .. } | LakeError::Credentials(_) | LakeError::Failpoint(_) => with(SqlState::IO_ERROR),
        LakeError::Plan(source) => from_shared(source),
        LakeError::Unsupported(_) => SqlError::unsupported(error.to_string()),
        LakeError::Ref(error) => from_ref(error),
        LakeError::NoValues { .. } => with(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
            .with_detail(
                "The column is newer than the rows: another program has set a branch back to them, or has written files without it.",
            )
            .with_hint(
                "Leave the column out of the query or drop it, or make a snapshot current that has it, with ALTER TABLE .. SET CURRENT VERSION.",
            ),
        LakeError::NoVersion(_) => SqlError::new(SqlState::UNDEFINED_OBJECT, error.to_string()),
        LakeError::Encode { .. }
        | LakeError::Batch(_)
        | LakeError::Metadata { .. }
        | LakeError::WriterFailed { .. }
        | LakeError::Join { .. }
        | LakeError::Task(_) => SqlError::internal(error.to_string()),
    }
}

/// An answer of the catalog that says no.
pub(crate) fn from_catalog(error: &CatalogError) -> SqlError {
    let code = SqlState::parse(error.sqlstate()).unwrap_or(SqlState::INTERNAL_ERROR);
    let mut sql = SqlError::new(code, error.to_string());
    sql.detail = error.detail();
    sql.hint = error.hint();
    sql
}

/// The catalog's group could not take or answer a command.
pub(crate) fn from_consensus(error: &wharf_consensus::ConsensusError) -> SqlError {
    let code = SqlState::parse(error.sqlstate()).unwrap_or(SqlState::INTERNAL_ERROR);
    let mut sql = SqlError::new(code, error.to_string());
    sql.detail = error.detail();
    sql.hint = match error {
        wharf_consensus::ConsensusError::ReadTimeout { .. } => Some(CUT_OFF.to_owned()),
        _ => error.hint(),
    };
    sql
}

/// What can be done on a node that does not reach enough others.
const CUT_OFF: &str = "Check that more than half of the cluster's voters run and can reach each other. After \
    SET wharf.read_consistency = 'local', statements that only read see what this node has.";

/// A parser's message as a PostgreSQL syntax error, with the position when the message names line and column.
pub(crate) fn syntax(message: &str) -> SqlError {
    let message = message.trim_start_matches("SQL error: ").trim_start_matches("sql parser error: ");
    let text = message.split(" at Line:").next().unwrap_or(message);
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error: {}", lower_first(text)))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) if characters.as_str().starts_with(|c: char| c.is_lowercase() || c == ' ') => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => message.to_owned(),
    }
}

pub(crate) fn sentence(message: &str) -> String {
    let mut text = message.trim_end_matches('.').to_owned();
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::parquet::errors::ParquetError;

    use super::*;

    async fn dropped() -> JoinError {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        task.await.unwrap_err()
    }

    async fn panicked() -> JoinError {
        fn bug() {
            panic!("a bug");
        }
        tokio::task::spawn_blocking(bug).await.unwrap_err()
    }

    fn store(source: JoinError) -> object_store::Error {
        object_store::Error::JoinError { source }
    }

    fn joined(source: JoinError) -> DataFusionError {
        DataFusionError::ExecutionJoin(Box::new(source))
    }

    #[tokio::test]
    async fn a_task_that_was_dropped_is_a_shutdown_under_any_wrapping() {
        let location = "file:///t/1.metadata.json".to_owned();
        let parquet = ParquetError::External(Box::new(store(dropped().await)));
        let repartitioned = DataFusionError::External(Box::new(Arc::new(dropped().await)));
        let text = |start: &str, error: JoinError| format!("{start}{error}");
        for error in [
            from_join(&dropped().await),
            from_lake(&LakeError::from(dropped().await)),
            from_lake(&LakeError::Store { location, source: store(dropped().await) }),
            from_lake(&LakeError::from(joined(dropped().await))),
            from_shared(&joined(dropped().await)),
            from_datafusion(joined(dropped().await)),
            from_datafusion(DataFusionError::from(LakeError::from(dropped().await))),
            from_datafusion(DataFusionError::ObjectStore(Box::new(store(dropped().await)))),
            from_datafusion(DataFusionError::ParquetError(Box::new(parquet))),
            from_datafusion(repartitioned.context("Join Error")),
            from_datafusion(DataFusionError::Execution(text("Non Panic Task error: ", dropped().await))),
            from_datafusion(DataFusionError::Internal(text("JoinError instantiating streams ", dropped().await))),
        ] {
            assert_eq!(error, stopping());
            assert_eq!(error.code.as_str(), "57P01");
        }
    }

    #[tokio::test]
    async fn a_task_that_has_panicked_is_a_bug() {
        let text = format!("JoinError instantiating streams {}", panicked().await);
        for error in [
            from_join(&panicked().await),
            from_lake(&LakeError::from(panicked().await)),
            from_shared(&joined(panicked().await)),
            from_datafusion(joined(panicked().await)),
            from_datafusion(DataFusionError::Internal(text)),
        ] {
            assert_eq!(error.code, SqlState::INTERNAL_ERROR, "{error}");
        }
    }

    #[test]
    fn an_error_that_says_was_cancelled_is_no_shutdown() {
        let error = from_datafusion(DataFusionError::Execution("order 7 was cancelled".to_owned()));
        assert_eq!(error.code, SqlState::DATA_EXCEPTION);
    }
}
