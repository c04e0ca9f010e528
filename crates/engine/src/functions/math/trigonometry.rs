//! Trigonometric functions, in radians and in degrees.
//!
//! What always holds: functions of degrees are exact where the result is (`sind(30)` is 0.5), by PostgreSQL's method: each
//! is reduced to a range in which one known value scales the C library's result.

use arrow::datatypes::Float64Type;
use wharf_values::{SqlError, SqlState};

use super::float::{binary, checked, unary};
use crate::functions::call::Result;
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("pi", "-> float8", |call| call.map::<Float64Type>(|_| std::f64::consts::PI)),
    immutable("degrees", "float8 -> float8", |call| {
        unary(call, |x| checked(x / RADIANS_PER_DEGREE, x.is_infinite(), true))
    }),
    immutable("radians", "float8 -> float8", |call| {
        unary(call, |x| checked(x * RADIANS_PER_DEGREE, x.is_infinite(), true))
    }),
    immutable("sin", "float8 -> float8", |call| unary(call, |x| finite(x, f64::sin))),
    immutable("cos", "float8 -> float8", |call| unary(call, |x| finite(x, f64::cos))),
    immutable("tan", "float8 -> float8", |call| unary(call, |x| finite(x, f64::tan))),
    immutable("cot", "float8 -> float8", |call| unary(call, |x| finite(x, |x| 1.0 / x.tan()))),
    immutable("asin", "float8 -> float8", |call| unary(call, |x| unit(x, f64::asin))),
    immutable("acos", "float8 -> float8", |call| unary(call, |x| unit(x, f64::acos))),
    immutable("atan", "float8 -> float8", |call| unary(call, |x| Ok(x.atan()))),
    immutable("atan2", "float8, float8 -> float8", |call| binary(call, |y, x| Ok(y.atan2(x)))),
    immutable("sinh", "float8 -> float8", |call| unary(call, |x| Ok(x.sinh()))),
    immutable("cosh", "float8 -> float8", |call| unary(call, |x| Ok(x.cosh()))),
    immutable("tanh", "float8 -> float8", |call| unary(call, |x| Ok(x.tanh()))),
    immutable("asinh", "float8 -> float8", |call| unary(call, |x| Ok(asinh(x)))),
    immutable("acosh", "float8 -> float8", |call| unary(call, acosh)),
    immutable("atanh", "float8 -> float8", |call| unary(call, atanh)),
    immutable("sind", "float8 -> float8", |call| unary(call, |x| finite(x, sind))),
    immutable("cosd", "float8 -> float8", |call| unary(call, |x| finite(x, cosd))),
    immutable("tand", "float8 -> float8", |call| unary(call, |x| finite(x, tand))),
    immutable("cotd", "float8 -> float8", |call| unary(call, |x| finite(x, cotd))),
    immutable("asind", "float8 -> float8", |call| unary(call, |x| unit(x, asind))),
    immutable("acosd", "float8 -> float8", |call| unary(call, |x| unit(x, acosd))),
    immutable("atand", "float8 -> float8", |call| unary(call, |x| Ok(x.atan() / ATAN_1 * 45.0))),
    immutable("atan2d", "float8, float8 -> float8", |call| binary(call, |y, x| Ok(y.atan2(x) / ATAN_1 * 45.0))),
];

const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;
const ATAN_1: f64 = std::f64::consts::FRAC_PI_4;

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

/// A function of a finite angle.
fn finite(angle: f64, function: impl Fn(f64) -> f64) -> Result<f64> {
    if angle.is_infinite() { Err(out_of_range()) } else { Ok(function(angle)) }
}

/// A function of a number between -1 and 1.
fn unit(value: f64, function: impl Fn(f64) -> f64) -> Result<f64> {
    if !value.is_nan() && !(-1.0..=1.0).contains(&value) { Err(out_of_range()) } else { Ok(function(value)) }
}

// The C library's hyperbolic inverses, which PostgreSQL calls, are not in the standard library in the same precision;
// these formulas are glibc's own.

fn asinh(value: f64) -> f64 {
    let size = value.abs();
    if !size.is_finite() || size < 3.725_290_298_461_914e-9 {
        return value;
    }
    let result = if size > 268_435_456.0 {
        size.ln() + std::f64::consts::LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((value * value + 1.0).sqrt() + size)).ln()
    } else {
        let square = value * value;
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    result.copysign(value)
}

fn acosh(value: f64) -> Result<f64> {
    if value < 1.0 {
        return Err(out_of_range());
    }
    Ok(if value > 268_435_456.0 {
        if value.is_infinite() { value } else { value.ln() + std::f64::consts::LN_2 }
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    })
}

