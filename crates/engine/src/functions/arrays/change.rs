//! Arrays made from arrays and elements.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MutableArrayData, UInt64Array, make_array, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, take};
use wharf_values::{SqlError, SqlState};

use super::{Lists, ONE_DIMENSION, at_common_type, cast, element_row, item_field, make_list, result_field};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("array_append", "anyarray, anyelement -> anyarray", array_append)
        .called_on_null()
        .returning(result_field),
    immutable("array_prepend", "anyelement, anyarray -> anyarray", array_prepend)
        .called_on_null()
        .returning(result_field),
    immutable("array_cat", "anyarray, anyarray -> anyarray", array_cat).called_on_null().returning(result_field),
    immutable("array_remove", "anyarray, anyelement -> anyarray", array_remove)
        .called_on_null()
        .returning(result_field),
    immutable("array_replace", "anyarray, anyelement, anyelement -> anyarray", array_replace)
        .called_on_null()
        .returning(result_field),
    immutable("array_fill", "anyelement, int4[] -> anyarray", array_fill).called_on_null().returning(fill_field),
    immutable("trim_array", "anyarray, int4 -> anyarray", trim_array).returning(first_field),
    // `a[n]` and `a[m:n]`, where nothing is before the first element.
    immutable("array_subscript", "anyarray, int4 -> anyelement", subscript).returning(element_field),
    immutable("array_subrange", "anyarray, int4, int4 -> anyarray", subrange).returning(first_field),
];

/// Items put together row by row from several arrays of one type.
struct Gathered<'a> {
    data: MutableArrayData<'a>,
    lengths: Vec<usize>,
    length: usize,
}

impl Gathered<'_> {
    fn extend(&mut self, source: usize, range: std::ops::Range<usize>) {
        self.length += range.len();
        self.data.try_extend(source, range.start, range.end).expect("a batch's items are counted in 32 bits");
    }

    fn end_row(&mut self) {
        self.lengths.push(std::mem::take(&mut self.length));
    }

    fn finish(self, call: &Call<'_>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        make_list(call, make_array(self.data.freeze()), self.lengths.into_iter(), nulls)
    }
}

/// Runs a function over the sources, brought to the type of the result's items.
fn gather(
    call: &Call<'_>,
    sources: &[&ArrayRef],
    nulls: Option<NullBuffer>,
    mut row: impl FnMut(&mut Gathered<'_>, usize) -> Result<()>,
) -> Result<ArrayRef> {
    let item = item_field(call)?;
    let sources = sources.iter().map(|source| cast(source, item.data_type())).collect::<Result<Vec<_>>>()?;
    let data = sources.iter().map(|source| source.to_data()).collect::<Vec<_>>();
    let mut gathered = Gathered {
        data: MutableArrayData::new(data.iter().collect(), false, 0),
        lengths: Vec::with_capacity(call.rows),
        length: 0,
    };
    for index in 0..call.rows {
        row(&mut gathered, index)?;
        gathered.end_row();
    }
    gathered.finish(call, nulls)
}

fn one_dimension(lists: &Lists<'_>, doing: &str) -> Result<()> {
    if lists.is_nested() {
        let message = format!("{doing} multidimensional arrays is not supported");
        return Err(SqlError::unsupported(message).with_hint(ONE_DIMENSION));
    }
    Ok(())
}

/// Which elements are added: one to each row's list, at an end.
fn add_element(call: &Call<'_>, list: usize, element: usize, before: bool) -> Result<ArrayRef> {
    let lists = Lists::new(call, list)?;
    if lists.is_nested() {
        let message = "argument must be empty or one-dimensional array";
        return Err(SqlError::new(SqlState::DATA_EXCEPTION, message));
    }
    let element = &call.arguments[element];
    gather(call, &[lists.items(), &element.array], None, |gathered, row| {
        let item = element_row(element, row);
        if before {
            gathered.extend(1, item..item + 1);
        }
        if !lists.is_null(row) {
            gathered.extend(0, lists.range(row));
        }
        if !before {
            gathered.extend(1, item..item + 1);
        }
        Ok(())
    })
}

fn array_append(call: &Call<'_>) -> Result<ArrayRef> {
    add_element(call, 0, 1, false)
}

fn array_prepend(call: &Call<'_>) -> Result<ArrayRef> {
    add_element(call, 1, 0, true)
}

fn array_cat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(call, 0)?, Lists::new(call, 1)?);
    if left.is_nested() != right.is_nested() {
        return Err(SqlError::unsupported("concatenating arrays of different dimensions is not supported")
            .with_hint("Give both as many dimensions."));
    }
    let nulls = (0..call.rows).map(|row| !(left.is_null(row) && right.is_null(row))).collect::<NullBuffer>();
    gather(call, &[left.items(), right.items()], Some(nulls), |gathered, row| {
        if !left.is_null(row) {
            gathered.extend(0, left.range(row));
        }
        if !right.is_null(row) {
            gathered.extend(1, right.range(row));
        }
        Ok(())
    })
}

