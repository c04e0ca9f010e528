//! Values as a table stores them. What is computed for a numeric without precision may have more digits than its column.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use wharf_values::SqlError;

use super::numbers;

/// The values at the type of the column that they are for. Digits after the point that the column has no room for are rounded.
///
/// # Errors
/// `22003` for a numeric of more digits before the point than the column has.
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
    // What does not fit is an error and not NULL.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, column, &strict).map_err(|error| SqlError::internal(error.to_string()))
}
