//! Exact functions on numerics: rounding, remainders, scales.
//!
//! What always holds: the type of a result depends on the types of the arguments and on constant scales alone; where
//! PostgreSQL's scale depends on a value that only a row knows, the result is printed without trailing zeros.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Int32Type};
use wharf_catalog::SqlType;
use wharf_values::NumericDisplay;
use wharf_values::mapping::NUMERIC_KEY;

use super::float::{bucket_count, equal_bounds};
use super::integer::greatest_common_divisor;
use crate::functions::call::{Call, Result, division_by_zero, out_of_range};
use crate::functions::convert::converted_type;
use crate::functions::decimal::{self, MAX_PRECISION, divide_rounding, power_of_ten, rescale};
use crate::functions::overload::{Declaration, ReturnArguments, immutable};
use crate::functions::udf::same_as_argument;

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("abs", "numeric -> numeric", abs).returning(|arguments| same_as_argument(arguments, 0)),
    immutable("sign", "numeric -> numeric", sign).returning(|_| Ok(decimal_field(1, 0))),
    immutable("ceil", "numeric -> numeric", |call| to_whole(call, ceiling)).returning(whole_field),
    immutable("ceiling", "numeric -> numeric", |call| to_whole(call, ceiling)).returning(whole_field),
    immutable("floor", "numeric -> numeric", |call| to_whole(call, floor)).returning(whole_field),
    immutable("round", "numeric -> numeric", |call| to_whole(call, divide_rounding)).returning(whole_field),
    immutable("trunc", "numeric -> numeric", |call| to_whole(call, truncate)).returning(whole_field),
    immutable("round", "numeric, int4 -> numeric", |call| to_scale(call, divide_rounding)).returning(scale_field),
    immutable("trunc", "numeric, int4 -> numeric", |call| to_scale(call, truncate)).returning(scale_field),
    immutable("mod", "numeric, numeric -> numeric", modulo).returning(common_field),
    immutable("div", "numeric, numeric -> numeric", div).returning(|_| Ok(decimal_field(MAX_PRECISION, 0))),
    immutable("gcd", "numeric, numeric -> numeric", gcd).returning(common_field),
    immutable("lcm", "numeric, numeric -> numeric", lcm).returning(common_field),
    immutable("scale", "numeric -> int4", scale),
    immutable("min_scale", "numeric -> int4", min_scale),
    immutable("trim_scale", "numeric -> numeric", trim_scale).returning(|arguments| {
        same_as_argument(arguments, 0).map(|field| trimmed(Field::new("trim_scale", field.data_type().clone(), true)))
    }),
    immutable("width_bucket", "numeric, numeric, numeric, int4 -> int4", width_bucket),
];

pub(super) fn decimal_field(precision: u8, scale: i8) -> Field {
    Field::new("numeric", DataType::Decimal128(precision.clamp(1, MAX_PRECISION), scale), true)
}

/// The same field, printed without trailing zeros.
pub(super) fn trimmed(field: Field) -> Field {
    field.with_metadata(HashMap::from([(NUMERIC_KEY.to_owned(), "trim".to_owned())]))
}

/// Precision and scale that an argument has after its conversion to numeric.
fn shape(arguments: &ReturnArguments<'_>, index: usize) -> (u8, i8) {
    match arguments.fields.get(index).map(|field| converted_type(field, &SqlType::Numeric(None))) {
        Some(DataType::Decimal128(precision, scale)) => (precision, scale),
        _ => (MAX_PRECISION, wharf_values::mapping::UNCONSTRAINED_SCALE),
    }
}

/// A whole number has one digit more than its argument had before the point, for rounding up.
fn whole_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let (precision, scale) = shape(arguments, 0);
    Ok(decimal_field((precision as i8 - scale).max(0) as u8 + 1, 0))
}

fn scale_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let (precision, scale) = shape(arguments, 0);
    let whole = (precision as i8 - scale).max(0) as u8 + 1;
    match arguments.integer(1) {
        Some(wanted) => {
            // More zeros than there is room for are left off, as a value is worth more than they are.
            let room = i64::from(MAX_PRECISION.saturating_sub(whole));
            let scale = wanted.clamp(0, room.max(i64::from(scale).min(wanted.max(0)))) as i8;
            Ok(decimal_field(whole.saturating_add(scale as u8), scale))
        }
        None => Ok(trimmed(decimal_field(whole.saturating_add(scale as u8), scale))),
    }
}

fn common_field(arguments: &ReturnArguments<'_>) -> Result<Field> {
    let (left, right) = (shape(arguments, 0), shape(arguments, 1));
    let scale = left.1.max(right.1);
    let field = decimal_field(MAX_PRECISION, scale);
    let trims = arguments.fields.iter().any(|field| NumericDisplay::of(field) != NumericDisplay::Scale);
    Ok(if trims { trimmed(field) } else { field })
}

fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, scale) = call.numeric(0)?;
    call.make_numeric(|row| Ok(Some((value.at(row).abs(), scale))))
}

fn sign(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, _) = call.numeric(0)?;
    call.make_numeric(|row| Ok(Some((value.at(row).signum(), 0))))
}

fn floor(value: i128, digits: u32) -> i128 {
    if digits > 38 { -i128::from(value < 0) } else { value.div_euclid(power_of_ten(digits)) }
}

fn ceiling(value: i128, digits: u32) -> i128 {
    -floor(-value, digits)
}

fn truncate(value: i128, digits: u32) -> i128 {
    if digits > 38 { 0 } else { value / power_of_ten(digits) }
}

