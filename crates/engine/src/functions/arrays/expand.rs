//! `information_schema._pg_expandarray`: the elements of an array with their numbers, as rows of `(x, n)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StructArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields};
use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::change::element_field;
use super::{Lists, ONE_DIMENSION, cast, make_list};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, ReturnArguments, immutable};

pub(super) const FUNCTIONS: &[Declaration] =
    &[immutable("_pg_expandarray", "anyarray -> any", expand).returning(rows_field)];

/// A list of rows.
fn rows_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let element = element_field(arguments)?.with_name("x").with_nullable(true);
    let row = DataType::Struct(Fields::from(vec![element, wharf_values::field("n", &SqlType::Integer, true)]));
    Ok(Field::new("rows", DataType::List(Arc::new(Field::new_list_field(row, true))), true))
}

fn expand(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    if lists.is_nested() {
        return Err(SqlError::unsupported("_pg_expandarray of multidimensional arrays is not supported")
            .with_hint(ONE_DIMENSION));
    }
    let DataType::List(row) = call.return_type() else {
        return Err(SqlError::internal("_pg_expandarray returns a list"));
    };
    let DataType::Struct(fields) = row.data_type() else {
        return Err(SqlError::internal("_pg_expandarray returns rows"));
    };
    let mut places: Vec<u64> = Vec::new();
    let mut numbers: Vec<i32> = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let present = call.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let range = if present { lists.range(row) } else { 0..0 };
        numbers.extend(1..=range.len() as i32);
        lengths.push(range.len());
        places.extend(range.map(|place| place as u64));
    }
    let internal = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
    let elements = take(lists.items(), &UInt64Array::from(places), None).map_err(internal)?;
    let elements = cast(&elements, fields[0].data_type())?;
    let rows = StructArray::try_new(fields.clone(), vec![elements, Arc::new(Int32Array::from(numbers))], None);
    make_list(call, Arc::new(rows.map_err(internal)?), lengths.into_iter(), call.nulls.clone())
}
