//! Roots, logarithms and powers of numerics.
//!
//! What always holds: a result is the exact one rounded half away from zero to the number of digits PostgreSQL chooses
//! from the arguments (at least 16 significant ones). For constant arguments the type of the result has that scale, so
//! that it prints as PostgreSQL prints it; for columns the type has a scale that suits the function, and trailing zeros
//! are not printed.

use std::sync::OnceLock;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use num_bigint::{BigInt, Sign};
use num_traits::{One, Signed, ToPrimitive, Zero};
use wharf_values::NumericDisplay;

use super::float::{complex_power, logarithm_error, negative_root, zero_to_negative_power};
use super::numeric::{decimal_field, trimmed};
use crate::functions::call::{Call, Result};
use crate::functions::decimal::{self, MAX_PRECISION, digits};
use crate::functions::overload::{Declaration, ReturnArguments, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("sqrt", "numeric -> numeric", |call| unary(call, sqrt)).returning(|a| field(a, 18, |a| sqrt(a[0]))),
    immutable("exp", "numeric -> numeric", |call| unary(call, exp)).returning(|a| field(a, 18, |a| exp(a[0]))),
    immutable("ln", "numeric -> numeric", |call| unary(call, ln)).returning(|a| field(a, 30, |a| ln(a[0]))),
    immutable("log", "numeric -> numeric", |call| unary(call, log10)).returning(|a| field(a, 30, |a| log10(a[0]))),
    immutable("log10", "numeric -> numeric", |call| unary(call, log10)).returning(|a| field(a, 30, |a| log10(a[0]))),
    immutable("log", "numeric, numeric -> numeric", |call| binary(call, log))
        .returning(|a| field(a, 28, |a| log(a[0], a[1]))),
    immutable("power", "numeric, numeric -> numeric", |call| binary(call, power))
        .returning(|a| field(a, 18, |a| power(a[0], a[1]))),
    immutable("pow", "numeric, numeric -> numeric", |call| binary(call, power))
        .returning(|a| field(a, 18, |a| power(a[0], a[1]))),
];

/// A numeric: its digits, and how many of them are after the point.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number {
    value: i128,
    scale: i8,
}

/// A result: digits and scale, before it is known whether a numeric has room for it.
type Rounded = (BigInt, u32);

fn field(
    arguments: &ReturnArguments<'_>,
    scale_of_columns: i8,
    function: impl Fn(&[Number]) -> Result<Rounded>,
) -> Result<Field> {
    let constants = arguments.constants.iter().map(|value| constant(*value)).collect::<Option<Vec<_>>>();
    let Some(constants) = constants.filter(|constants| !constants.is_empty()) else {
        return Ok(trimmed(decimal_field(MAX_PRECISION, scale_of_columns)));
    };
    // An error is raised when the function runs, not when its type is asked for.
    let scale = function(&constants).map_or(scale_of_columns, |(value, scale)| {
        let all = value.abs().to_string().len() as u32;
        let whole = all.saturating_sub(scale);
        scale.min(u32::from(MAX_PRECISION).saturating_sub(whole)) as i8
    });
    Ok(decimal_field(MAX_PRECISION, scale))
}

fn constant(value: Option<&ScalarValue>) -> Option<Number> {
    Some(match value? {
        ScalarValue::Decimal128(Some(value), _, scale) => Number { value: *value, scale: *scale },
        ScalarValue::Int16(Some(value)) => Number { value: i128::from(*value), scale: 0 },
        ScalarValue::Int32(Some(value)) => Number { value: i128::from(*value), scale: 0 },
        ScalarValue::Int64(Some(value)) => Number { value: i128::from(*value), scale: 0 },
        _ => return None,
    })
}

/// The numbers of an argument, with the scale that PostgreSQL would know of each.
fn numbers<'a>(call: &'a Call<'_>, index: usize) -> Result<impl Fn(usize) -> Number + 'a> {
    let (column, scale) = call.numeric(index)?;
    let trims = NumericDisplay::of(&call.fields[index]) != NumericDisplay::Scale;
    Ok(move |row| {
        let mut number = Number { value: column.at(row), scale };
        while trims && number.scale > 0 && number.value % 10 == 0 {
            number.value /= 10;
            number.scale -= 1;
        }
        number
    })
}

fn unary(call: &Call<'_>, function: impl Fn(Number) -> Result<Rounded>) -> Result<ArrayRef> {
    let number = numbers(call, 0)?;
    call.make_numeric(|row| function(number(row)).and_then(narrow).map(Some))
}