fn to_whole(call: &Call<'_>, drop: fn(i128, u32) -> i128) -> Result<ArrayRef> {
    let (value, scale) = call.numeric(0)?;
    let digits = scale.max(0) as u32;
    call.make_numeric(|row| Ok(Some((drop(value.at(row), digits), 0))))
}

fn to_scale(call: &Call<'_>, drop: fn(i128, u32) -> i128) -> Result<ArrayRef> {
    let ((value, has), wanted) = (call.numeric(0)?, call.int4(1)?);
    call.make_numeric(|row| {
        let (value, wanted) = (value.at(row), wanted.at(row).clamp(-100, 100));
        let digits = i32::from(has) - wanted;
        if digits <= 0 {
            return Ok(Some((value, has)));
        }
        let rounded = drop(value, digits.unsigned_abs());
        // Left of the point the digits that were dropped become zeros.
        if wanted >= 0 {
            return Ok(Some((rounded, wanted as i8)));
        }
        if rounded == 0 {
            return Ok(Some((0, 0)));
        }
        let zeros = wanted.unsigned_abs();
        let whole = if zeros > 38 { None } else { rounded.checked_mul(power_of_ten(zeros)) };
        whole.map(|whole| Some((whole, 0))).ok_or_else(decimal::overflow)
    })
}

/// Two numerics at one scale.
fn aligned(left: (i128, i8), right: (i128, i8)) -> Result<(i128, i128, i8)> {
    let scale = left.1.max(right.1);
    rescale(left.0, left.1, scale)
        .zip(rescale(right.0, right.1, scale))
        .map(|(left, right)| (left, right, scale))
        .ok_or_else(decimal::overflow)
}

fn with_aligned(call: &Call<'_>, function: impl Fn(i128, i128, i8) -> Result<(i128, i8)>) -> Result<ArrayRef> {
    let ((left, left_scale), (right, right_scale)) = (call.numeric(0)?, call.numeric(1)?);
    call.make_numeric(|row| {
        let (left, right, scale) = aligned((left.at(row), left_scale), (right.at(row), right_scale))?;
        function(left, right, scale).map(Some)
    })
}

fn modulo(call: &Call<'_>) -> Result<ArrayRef> {
    with_aligned(call, |left, right, scale| match right {
        0 => Err(division_by_zero()),
        right => Ok((left % right, scale)),
    })
}

fn div(call: &Call<'_>) -> Result<ArrayRef> {
    with_aligned(call, |left, right, _| match right {
        0 => Err(division_by_zero()),
        right => Ok((left / right, 0)),
    })
}

fn gcd(call: &Call<'_>) -> Result<ArrayRef> {
    with_aligned(call, |left, right, scale| Ok((greatest_common_divisor(left, right), scale)))
}

fn lcm(call: &Call<'_>) -> Result<ArrayRef> {
    with_aligned(call, |left, right, scale| {
        if left == 0 || right == 0 {
            return Ok((0, scale));
        }
        let product = (left / greatest_common_divisor(left, right)).checked_mul(right);
        product.map(|product| (product.abs(), scale)).ok_or_else(decimal::overflow)
    })
}

/// The digits after the point without trailing zeros.
fn significant_scale(value: i128, scale: i8) -> i8 {
    let (mut value, mut scale) = (value, scale);
    if value == 0 {
        return 0;
    }
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    scale
}

fn scale(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, scale) = call.numeric(0)?;
    let exact = NumericDisplay::of(&call.fields[0]) == NumericDisplay::Scale;
    call.map::<Int32Type>(|row| i32::from(if exact { scale } else { significant_scale(value.at(row), scale) }))
}

fn min_scale(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, scale) = call.numeric(0)?;
    call.map::<Int32Type>(|row| i32::from(significant_scale(value.at(row), scale)))
}

fn trim_scale(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, scale) = call.numeric(0)?;
    call.make_numeric(|row| Ok(Some((value.at(row), scale))))
}

fn width_bucket(call: &Call<'_>) -> Result<ArrayRef> {
    let ((operand, operand_scale), (low, low_scale), (high, high_scale)) =
        (call.numeric(0)?, call.numeric(1)?, call.numeric(2)?);
    let count = call.int4(3)?;
    let scale = operand_scale.max(low_scale).max(high_scale);
    call.make::<Int32Type>(|row| {
        let count = bucket_count(count.at(row))?;
        let at = |value, has| rescale(value, has, scale).ok_or_else(decimal::overflow);
        let operand = at(operand.at(row), operand_scale)?;
        let (low, high) = (at(low.at(row), low_scale)?, at(high.at(row), high_scale)?);
        if low == high {
            return Err(equal_bounds());
        }
        // Descending bounds count from the upper one.
        let sign = if low < high { 1 } else { -1 };
        if (operand - low) * sign < 0 {
            return Ok(0);
        }
        if (operand - high) * sign >= 0 {
            return count.checked_add(1).ok_or_else(|| out_of_range("integer"));
        }
        let share = ((operand - low) * sign).checked_mul(i128::from(count)).ok_or_else(decimal::overflow)?;
        Ok((share / ((high - low) * sign)) as i32 + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_directions() {
        assert_eq!((floor(-15, 1), ceiling(-15, 1), truncate(-15, 1)), (-2, -1, -1));
        assert_eq!((floor(15, 1), ceiling(15, 1), divide_rounding(15, 1)), (1, 2, 2));
        assert_eq!((floor(-1, 39), ceiling(1, 39)), (-1, 1));
        assert_eq!(significant_scale(1200, 3), 1);
    }
}
