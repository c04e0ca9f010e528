//! PostgreSQL's functions (chapter 9 of its manual), aggregates aside, as DataFusion's functions.
//!
//! A module has a table of declarations: a name, a signature in the words of `pg_proc`, and the function that computes a
//! batch. [`overload`] finds the declaration a call means, by PostgreSQL's rules; [`udf`] makes one DataFusion function of
//! all declarations of a name; [`convert`] brings the arguments to the declared types; [`call`] gives the implementation
//! typed columns and builders. What always holds:
//! - The types of results, their values and the errors with their SQLSTATE are PostgreSQL 15's; the golden files in
//!   `tests/functions` were written by one.
//! - A function that DataFusion has and PostgreSQL has with the same meaning for every value (`coalesce`, `nullif`,
//!   `greatest`, `least`) is left to DataFusion; the others here replace DataFusion's of the same name.
//! - Functions know of the session only what [`FunctionContext`] says.
//!
//! Not here: aggregates and window functions, operators (the binder calls functions of this module for some), functions
//! about the catalog and the session.

mod arrays;
mod bytea;
mod call;
mod composite;
mod conditional;
mod context;
mod convert;
mod datetime;
mod decimal;
mod formatting;
mod inheritance;
pub(crate) mod json;
mod math;
mod output;
mod overload;
mod patterns;
pub(crate) mod quoting;
mod series;
mod strings;
mod udf;
mod uuid;

use std::sync::Arc;

use datafusion::catalog::TableFunctionImpl;
use datafusion::logical_expr::ScalarUDF;

pub(crate) use composite::COMPOSITE_FIELD;
pub(crate) use context::FunctionContext;
pub(crate) use overload::resolve;

use overload::Declaration;

/// All declarations.
fn declarations() -> impl Iterator<Item = &'static Declaration> {
    const SINGLE: &[&[Declaration]] = &[
        bytea::FUNCTIONS,
        composite::FUNCTIONS,
        conditional::FUNCTIONS,
        inheritance::FUNCTIONS,
        quoting::FUNCTIONS,
        series::FUNCTIONS,
        strings::FUNCTIONS,
        uuid::FUNCTIONS,
    ];
    let groups = [
        SINGLE,
        arrays::FUNCTIONS,
        datetime::FUNCTIONS,
        formatting::FUNCTIONS,
        json::FUNCTIONS,
        math::FUNCTIONS,
        patterns::FUNCTIONS,
    ];
    groups.into_iter().flatten().flat_map(|group| group.iter())
}

/// The scalar functions; they replace DataFusion's of the same name.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut names = overload::names().collect::<Vec<_>>();
    names.sort_unstable();
    names.into_iter().filter_map(udf::scalar_udf).collect()
}

/// The functions that stand in FROM with constant arguments, and their names.
pub(crate) fn table_functions() -> Vec<(String, Arc<dyn TableFunctionImpl>)> {
    vec![("generate_series".to_owned(), Arc::new(series::SeriesFunction))]
}

/// What a function that returns a set is here: functions that return arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetFunction {
    /// The arrays themselves.
    Unnest,
    /// An array, and the name the function gives to its elements, if any.
    Values { column: Option<&'static str> },
    /// An array of rows; in FROM the elements of the argument as `x`, and their numbers as `n`.
    Numbered,
    /// The functions of the keys and of the values.
    Pairs { keys: &'static str, values: &'static str },
}

/// Whether PostgreSQL's function of this name returns a set.
pub(crate) fn set_function(name: &str) -> Option<SetFunction> {
    Some(match name {
        "unnest" => SetFunction::Unnest,
        "generate_series"
        | "generate_subscripts"
        | "json_object_keys"
        | "jsonb_object_keys"
        | "regexp_matches"
        | "regexp_split_to_table"
        | "string_to_table" => SetFunction::Values { column: None },
        "json_array_elements" | "json_array_elements_text" | "jsonb_array_elements" | "jsonb_array_elements_text" => {
            SetFunction::Values { column: Some("value") }
        }
        "pg_partition_ancestors" => SetFunction::Values { column: Some("relid") },
        "_pg_expandarray" => SetFunction::Numbered,
        "json_each" => SetFunction::Pairs { keys: "json_object_keys", values: "json_object_values" },
        "jsonb_each" => SetFunction::Pairs { keys: "jsonb_object_keys", values: "jsonb_object_values" },
        "json_each_text" => SetFunction::Pairs { keys: "json_object_keys", values: "json_object_values_text" },
        "jsonb_each_text" => SetFunction::Pairs { keys: "jsonb_object_keys", values: "jsonb_object_values_text" },
        _ => return None,
    })
}

/// The names of a function's parameters, for calls with named arguments (`make_interval(days => 3)`), whose missing
/// parameters have the default 0.
pub(crate) fn parameter_names(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "make_interval" => Some(&["years", "months", "weeks", "days", "hours", "mins", "secs"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
