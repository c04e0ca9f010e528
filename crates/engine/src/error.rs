//! From the errors of the layers below to what the client is told: one place that knows which SQLSTATE each has.
//!
//! What always holds: an error that the client can cause has a SQLSTATE of its own; `XX000` means a bug of ours.

use std::error::Error;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use tokio::task::JoinError;
use wharf_catalog::CatalogError;
use wharf_lake::commit::RefError;
use wharf_lake::{LakeError, store_error, store_reason};
use wharf_values::{SqlError, SqlState};

use crate::bind::names::{DUPLICATE_MARK, display_name};

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

fn from_schema(error: SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let marked = format!("{}{DUPLICATE_MARK}", field.name);
            if valid_fields.iter().any(|valid| valid.name.starts_with(&marked)) {
                return ambiguous(&field.name);
            }
            let name = match &field.relation {
                Some(relation) => {
                    let known = valid_fields
                        .iter()
                        .any(|valid| valid.relation.as_ref().is_some_and(|r| r.table() == relation.table()));
                    if !known {
                        return SqlError::new(
                            SqlState::UNDEFINED_TABLE,
                            format!("missing FROM-clause entry for table \"{}\"", relation.table()),
                        );
                    }
                    format!("column {}.{} does not exist", relation.table(), field.name)
                }
                None => format!("column \"{}\" does not exist", display_name(&field.name)),
            };
            let error = SqlError::new(SqlState::UNDEFINED_COLUMN, name);
            match similar(&field.name, valid_fields.iter().map(|valid| valid.name.as_str())) {
                Some(near) => error.with_hint(format!("Perhaps you meant to reference the column \"{near}\".")),
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => ambiguous(&field.name),
        SchemaError::DuplicateQualifiedField { qualifier, .. } => SqlError::new(
            SqlState::DUPLICATE_ALIAS,
            format!("table name \"{}\" specified more than once", qualifier.table()),
        ),
        SchemaError::DuplicateUnqualifiedField { name } => SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column \"{}\" specified more than once", display_name(&name)),
        ),
    }
}

fn ambiguous(name: &str) -> SqlError {
    SqlError::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", display_name(name)))
}

/// The one name within a third of its length in edits, if there is one.
fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance > 0 && distance * 3 <= candidate.chars().count().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

const WINDOW_FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// The name of a type that DataFusion calls by its Arrow name.
fn type_name(arrow: &str) -> &str {
    match arrow.split('(').next().unwrap_or(arrow) {
        "Int16" => "smallint",
        "Int32" | "Int64" => "integer",
        "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "Utf8View" | "LargeUtf8" => "text",
        "Decimal128" | "Decimal256" => "numeric",
        "Date32" => "date",
        "Boolean" => "boolean",
        _ => arrow,
    }
}

/// `t.a` of a column that DataFusion calls `s.t.a`.
fn short(name: &str) -> &str {
    match name.rmatch_indices('.').nth(1) {
        Some((at, _)) => &name[at + 1..],
        None => name,
    }
}

/// The clause and the number in it that is no position of the select list.
fn outside_select_list(line: &str) -> Option<(&'static str, &str)> {
    let number = |text: &'_ str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if line.contains("rder by index starts at 1") {
        return Some(("ORDER BY", "0"));
    }
    if let Some((_, rest)) = line.split_once("rder by column out of bounds, specified: ") {
        return Some(("ORDER BY", &rest[..number(rest)]));
    }
    let (_, rest) = line.split_once("Cannot find column with position ")?;
    Some(("GROUP BY", &rest[..number(rest)]))
}