fn binary(call: &Call<'_>, function: impl Fn(Number, Number) -> Result<Rounded>) -> Result<ArrayRef> {
    let (left, right) = (numbers(call, 0)?, numbers(call, 1)?);
    call.make_numeric(|row| function(left(row), right(row)).and_then(narrow).map(Some))
}

/// A result in 38 digits; digits after the point that have no room are rounded off.
fn narrow((value, scale): Rounded) -> Result<(i128, i8)> {
    let excess = (value.abs().to_string().len() as u32).saturating_sub(u32::from(MAX_PRECISION));
    let drop = excess.max(scale.saturating_sub(u32::from(MAX_PRECISION)));
    if drop > scale {
        return Err(decimal::overflow());
    }
    let value = round(&value, scale, scale - drop);
    value.to_i128().map(|value| (value, (scale - drop) as i8)).ok_or_else(decimal::overflow)
}

fn ten_to(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// Digits at another scale, rounded half away from zero.
fn round(value: &BigInt, from: u32, to: u32) -> BigInt {
    if to >= from {
        return value * ten_to(to - from);
    }
    let unit = ten_to(from - to);
    let doubled: BigInt = value.abs() * 2 + &unit;
    let rounded: BigInt = doubled / (unit * 2);
    if value.sign() == Sign::Minus { -rounded } else { rounded }
}

impl Number {
    fn is_zero(self) -> bool {
        self.value == 0
    }

    /// The display scale that PostgreSQL's choice of digits starts from.
    fn dscale(self) -> i64 {
        i64::from(self.scale.max(0))
    }

    fn big(self, scale: u32) -> BigInt {
        let has = self.scale.max(0) as u32;
        round(&BigInt::from(self.value), has, scale)
    }

    /// The power of 10000 of the first digit in PostgreSQL's base: 0 for 1 to 9999.
    fn weight(self) -> i64 {
        let exponent = i64::from(digits(self.value)) - 1 - i64::from(self.scale);
        exponent.div_euclid(4)
    }

    fn as_integer(self) -> Option<i128> {
        let unit = decimal::power_of_ten(self.scale.max(0) as u32);
        (self.value % unit == 0).then(|| self.value / unit)
    }

    fn double(self) -> f64 {
        decimal::to_double(self.value, self.scale)
    }
}

/// Significant digits that a result has at least.
const SIGNIFICANT: i64 = 16;

fn result_scale(chosen: i64, arguments: &[Number]) -> u32 {
    arguments.iter().map(|number| number.dscale()).fold(chosen, i64::max).clamp(0, 1000) as u32
}

fn sqrt(number: Number) -> Result<Rounded> {
    if number.value < 0 {
        return Err(negative_root());
    }
    if number.is_zero() {
        return Ok((BigInt::zero(), result_scale(SIGNIFICANT - 1, &[number])));
    }
    let scale = result_scale(SIGNIFICANT - ((number.weight() + 1) * 2 - 1), &[number]);
    let square = BigInt::from(number.value) * ten_to(2 * scale - number.scale.max(0) as u32);
    let root = square.sqrt();
    // The root is nearer to the next digit when the rest is more than the root itself.
    let up = &square - &root * &root > root;
    Ok((if up { root + 1 } else { root }, scale))
}

/// PostgreSQL's estimate of the power of ten of a logarithm.
fn logarithm_weight(number: Number) -> i64 {
    if number.value <= 0 {
        return 0;
    }
    let double = number.double();
    if (0.9..=1.1).contains(&double) {
        let one = decimal::power_of_ten(number.scale.max(0) as u32);
        let distance = (number.value - one).unsigned_abs();
        if distance == 0 {
            return 0;
        }
        return i64::from(distance.ilog10()) - i64::from(number.scale);
    }
    double.ln().abs().log10() as i64
}

fn positive(number: Number) -> Result<()> {
    if number.value <= 0 { Err(logarithm_error(number.is_zero())) } else { Ok(()) }
}

fn ln(number: Number) -> Result<Rounded> {
    positive(number)?;
    let scale = result_scale(SIGNIFICANT - logarithm_weight(number), &[number]);
    Ok((round(&big_ln(number, scale + GUARD), scale + GUARD, scale), scale))
}

fn log10(number: Number) -> Result<Rounded> {
    log(Number { value: 10, scale: 0 }, number)
}

fn log(base: Number, number: Number) -> Result<Rounded> {
    positive(base)?;
    positive(number)?;
    let weight = logarithm_weight(number) - logarithm_weight(base);
    let scale = result_scale(SIGNIFICANT - weight, &[base, number]);
    let working = scale + GUARD + 40;
    let divisor = big_ln(base, working);
    if divisor.is_zero() {
        return Err(crate::functions::call::division_by_zero());
    }
    let quotient = big_ln(number, working) * ten_to(working) / divisor;
    Ok((round(&quotient, working, scale), scale))
}

fn exp(number: Number) -> Result<Rounded> {
    let weight = number.double() * std::f64::consts::LOG10_E;
    if weight > 39.0 {
        return Err(decimal::overflow());
    }
    let scale = result_scale(SIGNIFICANT - weight.max(-2000.0) as i64, &[number]);
    let working = scale + GUARD + 40;
    Ok((round(&big_exp(&number.big(working), working), working, scale), scale))
}

fn power(base: Number, exponent: Number) -> Result<Rounded> {
    if base.is_zero() && exponent.value < 0 {
        return Err(zero_to_negative_power());
    }
    if let Some(exponent) = exponent.as_integer().and_then(|exponent| i32::try_from(exponent).ok()) {
        return power_of_integer(base, exponent);
    }
    if base.value < 0 && exponent.as_integer().is_none() {
        return Err(complex_power());
    }
    if base.is_zero() {
        return Ok((BigInt::zero(), SIGNIFICANT as u32));
    }
    let negative = base.value < 0 && exponent.as_integer().is_some_and(|exponent| exponent % 2 != 0);
    let size = Number { value: base.value.abs(), scale: base.scale };
    let weight = size.double().ln() * exponent.double() * std::f64::consts::LOG10_E;
    if weight > 39.0 {
        return Err(decimal::overflow());
    }
    let scale = result_scale(SIGNIFICANT - weight.max(-2000.0) as i64, &[base, exponent]);
    // The exponent multiplies the error of the logarithm.
    let working = scale + GUARD + 80;
    let logarithm = big_ln(size, working) * BigInt::from(exponent.value) / ten_to(exponent.scale.max(0) as u32);
    let result = round(&big_exp(&logarithm, working), working, scale);
    Ok((if negative { -result } else { result }, scale))
}

/// Digits carried in a power by squaring; the error grows with the exponent, ten digits at most.
const POWER_DIGITS: u32 = 120;

fn power_of_integer(base: Number, exponent: i32) -> Result<Rounded> {
    let scale = result_scale(SIGNIFICANT, &[base]);
    if exponent == 0 {
        return Ok((ten_to(scale), scale));
    }
    if base.is_zero() {
        return Ok((BigInt::zero(), scale));
    }
    let weight = base.double().abs().log10() * f64::from(exponent);
    if weight > 39.0 {
        return Err(decimal::overflow());
    }
    if weight < -1100.0 {
        return Ok((BigInt::zero(), scale));
    }
    // mantissa * 10^-fraction, with the mantissa kept short.
    let shorten = |mantissa: BigInt, fraction: i64| {
        let excess = (mantissa.abs().to_string().len() as u32).saturating_sub(POWER_DIGITS);
        if excess == 0 { (mantissa, fraction) } else { (mantissa / ten_to(excess), fraction - i64::from(excess)) }
    };
    let mut result = (BigInt::one(), 0_i64);
    let mut square = (BigInt::from(base.value), i64::from(base.scale));
    let mut bits = exponent.unsigned_abs();
    while bits > 0 {
        if bits & 1 == 1 {
            result = shorten(result.0 * &square.0, result.1 + square.1);
        }
        bits >>= 1;
        if bits > 0 {
            square = shorten(&square.0 * &square.0, 2 * square.1);
        }
    }
    let (mantissa, fraction) = if exponent > 0 {
        result
    } else {
        let working = 2 * POWER_DIGITS;
        (ten_to(working) / &result.0, i64::from(working) - result.1)
    };
    let value = match u32::try_from(fraction) {
        Ok(fraction) => round(&mantissa, fraction, scale),
        Err(_) => mantissa * ten_to(fraction.unsigned_abs() as u32 + scale),
    };
    Ok((value, scale))
}

/// Digits carried beyond those of a result.
const GUARD: u32 = 12;

/// The natural logarithm of 2 with so many digits after the point.
fn ln_two(scale: u32) -> BigInt {
    const DIGITS: u32 = 400;
    static LN_TWO: OnceLock<BigInt> = OnceLock::new();
    if scale > DIGITS {
        return inverse_tangent(&(ten_to(scale) / 3), scale) * 2;
    }
    let value = LN_TWO.get_or_init(|| inverse_tangent(&(ten_to(DIGITS + 5) / 3), DIGITS + 5) * 2);
    value / ten_to(DIGITS + 5 - scale)
}

/// The inverse hyperbolic tangent of a small number, by its series.
fn inverse_tangent(value: &BigInt, scale: u32) -> BigInt {
    let unit = ten_to(scale);
    let square = value * value / &unit;
    let mut power = value.clone();
    let mut sum = value.clone();
    let mut divisor = 3_u32;
    while !power.is_zero() {
        power = power * &square / &unit;
        sum += &power / divisor;
        divisor += 2;
    }
    sum
}

/// The natural logarithm of a positive number.
fn big_ln(number: Number, scale: u32) -> BigInt {
    let working = scale + 10 + number.scale.max(0) as u32;
    let unit = ten_to(working);
    let mut value = number.big(working);
    // Bring it near to 1 by powers of 2, which are added back as multiples of ln 2.
    let mut twos = value.bits() as i64 - unit.bits() as i64;
    if twos >= 0 {
        value >>= twos
    } else {
        value <<= -twos
    }
    let limit = &unit * 3 / 2;
    if value > limit {
        value >>= 1;
        twos += 1;
    }
    // ln v = 2 atanh((v - 1) / (v + 1))
    let ratio = (&value - &unit) * &unit / (&value + &unit);
    let logarithm = inverse_tangent(&ratio, working) * 2 + ln_two(working) * twos;
    round(&logarithm, working, scale)
}

/// `e` to the power of a number that is at most about 90.
fn big_exp(exponent: &BigInt, scale: u32) -> BigInt {
    const HALVINGS: u32 = 8;
    let working = scale + 50;
    let unit = ten_to(working);
    let exponent = round(exponent, scale, working);
    let ln_two = ln_two(working);
    let twos = &exponent / &ln_two;
    let Some(twos) = twos.to_i64() else { return BigInt::zero() };
    let rest = (exponent - ln_two * twos) >> HALVINGS;
    let mut sum = unit.clone();
    let mut term = unit.clone();
    let mut index = 1_u32;
    while !term.is_zero() {
        term = term * &rest / &unit / index;
        sum += &term;
        index += 1;
    }
    for _ in 0..HALVINGS {
        sum = &sum * &sum / &unit;
    }
    if twos >= 0 {
        sum <<= twos
    } else {
        sum >>= -twos
    }
    round(&sum, working, scale)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Number {
        let (value, scale) = decimal::parse_decimal(text).unwrap();
        Number { value, scale }
    }

    fn text(result: Result<Rounded>) -> String {
        let (value, scale) = narrow(result.unwrap()).unwrap();
        let mut out = String::new();
        decimal::write_decimal(value, scale, &mut out);
        out
    }

    /// Expectations from PostgreSQL 15.
    #[test]
    fn results_have_the_digits_of_postgresql() {
        assert_eq!(text(sqrt(number("2"))), "1.414213562373095");
        assert_eq!(text(sqrt(number("10000"))), "100.0000000000000");
        assert_eq!(text(sqrt(number("0.0001"))), "0.01000000000000000");
        assert_eq!(text(sqrt(number("1234567890.123"))), "35136.41828819494");
        assert_eq!(text(exp(number("1"))), "2.7182818284590452");
        assert_eq!(text(exp(number("50"))), "5184705528587072464087");
        assert_eq!(text(exp(number("-5.5"))), "0.004086771438464067");
        assert_eq!(text(ln(number("2"))), "0.6931471805599453");
        assert_eq!(text(ln(number("100000.5"))), "11.512930464957728");
        assert_eq!(text(log10(number("100"))), "2.0000000000000000");
        assert_eq!(text(log(number("2"), number("64"))), "6.0000000000000000");
        assert_eq!(text(power(number("2"), number("10"))), "1024.0000000000000000");
        assert_eq!(text(power(number("10"), number("-3"))), "0.0010000000000000");
        assert_eq!(text(power(number("2"), number("0.5"))), "1.4142135623730950");
    }

    #[test]
    fn domain_errors_have_their_states() {
        let code = |result: Result<Rounded>| result.unwrap_err().code.to_string();
        assert_eq!(code(sqrt(number("-1"))), "2201F");
        assert_eq!(code(ln(number("0"))), "2201E");
        assert_eq!(code(power(number("0"), number("-1"))), "2201F");
        assert_eq!(code(power(number("-8"), number("0.5"))), "2201F");
        assert_eq!(code(exp(number("1000"))), "22003");
        assert_eq!(code(power(number("10"), number("50"))), "22003");
    }
}
