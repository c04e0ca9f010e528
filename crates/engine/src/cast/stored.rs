//! Values as a table stores them. What is computed for a numeric without precision may have more digits than its column.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use wharf_values::SqlError;

use super::numbers;

/// The values at the type of the column that they are for. Digits after the point that the column has no room for are rounded.
///
/// # Errors
/// `22003` for a numeric of more digits before the point than the column has, `0A000` for arrays of several dimensions.
pub(crate) fn as_stored(values: &ArrayRef, column: &DataType) -> Result<ArrayRef, SqlError> {
    if values.data_type() == column {
        return Ok(ArrayRef::clone(values));
    }
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..));
    if is_decimal(values.data_type()) && is_decimal(column) {
        return numbers::to_decimal(values, column).map_err(|error| {
            error.with_hint("Declare a precision and scale of the column, such as numeric(38,0), for larger numbers.")
        });
    }
    if is_multidimensional(values.data_type()) && !is_multidimensional(column) {
        return Err(several_dimensions());
    }
    // What does not fit is an error and not NULL.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, column, &strict).map_err(|error| SqlError::internal(error.to_string()))
}

/// Is it the type of arrays of several dimensions, which no column has?
pub(crate) fn is_multidimensional(data_type: &DataType) -> bool {
    item(data_type).and_then(item).is_some()
}

fn item(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// `0A000` for an array of several dimensions that was to be stored, as where its text is read.
pub(crate) fn several_dimensions() -> SqlError {
    SqlError::unsupported("multidimensional arrays are not supported").with_hint("Use an array of one dimension.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::ListArray;
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type};
    use wharf_values::SqlState;

    use super::*;

    #[test]
    fn an_array_of_two_dimensions_is_refused_with_a_hint() {
        let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(2)])]);
        let column = inner.data_type().clone();
        let items = Arc::new(Field::new_list_field(column.clone(), true));
        let values: ArrayRef =
            Arc::new(ListArray::new(items, OffsetBuffer::from_lengths([1]), Arc::new(inner.clone()), None));
        let error = as_stored(&values, &column).unwrap_err();
        assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(error.hint.as_deref(), Some("Use an array of one dimension."));
        let stored: ArrayRef = Arc::new(inner);
        assert_eq!(as_stored(&stored, &column).unwrap().as_ref(), stored.as_ref());
    }
}