fn atanh(value: f64) -> Result<f64> {
    if value == 1.0 || value == -1.0 {
        return Ok(f64::INFINITY.copysign(value));
    }
    unit(value, |value| {
        let size = value.abs();
        let result = if size < 0.5 {
            if size < 3.725_290_298_461_914e-9 {
                return value;
            }
            let double = size + size;
            0.5 * (double + double * size / (1.0 - size)).ln_1p()
        } else {
            0.5 * ((size + size) / (1.0 - size)).ln_1p()
        };
        result.copysign(value)
    })
}

fn sin_30() -> f64 {
    (30.0 * RADIANS_PER_DEGREE).sin()
}

fn one_minus_cos_60() -> f64 {
    1.0 - (60.0 * RADIANS_PER_DEGREE).cos()
}

/// The sine of 0 to 30 degrees.
fn sine_to_30(degrees: f64) -> f64 {
    (degrees * RADIANS_PER_DEGREE).sin() / sin_30() / 2.0
}

/// The cosine of 0 to 60 degrees.
fn cosine_to_60(degrees: f64) -> f64 {
    1.0 - (1.0 - (degrees * RADIANS_PER_DEGREE).cos()) / one_minus_cos_60() / 2.0
}

fn sine_to_90(degrees: f64) -> f64 {
    if degrees <= 30.0 { sine_to_30(degrees) } else { cosine_to_60(90.0 - degrees) }
}

fn cosine_to_90(degrees: f64) -> f64 {
    if degrees <= 60.0 { cosine_to_60(degrees) } else { sine_to_30(90.0 - degrees) }
}

fn sind(degrees: f64) -> f64 {
    let mut angle = degrees % 360.0;
    let mut sign = 1.0;
    if angle < 0.0 {
        angle = -angle;
        sign = -sign;
    }
    if angle > 180.0 {
        angle = 360.0 - angle;
        sign = -sign;
    }
    if angle > 90.0 {
        angle = 180.0 - angle;
    }
    sign * sine_to_90(angle)
}

fn cosd(degrees: f64) -> f64 {
    let mut angle = (degrees % 360.0).abs();
    let mut sign = 1.0;
    if angle > 180.0 {
        angle = 360.0 - angle;
    }
    if angle > 90.0 {
        angle = 180.0 - angle;
        sign = -sign;
    }
    sign * cosine_to_90(angle)
}

/// The angle within a quarter, and the sign that the tangent has there.
fn tangent_quarter(degrees: f64) -> (f64, f64) {
    let mut angle = degrees % 360.0;
    let mut sign = 1.0;
    if angle < 0.0 {
        angle = -angle;
        sign = -sign;
    }
    if angle > 180.0 {
        angle = 360.0 - angle;
        sign = -sign;
    }
    if angle > 90.0 {
        angle = 180.0 - angle;
        sign = -sign;
    }
    (angle, sign)
}

fn tand(degrees: f64) -> f64 {
    let (angle, sign) = tangent_quarter(degrees);
    let tan_45 = sine_to_90(45.0) / cosine_to_90(45.0);
    let result = sign * (sine_to_90(angle) / cosine_to_90(angle) / tan_45);
    // Not the negative zero.
    if result == 0.0 { 0.0 } else { result }
}

fn cotd(degrees: f64) -> f64 {
    let (angle, sign) = tangent_quarter(degrees);
    let cot_45 = cosine_to_90(45.0) / sine_to_90(45.0);
    let result = sign * (cosine_to_90(angle) / sine_to_90(angle) / cot_45);
    if result == 0.0 { 0.0 } else { result }
}

/// The arc sine of 0 to 1.
fn arc_sine(value: f64) -> f64 {
    if value <= 0.5 { value.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - value.acos() / 0.5_f64.acos() * 60.0 }
}

/// The arc cosine of 0 to 1.
fn arc_cosine(value: f64) -> f64 {
    if value <= 0.5 { 90.0 - value.asin() / 0.5_f64.asin() * 30.0 } else { value.acos() / 0.5_f64.acos() * 60.0 }
}

fn asind(value: f64) -> f64 {
    if value >= 0.0 { arc_sine(value) } else { -arc_sine(-value) }
}

fn acosd(value: f64) -> f64 {
    if value >= 0.0 { arc_cosine(value) } else { 90.0 + arc_sine(-value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_exact_where_the_result_is() {
        assert_eq!([sind(30.0), sind(90.0), sind(180.0), sind(-30.0)], [0.5, 1.0, 0.0, -0.5]);
        assert_eq!([cosd(60.0), cosd(90.0), cosd(0.0)], [0.5, 0.0, 1.0]);
        assert_eq!([tand(45.0), cotd(45.0), tand(-45.0)], [1.0, 1.0, -1.0]);
        assert_eq!([asind(0.5), acosd(0.5), acosd(-0.5)], [30.0, 60.0, 120.0]);
    }
}
