//! Conversions between the number types with PostgreSQL's rounding and ranges.
//!
//! numeric to integer rounds half away from zero, float to integer rounds half to even, and what does not fit is
//! `22003`, never a wrapped or cut number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Decimal256Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::DecimalType;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

/// Any number array as an integer type.
pub(super) fn to_integer(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef, SqlError> {
    let wide: PrimitiveArray<Int64Type> = match array.data_type() {
        DataType::Float32 => round_floats(array.as_primitive::<Float32Type>().iter().map(|v| v.map(f64::from)), to)?,
        DataType::Float64 => round_floats(array.as_primitive::<Float64Type>().iter(), to)?,
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            collect(
                values.iter().map(|v| v.map(|v| i64::try_from(rescale(v, *scale, 0).ok_or(())?).map_err(drop))),
                to,
            )?
        }
        DataType::Decimal256(_, scale) => {
            let values = array.as_primitive::<Decimal256Type>();
            collect(
                values.iter().map(|v| {
                    v.map(|v| {
                        let whole = rescale_wide(v, *scale, 0).and_then(i256::to_i128).ok_or(())?;
                        i64::try_from(whole).map_err(drop)
                    })
                }),
                to,
            )?
        }
        _ => cast(array, &DataType::Int64).map_err(|_| out_of_range(to))?.as_primitive::<Int64Type>().clone(),
    };
    Ok(match to {
        SqlType::SmallInt => narrow::<Int16Type>(&wide, to)?,
        SqlType::Integer => narrow::<Int32Type>(&wide, to)?,
        SqlType::Oid | SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => {
            narrow::<arrow::datatypes::UInt32Type>(&wide, to)?
        }
        _ => Arc::new(wide),
    })
}

/// `22003` in PostgreSQL's words.
pub(super) fn out_of_range(to: &SqlType) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{to} out of range"))
}

fn narrow<T>(wide: &PrimitiveArray<Int64Type>, to: &SqlType) -> Result<ArrayRef, SqlError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let narrow: PrimitiveArray<T> = wide.try_unary(|value| T::Native::try_from(value).map_err(|_| out_of_range(to)))?;
    Ok(Arc::new(narrow))
}

fn round_floats(
    values: impl Iterator<Item = Option<f64>>,
    to: &SqlType,
) -> Result<PrimitiveArray<Int64Type>, SqlError> {
    collect(
        values.map(|value| {
            value.map(|value| {
                let rounded = value.round_ties_even();
                // 2^63 itself is not representable as i64 and is the first float past it.
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                    Ok(rounded as i64)
                } else {
                    Err(())
                }
            })
        }),
        to,
    )
}

fn collect(
    values: impl Iterator<Item = Option<Result<i64, ()>>>,
    to: &SqlType,
) -> Result<PrimitiveArray<Int64Type>, SqlError> {
    values.map(Option::transpose).collect::<Result<_, ()>>().map_err(|()| out_of_range(to))
}

/// An integer or decimal array as a decimal of another precision and scale.
pub(super) fn to_decimal(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, SqlError> {
    let (precision, scale) = match target {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        other => return Err(SqlError::internal(format!("{other} is not a decimal"))),
    };
    let wide: (Decimal256Array, i8) = match array.data_type() {
        DataType::Decimal128(_, from) if matches!(target, DataType::Decimal128(..)) => {
            let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
            let values: Decimal128Array = array.as_primitive::<Decimal128Type>().try_unary(|value| {
                rescale(value, *from, scale)
                    .filter(|v| v.abs() < limit)
                    .ok_or_else(|| numeric_overflow(precision, scale))
            })?;
            return finish(values, precision, scale);
        }
        DataType::Decimal128(p, s) => {
            let widened = cast(array, &DataType::Decimal256(76, *s)).map_err(|_| numeric_overflow(*p, *s))?;
            (widened.as_primitive::<Decimal256Type>().clone(), *s)
        }
        DataType::Decimal256(_, s) => (array.as_primitive::<Decimal256Type>().clone(), *s),
        _ => {
            let widened = cast(array, &DataType::Decimal256(76, 0)).map_err(|_| numeric_overflow(precision, scale))?;
            (widened.as_primitive::<Decimal256Type>().clone(), 0)
        }
    };
    let limit = power_of_ten(precision).unwrap_or(i256::MAX);
    let (values, from) = wide;
    let scaled: Decimal256Array = values.try_unary(|value| {
        rescale_wide(value, from, scale)
            .filter(|v| v.wrapping_abs() < limit)
            .ok_or_else(|| numeric_overflow(precision, scale))
    })?;
    if matches!(target, DataType::Decimal256(..)) {
        return finish(scaled, precision, scale);
    }
    let values: Decimal128Array = scaled
        .iter()
        .map(|value| value.map(|v| v.to_i128().ok_or_else(|| numeric_overflow(precision, scale))).transpose())
        .collect::<Result<_, _>>()?;
    finish(values, precision, scale)
}

fn finish<T: DecimalType + ArrowPrimitiveType>(
    values: PrimitiveArray<T>,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, SqlError> {
    values
        .with_precision_and_scale(precision, scale)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|_| numeric_overflow(precision, scale))
}

fn numeric_overflow(precision: u8, scale: i8) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {}.",
        match i16::from(precision) - i16::from(scale) {
            0 => "1".to_owned(),
            digits => format!("10^{digits}"),
        }
    ))
}

/// A decimal at another scale, rounded half away from zero; none when it does not fit 128 bits.
fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    if to >= from {
        return value.checked_mul(10_i128.checked_pow(u32::from((to - from).unsigned_abs()))?);
    }
    let Some(divisor) = 10_i128.checked_pow(u32::from((from - to).unsigned_abs())) else { return Some(0) };
    let (quotient, remainder) = (value / divisor, value % divisor);
    let away = i128::from(remainder.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2));
    Some(quotient + away * value.signum())
}

fn rescale_wide(value: i256, from: i8, to: i8) -> Option<i256> {
    if to >= from {
        return value.checked_mul(power_of_ten((to - from).unsigned_abs())?);
    }
    let Some(divisor) = power_of_ten((from - to).unsigned_abs()) else { return Some(i256::ZERO) };
    let (quotient, remainder) = (value.wrapping_div(divisor), value.wrapping_rem(divisor));
    if remainder.wrapping_abs().checked_mul(i256::from_i128(2))? >= divisor {
        return quotient.checked_add(if value.is_negative() { i256::MINUS_ONE } else { i256::ONE });
    }
    Some(quotient)
}

/// Ten to a power, where 256 bits hold it.
pub(crate) fn power_of_ten(exponent: u8) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::from(exponent))
}