fn array_remove(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    one_dimension(&lists, "removing elements from")?;
    let element = &call.arguments[1];
    let (items, elements) = at_common_type(lists.items(), &element.array)?;
    let compare = make_comparator(&items, &elements, SortOptions::default())
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let nulls = (0..call.rows).map(|row| !lists.is_null(row)).collect::<NullBuffer>();
    gather(call, &[lists.items()], Some(nulls.clone()), |gathered, row| {
        if nulls.is_valid(row) {
            let unwanted = element_row(element, row);
            for index in lists.range(row).filter(|index| compare(*index, unwanted).is_ne()) {
                gathered.extend(0, index..index + 1);
            }
        }
        Ok(())
    })
}

fn array_replace(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(call, 0)?;
    one_dimension(&lists, "replacing elements in")?;
    let (from, to) = (&call.arguments[1], &call.arguments[2]);
    let (items, elements) = at_common_type(lists.items(), &from.array)?;
    let compare = make_comparator(&items, &elements, SortOptions::default())
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let nulls = (0..call.rows).map(|row| !lists.is_null(row)).collect::<NullBuffer>();
    gather(call, &[lists.items(), &to.array], Some(nulls.clone()), |gathered, row| {
        if nulls.is_valid(row) {
            let old = element_row(from, row);
            let new = element_row(to, row);
            for index in lists.range(row) {
                if compare(index, old).is_eq() {
                    gathered.extend(1, new..new + 1);
                } else {
                    gathered.extend(0, index..index + 1);
                }
            }
        }
        Ok(())
    })
}

fn first_field(arguments: &crate::functions::overload::ReturnArguments<'_>) -> Result<arrow::datatypes::Field> {
    crate::functions::udf::same_as_argument(arguments, 0)
}

/// An array of the first argument's type.
fn fill_field(arguments: &crate::functions::overload::ReturnArguments<'_>) -> Result<arrow::datatypes::Field> {
    let one = crate::functions::overload::ReturnArguments {
        fields: &arguments.fields[..1],
        types: &arguments.types[..1],
        constants: &arguments.constants[..1],
    };
    result_field(&one)
}

fn array_fill(call: &Call<'_>) -> Result<ArrayRef> {
    const MAX_ITEMS: i32 = 134_217_727;
    let sizes = Lists::new(call, 1)?;
    let element = &call.arguments[0];
    let counts = sizes.items().as_any().downcast_ref::<arrow::array::Int32Array>();
    let counts = counts.ok_or_else(|| SqlError::internal("dimensions are integers"))?;
    gather(call, &[&element.array], None, |gathered, row| {
        let null =
            || SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null");
        if sizes.is_null(row) {
            return Err(null());
        }
        let range = sizes.range(row);
        if range.len() > 1 {
            return Err(SqlError::unsupported("array_fill of several dimensions is not supported")
                .with_hint("Give one length, as in array_fill(7, ARRAY[3])."));
        }
        let Some(size) = range.clone().next() else { return Ok(()) };
        if counts.is_null(size) {
            return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null"));
        }
        let count = counts.value(size);
        if count > MAX_ITEMS {
            let message = format!("array size exceeds the maximum allowed ({MAX_ITEMS})");
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
        }
        let item = element_row(element, row);
        for _ in 0..count {
            gathered.extend(0, item..item + 1);
        }
        Ok(())
    })
}

pub(super) fn element_field(
    arguments: &crate::functions::overload::ReturnArguments<'_>,
) -> Result<arrow::datatypes::Field> {
    first_field(arguments).map(|list| Arc::unwrap_or_clone(crate::functions::output::item_field(&list)))
}

/// The elements of all rows' arrays at one place.
fn subscript(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, index) = (Lists::new(call, 0)?, call.int4(1)?);
    let places: UInt64Array = (0..call.rows)
        .map(|row| {
            if call.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return None;
            }
            let range = lists.range(row);
            let place = usize::try_from(index.at(row)).ok()?.checked_sub(1)?;
            (place < range.len()).then(|| (range.start + place) as u64)
        })
        .collect();
    let elements = take(lists.items(), &places, None).map_err(|error| SqlError::internal(error.to_string()))?;
    cast(&elements, call.return_type())
}

fn subrange(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, first, last) = (Lists::new(call, 0)?, call.int4(1)?, call.int4(2)?);
    gather(call, &[lists.items()], call.nulls.clone(), |gathered, row| {
        if call.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(());
        }
        let range = lists.range(row);
        let from = usize::try_from(first.at(row)).unwrap_or(0).max(1) - 1;
        let to = usize::try_from(last.at(row)).unwrap_or(0).min(range.len());
        if from < to {
            gathered.extend(0, range.start + from..range.start + to);
        }
        Ok(())
    })
}

fn trim_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, count) = (Lists::new(call, 0)?, call.int4(1)?);
    gather(call, &[lists.items()], call.nulls.clone(), |gathered, row| {
        if call.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(());
        }
        let range = lists.range(row);
        match usize::try_from(count.at(row)).ok().filter(|count| *count <= range.len()) {
            Some(count) => {
                gathered.extend(0, range.start..range.end - count);
                Ok(())
            }
            None => {
                let message = format!("number of elements to trim must be between 0 and {}", range.len());
                Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message))
            }
        }
    })
}
