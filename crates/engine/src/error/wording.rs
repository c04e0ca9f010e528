//! What DataFusion says of a query in words, as what PostgreSQL says of it: the messages that a client can cause.
//!
//! What always holds: a message that is not known here keeps its words, and has the code of its kind.

use datafusion::common::SchemaError;
use wharf_values::{SqlError, SqlState};

use super::{first_line, lower_first, sentence};
use crate::bind::names::{DUPLICATE_MARK, display_name};

pub(super) fn from_schema(error: SchemaError) -> SqlError {
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
pub(super) fn from_plan(message: &str) -> SqlError {
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

pub(super) fn from_execution(message: &str) -> SqlError {
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
pub(super) fn from_unsupported(message: &str) -> SqlError {
    let line = first_line(message);
    if line.contains("logical expression WindowFunction") {
        return SqlError::new(SqlState::WINDOWING_ERROR, "window functions are not allowed here");
    }
    SqlError::unsupported(lower_first(&line))
}