/// Operands that are of the wrong type.
fn from_types(line: &str) -> Option<SqlError> {
    let mismatch = |message: String| Some(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
    if let Some((_, given)) = line.split_once("'NOT' requires a boolean expression, got ") {
        return mismatch(format!("argument of NOT must be type boolean, not type {}", type_name(given)));
    }
    if let Some((_, operands)) = line.split_once("logical boolean operation ") {
        let (left, operator, right) = match operands.split_once(" AND ") {
            Some((left, right)) => (left, "AND", right),
            None => operands.split_once(" OR ").map(|(left, right)| (left, "OR", right))?,
        };
        let given = if left == "Boolean" { right } else { left };
        return mismatch(format!("argument of {operator} must be type boolean, not type {}", type_name(given)));
    }
    if let Some((_, predicate)) = line.split_once("create filter with non-boolean predicate '")
        && let Some((predicate, given)) = predicate.rsplit_once("' returning ")
    {
        // An integer of 64 bits is a literal until it is bound.
        let given = if given == "Int64" && !predicate.starts_with("Int64(") { "bigint" } else { type_name(given) };
        return mismatch(format!("argument of WHERE must be type boolean, not type {given}"));
    }
    let (_, given) = line.split_once("array_element does not support type ")?;
    let given = type_name(given.split('.').next().unwrap_or(given));
    mismatch(format!("cannot subscript type {given} because it does not support subscripting"))
}

/// DataFusion words planning errors as text; these are the ones a client can cause.
fn from_plan(message: &str) -> SqlError {
    let line = first_line(message);
    let has = |needle: &str| line.contains(needle);
    if has("Invalid function '") {
        let name = line.split('\'').nth(1).unwrap_or_default();
        if WINDOW_FUNCTIONS.contains(&name) {
            return SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("window function {name} requires an OVER clause"),
            );
        }
        return SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist")).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if let Some(error) = from_types(&line) {
        return error;
    }
    if has("nvalid qualifier ") {
        let table = line.rsplit_once("qualifier ").map_or("", |(_, table)| table.trim());
        return SqlError::new(SqlState::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""));
    }
    if has("or SELECT DISTINCT, ORDER BY expressions") {
        return SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
        );
    }
    if has("must appear in the GROUP BY clause")
        && let Some((_, rest)) = line.split_once("column \"")
        && let Some((name, _)) = rest.split_once("\" must appear")
    {
        return SqlError::new(
            SqlState::GROUPING_ERROR,
            format!(
                "column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                short(name)
            ),
        );
    }
    if has("must appear in the GROUP BY clause") || has("could not be resolved from available columns") {
        return SqlError::new(SqlState::GROUPING_ERROR, lower_first(&line));
    }
    if has("Correlated scalar subquery must be aggregated") {
        return SqlError::unsupported("a correlated scalar subquery must return one row by an aggregate or LIMIT 1")
            .with_hint("Use an aggregate such as max() in the subquery, or a join.");
    }
    if has("Failed to coerce arguments")
        || has("does not support zero arguments")
        || has("No function matches")
        || has("coercion from")
    {
        return SqlError::new(SqlState::UNDEFINED_FUNCTION, lower_first(&line)).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if has("Cannot infer common argument type") || has("Cannot coerce arithmetic") {
        return SqlError::new(SqlState::UNDEFINED_FUNCTION, lower_first(&line)).with_hint(
            "No operator matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if has("queries have different number of columns") || has("must have the same number of columns") {
        return SqlError::new(SqlState::SYNTAX_ERROR, "each UNION query must have the same number of columns");
    }
    if has("Inconsistent data length across values list") || has("Inconsistent data type across values list") {
        return SqlError::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length");
    }
    if has("ggregate functions are not allowed in the WHERE clause") {
        return SqlError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in WHERE")
            .with_hint("Use HAVING for a condition on groups.");
    }
    let plain = |code: SqlState| SqlError::new(code, lower_first(&line));
    if has("aggregate functions are not allowed")
        || has("Aggregate functions are not allowed")
        || has("calls cannot be nested")
    {
        return plain(SqlState::GROUPING_ERROR);
    }
    if has("cannot contain window function calls") {
        return SqlError::new(
            SqlState::GROUPING_ERROR,
            "aggregate function calls cannot contain window function calls",
        );
    }
    if has("is not in grouping columns") {
        return SqlError::new(
            SqlState::GROUPING_ERROR,
            "arguments to GROUPING must be grouping expressions of the associated query level",
        );
    }
    if has("must match initial ORDER BY") || has("must appear in select list") {
        return plain(SqlState::INVALID_COLUMN_REFERENCE);
    }
    if has("frame offsets for ROWS / GROUPS must be non negative integers") {
        return SqlError::new(
            SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE,
            "frame starting or ending offset must not be negative",
        );
    }
    if has("RANGE requires exactly one ORDER BY column") {
        return SqlError::new(
            SqlState::WINDOWING_ERROR,
            "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        );
    }
    if has("nvalid window frame") {
        return plain(SqlState::WINDOWING_ERROR);
    }
    if has("ercentile value must be between") {
        return plain(SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
    if let Some((clause, place)) = outside_select_list(&line) {
        let message = format!("{clause} position {place} is not in select list");
        return SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message);
    }
    if has("column out of bounds") || has("Cannot find column with position") || has("names given as column alias") {
        return plain(SqlState::INVALID_COLUMN_REFERENCE);
    }
    if has("specified more than once") && has("WITH query name") {
        return plain(SqlState::DUPLICATE_ALIAS);
    }
    if has("Unary operator") || has("failed to match any signature") {
        return plain(SqlState::UNDEFINED_FUNCTION);
    }
    if has("Projections require unique expression names") {
        return SqlError::new(SqlState::DUPLICATE_COLUMN, "two columns of a subquery have the same name")
            .with_detail(sentence(&line))
            .with_hint("Give the columns different names with AS.");
    }
    if has("subquery should only return one column") || has("Too many columns") {
        return SqlError::new(SqlState::SYNTAX_ERROR, "subquery must return only one column");
    }
    SqlError::new(SqlState::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION, lower_first(&line))
}

fn from_execution(message: &str) -> SqlError {
    let line = first_line(message);
    if line.contains("NTILE requires a positive integer") {
        return SqlError::new(SqlState::INVALID_ARGUMENT_FOR_NTILE, "argument of ntile must be greater than zero");
    }
    if line.contains("more than one row") {
        return SqlError::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if line.contains("Divide by zero") {
        return SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero");
    }
    if line.contains("verflow") {
        return SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range");
    }
    SqlError::new(SqlState::DATA_EXCEPTION, lower_first(&line))
}

/// What DataFusion does not plan: PostgreSQL refuses some of it too, with a code of its own.
fn from_unsupported(message: &str) -> SqlError {
    let line = first_line(message);
    if line.contains("logical expression WindowFunction") {
        return SqlError::new(SqlState::WINDOWING_ERROR, "window functions are not allowed here");
    }
    SqlError::unsupported(lower_first(&line))
}

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
