//! Array functions (chapter 9.19 of PostgreSQL's manual).
//!
//! What always holds: an array is Arrow's list, one of several dimensions a list of lists; subscripts begin at 1. What
//! PostgreSQL refuses for arrays of several dimensions is refused here; what it could do with them and Wharf cannot is
//! `0A000`. Functions that return sets return an array here, which the binder unnests.

mod change;
mod expand;
mod inspect;
mod text;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::call::{Argument, Call, Result, list_offset};
use super::convert::converted_type;
use super::decimal::MAX_PRECISION;
use super::overload::{Declaration, ReturnArguments};

pub(super) const FUNCTIONS: &[&[Declaration]] =
    &[change::FUNCTIONS, expand::FUNCTIONS, inspect::FUNCTIONS, text::FUNCTIONS];

/// The hint where an array of several dimensions is one too many.
const ONE_DIMENSION: &str = "Use an array of one dimension.";

/// A list argument: row by row a range of one array of items.
struct Lists<'a> {
    list: &'a ListArray,
    step: usize,
}

impl<'a> Lists<'a> {
    fn new(call: &'a Call<'_>, index: usize) -> Result<Lists<'a>> {
        let column = call.list(index)?;
        Ok(Lists { list: column.array, step: usize::from(!column.is_constant()) })
    }

    fn is_null(&self, row: usize) -> bool {
        self.list.is_null(row * self.step)
    }

    /// The items of a row, as a range of [`Lists::items`].
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.list.value_offsets();
        let row = row * self.step;
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn items(&self) -> &'a ArrayRef {
        self.list.values()
    }

    /// The items that are no lists.
    fn innermost(&self) -> &'a ArrayRef {
        let mut items = self.items();
        while let Some(inner) = items.as_any().downcast_ref::<ListArray>() {
            items = inner.values();
        }
        items
    }

    /// The items of a row that are no lists, as a range of [`Lists::innermost`].
    fn innermost_range(&self, row: usize) -> std::ops::Range<usize> {
        let mut range = self.range(row);
        let mut items = self.items();
        while let Some(inner) = items.as_any().downcast_ref::<ListArray>() {
            let offsets = inner.value_offsets();
            range = offsets[range.start] as usize..offsets[range.end] as usize;
            items = inner.values();
        }
        range
    }

    /// Whether the items are lists themselves.
    fn is_nested(&self) -> bool {
        matches!(self.items().data_type(), DataType::List(_))
    }
}

/// Which row of an argument's array a row of the call is.
fn element_row(argument: &Argument, row: usize) -> usize {
    if argument.constant { 0 } else { row }
}

/// Two arrays of items at one type, so that they can be compared or put together.
fn at_common_type(left: &ArrayRef, right: &ArrayRef) -> Result<(ArrayRef, ArrayRef)> {
    if left.data_type() == right.data_type() {
        return Ok((Arc::clone(left), Arc::clone(right)));
    }
    let common = match (left.data_type(), right.data_type()) {
        (DataType::Decimal128(_, left), DataType::Decimal128(_, right)) => {
            DataType::Decimal128(MAX_PRECISION, *left.max(right))
        }
        (left, _) => left.clone(),
    };
    Ok((cast(left, &common)?, cast(right, &common)?))
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options)
        .map_err(|error| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, error.to_string()))
}

/// The type of an array made of the polymorphic arguments: that of their items, decimals at the largest scale.
fn result_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let mut item: Option<Field> = None;
    for (field, ty) in arguments.fields.iter().zip(arguments.types) {
        let candidate = match (converted_type(field, ty), ty) {
            (DataType::List(inner), _) => Field::clone(&inner),
            // Arguments that are not of the polymorphic type are integers here.
            (data_type, ty) => {
                Field::new_list_field(data_type, true).with_metadata(wharf_values::mapping::metadata(ty))
            }
        };
        item = Some(match item {
            None => candidate,
            Some(old) => match (old.data_type(), candidate.data_type()) {
                (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) if (p, s) != (q, t) => {
                    old.clone().with_data_type(DataType::Decimal128(MAX_PRECISION, *s.max(t)))
                }
                (DataType::Null, _) => candidate,
                // An array of arrays with an array of the same dimensions.
                (_, DataType::List(_)) if !matches!(old.data_type(), DataType::List(_)) => candidate,
                _ => old,
            },
        });
    }
    let item = item.unwrap_or_else(|| Field::new_list_field(DataType::Utf8View, true));
    let metadata = match arguments.types.iter().find(|ty| matches!(ty, SqlType::Array(_))) {
        Some(ty) => wharf_values::mapping::metadata(ty),
        None => Default::default(),
    };
    let item = Field::new_list_field(item.data_type().clone(), true).with_metadata(item.metadata().clone());
    Ok(Field::new("array", DataType::List(Arc::new(item)), true).with_metadata(metadata))
}

/// The item field that the promised type has.
fn item_field(call: &Call<'_>) -> Result<Arc<Field>> {
    match call.return_type() {
        DataType::List(item) => Ok(Arc::clone(item)),
        other => Err(SqlError::internal(format!("function {} returns {other}", call.name))),
    }
}

/// A list array of the promised type from its items and the number of items in each row.
fn make_list(
    call: &Call<'_>,
    items: ArrayRef,
    lengths: impl Iterator<Item = usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let mut offsets = vec![0_i32];
    let mut end = 0;
    for length in lengths {
        end += length;
        offsets.push(list_offset(end)?);
    }
    let list = ListArray::try_new(item_field(call)?, OffsetBuffer::new(offsets.into()), items, nulls);
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| SqlError::internal(error.to_string()))
}

/// The number of dimensions of a value, 0 for an empty array; what its first items show, as all have one shape.
fn dimensions(items: &ArrayRef, range: std::ops::Range<usize>) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut items = Arc::clone(items);
    let mut range = range;
    loop {
        if range.is_empty() {
            // An array without items has no dimensions at all.
            return if sizes.is_empty() { Vec::new() } else { sizes };
        }
        sizes.push(range.len());
        let Some(inner) = items.as_any().downcast_ref::<ListArray>() else { return sizes };
        let offsets = inner.value_offsets();
        range = offsets[range.start] as usize..offsets[range.start + 1] as usize;
        items = Arc::clone(inner.values());
    }
}
