//! Functions on doubles, `width_bucket` of doubles, and `random`.

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{Float32Type, Float64Type, Int32Type};
use wharf_values::{SqlError, SqlState};

use crate::functions::call::{Call, Result, out_of_range};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("abs", "float4 -> float4", |call| {
        let value = call.primitive::<Float32Type>(0)?;
        call.map::<Float32Type>(|row| value.at(row).abs())
    }),
    immutable("abs", "float8 -> float8", |call| unary(call, |x| Ok(x.abs()))),
    immutable("ceil", "float8 -> float8", |call| unary(call, |x| Ok(x.ceil()))),
    immutable("ceiling", "float8 -> float8", |call| unary(call, |x| Ok(x.ceil()))),
    immutable("floor", "float8 -> float8", |call| unary(call, |x| Ok(x.floor()))),
    immutable("round", "float8 -> float8", |call| unary(call, |x| Ok(x.round_ties_even()))),
    immutable("trunc", "float8 -> float8", |call| unary(call, |x| Ok(x.trunc()))),
    immutable("sign", "float8 -> float8", |call| unary(call, |x| Ok(sign(x)))),
    immutable("sqrt", "float8 -> float8", |call| unary(call, sqrt)),
    immutable("cbrt", "float8 -> float8", |call| unary(call, |x| checked(x.cbrt(), x.is_infinite(), x == 0.0))),
    immutable("exp", "float8 -> float8", |call| unary(call, exp)),
    immutable("ln", "float8 -> float8", |call| unary(call, |x| logarithm(x, f64::ln))),
    immutable("log", "float8 -> float8", |call| unary(call, |x| logarithm(x, f64::log10))),
    immutable("log10", "float8 -> float8", |call| unary(call, |x| logarithm(x, f64::log10))),
    immutable("power", "float8, float8 -> float8", |call| binary(call, power)),
    immutable("pow", "float8, float8 -> float8", |call| binary(call, power)),
    immutable("width_bucket", "float8, float8, float8, int4 -> int4", width_bucket),
    immutable("width_bucket", "anyelement, anyarray -> int4", width_bucket_array),
    immutable("random", "-> float8", random).volatile(),
];

pub(super) fn unary(call: &Call<'_>, function: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let value = call.float8(0)?;
    call.make::<Float64Type>(|row| function(value.at(row)))
}

pub(super) fn binary(call: &Call<'_>, function: impl Fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (left, right) = (call.float8(0)?, call.float8(1)?);
    call.make::<Float64Type>(|row| function(left.at(row), right.at(row)))
}

/// A result that may be infinite or zero only where the arguments say so.
///
/// # Errors
/// `22003` for an overflow or underflow.
pub(super) fn checked(value: f64, may_be_infinite: bool, may_be_zero: bool) -> Result<f64> {
    let error = |what| Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {what}")));
    if value.is_infinite() && !may_be_infinite {
        error("overflow")
    } else if value == 0.0 && !may_be_zero {
        error("underflow")
    } else {
        Ok(value)
    }
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        // PostgreSQL gives 0 for NaN too.
        0.0
    }
}

pub(super) fn negative_root() -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, "cannot take square root of a negative number")
}

pub(super) fn logarithm_error(zero: bool) -> SqlError {
    let of = if zero { "zero" } else { "a negative number" };
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOG, format!("cannot take logarithm of {of}"))
}

pub(super) fn zero_to_negative_power() -> SqlError {
    let message = "zero raised to a negative power is undefined";
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

pub(super) fn complex_power() -> SqlError {
    let message = "a negative number raised to a non-integer power yields a complex result";
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

fn sqrt(value: f64) -> Result<f64> {
    if value < 0.0 { Err(negative_root()) } else { checked(value.sqrt(), value.is_infinite(), value == 0.0) }
}

fn exp(value: f64) -> Result<f64> {
    checked(value.exp(), value.is_infinite(), value.is_infinite())
}

fn logarithm(value: f64, function: fn(f64) -> f64) -> Result<f64> {
    if value <= 0.0 {
        return Err(logarithm_error(value == 0.0));
    }
    checked(function(value), value.is_infinite(), value == 1.0)
}

/// POSIX's `pow`, with PostgreSQL's errors.
fn power(base: f64, exponent: f64) -> Result<f64> {
    if base.is_nan() {
        return Ok(if exponent == 0.0 { 1.0 } else { base });
    }
    if exponent.is_nan() {
        return Ok(if base == 1.0 { 1.0 } else { exponent });
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(zero_to_negative_power());
    }
    if base < 0.0 && exponent.floor() != exponent {
        return Err(complex_power());
    }
    let special = base.is_infinite() || exponent.is_infinite();
    checked(base.powf(exponent), special, special || base == 0.0)
}

fn bucket_error(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, message)
}

/// The number of equal buckets between two bounds in which a value falls.
pub(super) fn bucket_count(count: i32) -> Result<i32> {
    if count <= 0 { Err(bucket_error("count must be greater than zero")) } else { Ok(count) }
}

pub(super) fn equal_bounds() -> SqlError {
    bucket_error("lower bound cannot equal upper bound")
}

fn width_bucket(call: &Call<'_>) -> Result<ArrayRef> {
    let (operand, low, high, count) = (call.float8(0)?, call.float8(1)?, call.float8(2)?, call.int4(3)?);
    call.make::<Int32Type>(|row| {
        let (operand, low, high) = (operand.at(row), low.at(row), high.at(row));
        let count = bucket_count(count.at(row))?;
        if operand.is_nan() || low.is_nan() || high.is_nan() {
            return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
        }
        if low.is_infinite() || high.is_infinite() {
            return Err(bucket_error("lower and upper bounds must be finite"));
        }
        if low == high {
            return Err(equal_bounds());
        }
        let ascending = low < high;
        let (before, after) =
            if ascending { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
        if before {
            return Ok(0);
        }
        if after {
            return count.checked_add(1).ok_or_else(|| out_of_range("integer"));
        }
        let width = high - low;
        let share = if width.is_finite() {
            (operand - low) / width
        } else {
            (operand / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
        };
        // The quotient may round to 1, which is one bucket too many.
        Ok(((f64::from(count) * share) as i32).min(count - 1) + 1)
    })
}

/// The number of thresholds, sorted, that are not above a value.
fn width_bucket_array(call: &Call<'_>) -> Result<ArrayRef> {
    let thresholds = call.list(1)?;
    let operand = &call.arguments[0];
    let values = thresholds.array.values();
    let compare = make_comparator(&operand.array, values, SortOptions::default())
        .map_err(|error| SqlError::internal(error.to_string()))?;
    call.make::<Int32Type>(|row| {
        let list = if thresholds.is_constant() { 0 } else { row };
        let value = if operand.constant { 0 } else { row };
        let offsets = thresholds.array.value_offsets();
        let (start, end) = (offsets[list] as usize, offsets[list + 1] as usize);
        if (start..end).any(|index| values.is_null(index)) {
            return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "thresholds array must not contain NULLs"));
        }
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if compare(value, middle).is_lt() { high = middle } else { low = middle + 1 }
        }
        Ok((low - start) as i32)
    })
}

fn random(call: &Call<'_>) -> Result<ArrayRef> {
    let mut bytes = vec![0_u8; call.rows * 8];
    getrandom::fill(&mut bytes).map_err(|error| SqlError::internal(format!("no random numbers: {error}")))?;
    let (words, _) = bytes.as_chunks::<8>();
    // 53 bits, so that every value below 1 is exact.
    call.map::<Float64Type>(|row| (u64::from_ne_bytes(words[row]) >> 11) as f64 / (1_u64 << 53) as f64)
}
