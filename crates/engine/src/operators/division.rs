//! Division of numerics: exact to [`QUOTIENT_SCALE`] digits after the point, rounded half away from zero.
//!
//! PostgreSQL chooses the digits by the size of the quotient (at least 16 significant ones, `select_div_scale` in
//! `src/backend/utils/adt/numeric.c`). An Arrow column has one scale, so the quotient keeps 20 digits (more when an
//! operand has more), and the field's metadata tells the encoders to print as many as PostgreSQL would.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, i256};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use wharf_values::mapping::NUMERIC_KEY;
use wharf_values::{SqlError, SqlState};

use crate::cast::power_of_ten;
use crate::error::to_datafusion;

/// Digits after the point of a quotient.
pub(crate) const QUOTIENT_SCALE: i8 = 20;

/// `left / right` for two decimal operands; `22012` on division by zero, `22003` past 76 digits.
pub(crate) fn divide_numeric(left: Expr, right: Expr) -> Expr {
    Arc::new(function()).call(vec![left, right])
}

/// The function of the operator.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(NumericDivision { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumericDivision {
    signature: Signature,
}

fn parts(data_type: &DataType) -> (i16, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (i16::from(*precision), *scale)
        }
        _ => (19, 0),
    }
}

/// The quotient's type: 128 bits when its whole digits are sure to fit beside the scale.
fn quotient_type(left: &DataType, right: &DataType) -> DataType {
    let ((p1, s1), (_, s2)) = (parts(left), parts(right));
    let scale = QUOTIENT_SCALE.max(s1).max(s2);
    let whole_digits = p1 - i16::from(s1) + i16::from(s2);
    if whole_digits + i16::from(scale) <= 38 {
        DataType::Decimal128(38, scale)
    } else {
        DataType::Decimal256(76, scale)
    }
}

impl ScalarUDFImpl for NumericDivision {
    fn name(&self) -> &str {
        "numeric_divide"
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{} / {}", args[0], args[1]))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(quotient_type(&arg_types[0], &arg_types[1]))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let data_type = quotient_type(args.arg_fields[0].data_type(), args.arg_fields[1].data_type());
        let metadata = HashMap::from([(NUMERIC_KEY.to_owned(), "division".to_owned())]);
        Ok(Arc::new(Field::new("quotient", data_type, true).with_metadata(metadata)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let left = args.args[0].to_array(rows)?;
        let right = args.args[1].to_array(rows)?;
        let result = divide(&left, &right, args.return_field.data_type()).map_err(to_datafusion)?;
        Ok(if all_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn divide(left: &ArrayRef, right: &ArrayRef, target: &DataType) -> Result<ArrayRef, SqlError> {
    let ((_, s1), (_, s2)) = (parts(left.data_type()), parts(right.data_type()));
    let (precision, scale) = match target {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        other => return Err(SqlError::internal(format!("{other} is not a decimal"))),
    };
    // left / 10^s1 over right / 10^s2, times 10^scale: never negative, since scale >= s1.
    let shift = power_of_ten((i16::from(scale) - i16::from(s1) + i16::from(s2)) as u8).ok_or_else(overflow)?;
    let wide = |array: &ArrayRef, scale: i8| -> Result<Decimal256Array, SqlError> {
        let array = match array.data_type() {
            DataType::Decimal256(..) => Arc::clone(array),
            _ => cast(array, &DataType::Decimal256(76, scale)).map_err(|_| overflow())?,
        };
        Ok(array.as_primitive::<Decimal256Type>().clone())
    };
    let narrow_inputs = matches!(
        (left.data_type(), right.data_type(), target),
        (DataType::Decimal128(..), DataType::Decimal128(..), DataType::Decimal128(..))
    );
    if narrow_inputs && let Some(quotients) = divide_narrow(left, right, shift)? {
        let array = quotients.with_precision_and_scale(precision, scale).map_err(|_| overflow())?;
        return Ok(Arc::new(array));
    }
    let (left, right) = (wide(left, s1)?, wide(right, s2)?);
    let quotients: Decimal256Array = left
        .iter()
        .zip(right.iter())
        .map(|pair| match pair {
            (Some(a), Some(b)) => quotient(a, b, shift).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_, SqlError>>()?;
    let wide = quotients.with_precision_and_scale(76, scale).map_err(|_| overflow())?;
    match target {
        DataType::Decimal256(..) => Ok(Arc::new(wide)),
        _ => cast(&wide, target).map_err(|_| overflow()),
    }
}

/// The same in 128 bits, where every scaled dividend fits; none otherwise.
fn divide_narrow(left: &ArrayRef, right: &ArrayRef, shift: i256) -> Result<Option<Decimal128Array>, SqlError> {
    let Some(shift) = shift.to_i128() else { return Ok(None) };
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let mut builder = Decimal128Array::builder(left.len());
    for pair in left.iter().zip(right.iter()) {
        let (Some(a), Some(b)) = pair else {
            builder.append_null();
            continue;
        };
        if b == 0 {
            return Err(division_by_zero());
        }
        let Some(scaled) = a.checked_mul(shift) else { return Ok(None) };
        let (quotient, remainder) = (scaled / b, scaled % b);
        let away = remainder.unsigned_abs() >= b.unsigned_abs().div_ceil(2);
        let sign = if (scaled < 0) == (b < 0) { 1 } else { -1 };
        builder.append_value(quotient + i128::from(away) * sign);
    }
    Ok(Some(builder.finish()))
}

fn quotient(a: i256, b: i256, shift: i256) -> Result<i256, SqlError> {
    if b == i256::ZERO {
        return Err(division_by_zero());
    }
    let scaled = a.checked_mul(shift).ok_or_else(overflow)?;
    let (quotient, remainder) = (scaled.wrapping_div(b), scaled.wrapping_rem(b));
    let twice = remainder.wrapping_abs().checked_mul(i256::from_i128(2)).ok_or_else(overflow)?;
    if twice < b.wrapping_abs() {
        return Ok(quotient);
    }
    let away = if scaled.is_negative() == b.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away).ok_or_else(overflow)
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}
