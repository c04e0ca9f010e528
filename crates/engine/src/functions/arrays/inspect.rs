//! What an array is like: dimensions, positions, what it contains.

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::Int32Type;
use std::sync::Arc;
use wharf_values::{SqlError, SqlState};

use super::{Lists, ONE_DIMENSION, at_common_type, dimensions, element_row, make_list};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable};
use crate::functions::strings::write_fmt;

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("array_length", "anyarray, int4 -> int4", array_length),
    immutable("array_upper", "anyarray, int4 -> int4", array_length),
    immutable("array_lower", "anyarray, int4 -> int4", array_lower),
    immutable("array_ndims", "anyarray -> int4", array_ndims),
    immutable("array_dims", "anyarray -> text", array_dims),
    immutable("cardinality", "anyarray -> int4", cardinality),
    immutable("array_position", "anyarray, anyelement -> int4", array_position).called_on_null(),
    immutable("array_position", "anyarray, anyelement, int4 -> int4", array_position).called_on_null(),
    immutable("array_positions", "anyarray, anyelement -> int4[]", array_positions).called_on_null(),
    immutable("arraycontains", "anyarray, anyarray -> bool", |call| contains(call, 0, 1)),
    immutable("arraycontained", "anyarray, anyarray -> bool", |call| contains(call, 1, 0)),
    immutable("arrayoverlap", "anyarray, anyarray -> bool", overlaps),
    immutable("array_ordinals", "anyarray -> int8[]", array_ordinals),
    immutable("generate_subscripts", "anyarray, int4 -> int4[]", generate_subscripts),
    immutable("generate_subscripts", "anyarray, int4, bool -> int4[]", generate_subscripts),
];

/// The size of one dimension of a row, if it has that dimension.
fn size(lists: &Lists<'_>, row: usize, dimension: i32) -> Option<i32> {
    let index = usize::try_from(dimension).ok()?.checked_sub(1)?;
    if index == 0 {
        let length = lists.range(row).len();
        return (length > 0).then_some(length as i32);
    }
    dimensions(lists.items(), lists.range(row)).get(index).map(|size| *size as i32)
}

fn array_length(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, dimension) = (Lists::new(call, 0)?, call.int4(1)?);
    call.make_optional::<Int32Type>(|row| Ok(size(&lists, row, dimension.at(row))))
}

fn array_lower(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, dimension) = (Lists::new(call, 0)?, call.int4(1)?);
    call.make_optional::<Int32Type>(|row| Ok(size(&lists, row, dimension.at(row)).map(|_| 1)))
}

fn array_ndims(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    call.make_optional::<Int32Type>(|row| {
        let count = dimensions(lists.items(), lists.range(row)).len() as i32;
        Ok((count > 0).then_some(count))
    })
}

fn array_dims(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    call.make_optional_text(|row, out| {
        let sizes = dimensions(lists.items(), lists.range(row));
        for size in &sizes {
            write_fmt(out, format_args!("[1:{size}]"))?;
        }
        Ok(!sizes.is_empty())
    })
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    call.map::<Int32Type>(|row| {
        let sizes = dimensions(lists.items(), lists.range(row));
        if sizes.is_empty() { 0 } else { sizes.iter().product::<usize>() as i32 }
    })
}

fn one_dimension(lists: &Lists<'_>) -> Result<()> {
    if lists.is_nested() {
        let message = "searching for elements in multidimensional arrays is not supported";
        return Err(SqlError::unsupported(message).with_hint(ONE_DIMENSION));
    }
    Ok(())
}

fn comparator_error(error: arrow::error::ArrowError) -> SqlError {
    SqlError::internal(error.to_string())
}

fn array_position(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    one_dimension(&lists)?;
    let element = &call.arguments[1];
    let (items, elements) = at_common_type(lists.items(), &element.array)?;
    let compare = make_comparator(&items, &elements, SortOptions::default()).map_err(comparator_error)?;
    let start = if call.len() == 3 { Some(call.int4(2)?) } else { None };
    call.make_optional::<Int32Type>(|row| {
        if lists.is_null(row) {
            return Ok(None);
        }
        let range = lists.range(row);
        let skip = match start {
            None => 0,
            Some(start) => {
                let start = start.get(row).ok_or_else(|| {
                    SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null")
                })?;
                (i64::from(start) - 1).max(0) as usize
            }
        };
        let wanted = element_row(element, row);
        let found = range.clone().skip(skip).find(|index| compare(*index, wanted).is_eq());
        Ok(found.map(|index| (index - range.start) as i32 + 1))
    })
}

fn array_positions(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    one_dimension(&lists)?;
    let element = &call.arguments[1];
    let (items, elements) = at_common_type(lists.items(), &element.array)?;
    let compare = make_comparator(&items, &elements, SortOptions::default()).map_err(comparator_error)?;
    let mut positions = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    let nulls = (0..call.rows).map(|row| !lists.is_null(row)).collect::<NullBuffer>();
    for row in 0..call.rows {
        let before = positions.len();
        if nulls.is_valid(row) {
            let range = lists.range(row);
            let wanted = element_row(element, row);
            let found = range.clone().filter(|index| compare(*index, wanted).is_eq());
            positions.extend(found.map(|index| (index - range.start) as i32 + 1));
        }
        lengths.push(positions.len() - before);
    }
    make_list(call, Arc::new(Int32Array::from(positions)), lengths.into_iter(), Some(nulls))
}

/// For each row whether `any` (or else all) of the items of one list, of whatever dimensions, are in
/// another; nulls are in none.
fn compare_lists(call: &Call<'_>, container: usize, contained: usize, any: bool) -> Result<ArrayRef> {
    let (container, contained) = (Lists::new(call, container)?, Lists::new(call, contained)?);
    let (left, right) = at_common_type(container.innermost(), contained.innermost())?;
    let compare = make_comparator(&left, &right, SortOptions::default()).map_err(comparator_error)?;
    call.make_boolean(|row| {
        let within = container.innermost_range(row);
        let found = |item: usize| {
            right.is_valid(item) && within.clone().any(|index| left.is_valid(index) && compare(index, item).is_eq())
        };
        let mut items = contained.innermost_range(row);
        Ok(if any { items.any(found) } else { items.all(found) })
    })
}

fn contains(call: &Call<'_>, container: usize, contained: usize) -> Result<ArrayRef> {
    compare_lists(call, container, contained, false)
}

fn overlaps(call: &Call<'_>) -> Result<ArrayRef> {
    compare_lists(call, 0, 1, true)
}

/// The numbers of the elements, for `WITH ORDINALITY`.
fn array_ordinals(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    let mut ordinals: Vec<i64> = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let present = call.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let length = if present { size(&lists, row, 1).unwrap_or(0) } else { 0 };
        ordinals.extend(1..=i64::from(length));
        lengths.push(length as usize);
    }
    make_list(call, Arc::new(Int64Array::from(ordinals)), lengths.into_iter(), call.nulls.clone())
}

fn generate_subscripts(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, dimension) = (Lists::new(call, 0)?, call.int4(1)?);
    let reverse = if call.len() == 3 { Some(call.boolean(2)?) } else { None };
    let mut subscripts: Vec<i32> = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let before = subscripts.len();
        if call.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let size = size(&lists, row, dimension.at(row)).unwrap_or(0);
            if reverse.is_some_and(|reverse| reverse.at(row)) {
                subscripts.extend((1..=size).rev());
            } else {
                subscripts.extend(1..=size);
            }
        }
        lengths.push(subscripts.len() - before);
    }
    make_list(call, Arc::new(Int32Array::from(subscripts)), lengths.into_iter(), call.nulls.clone())
}
