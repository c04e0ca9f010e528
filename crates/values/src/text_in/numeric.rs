//! `numeric`: decimal text to an unscaled integer of the column's scale.
//!
//! What always holds: digits beyond a declared scale are rounded half away from zero, as PostgreSQL does; for a numeric
//! without precision, which keeps every digit in PostgreSQL, digits beyond what is stored are refused. `NaN` and the
//! infinities, which a decimal cannot hold, are refused.

use arrow::datatypes::{DataType, i256};
use wharf_catalog::SqlType;

use super::{shown, trim};
use crate::decimal::{POWERS, Unscaled, rescale};
use crate::error::{SqlError, SqlState};
use crate::mapping::arrow_type;

/// The most digits PostgreSQL's numbers have before and after the point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// What a column of decimals accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Declared precision and scale; `None` for numeric without precision.
    declared: Option<(u8, i8)>,
    /// The digits that fit: those declared, at most those of the Arrow type.
    digits: u32,
    /// The scale values are stored with.
    pub(crate) scale: i32,
}

impl Target {
    /// The target of a numeric type.
    pub(crate) fn new(ty: &SqlType) -> Target {
        let declared = match ty {
            SqlType::Numeric(declared) => *declared,
            _ => None,
        };
        let (stored, scale) = match arrow_type(ty) {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (precision, scale),
            _ => (38, 0),
        };
        let digits = declared.map_or(stored, |(precision, _)| precision.min(stored));
        Target { declared, digits: u32::from(digits), scale: i32::from(scale) }
    }

    /// The value at the column's scale when it fits.
    #[inline]
    pub(crate) fn accept<N: Unscaled + PartialOrd>(&self, value: N, scale: i32) -> Result<N, SqlError> {
        let stored = rescale(value, scale, self.scale).ok_or_else(|| self.overflow())?;
        if self.declared.is_none() && scale > self.scale && rescale(stored, self.scale, scale) != Some(value) {
            return Err(self.too_fine());
        }
        self.check(stored)
    }

    /// The value when its digits are not too many.
    #[inline]
    fn check<N: Unscaled + PartialOrd>(&self, value: N) -> Result<N, SqlError> {
        let bound = N::power_of_ten(self.digits).ok_or_else(|| self.overflow())?;
        if value < bound && value > bound.negated() { Ok(value) } else { Err(self.overflow()) }
    }

    /// `22003` for a value with too many digits before the point.
    #[cold]
    pub(crate) fn overflow(&self) -> SqlError {
        match self.declared {
            Some((precision, scale)) => {
                let whole = i32::from(precision) - i32::from(scale);
                let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
                SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
                ))
            }
            None => format_overflow().with_hint(format!(
                "A numeric without precision holds {} digits before the decimal point here. Declare a precision \
                     and scale, such as numeric(38,0), for larger numbers.",
                self.digits as i32 - self.scale
            )),
        }
    }

    #[cold]
    fn too_fine(&self) -> SqlError {
        SqlError::unsupported(format!("numeric value has more than {} digits after the decimal point", self.scale))
            .with_hint("Declare a precision and scale, such as numeric(38,20), for finer numbers.")
    }
}

/// `0A000` for `NaN` and the infinities.
#[cold]
pub(crate) fn not_a_number(text: &str) -> SqlError {
    SqlError::unsupported(format!("numeric value \"{text}\" is not supported"))
        .with_hint("Use double precision for values that may be NaN or infinite.")
}

/// Reads a number for a column that stores 128 bits.
#[inline]
pub(crate) fn parse_i128(text: &[u8], target: &Target) -> Result<i128, SqlError> {
    match read_short(text) {
        Some((size, negative, fraction)) => {
            let value = if negative { -i128::from(size) } else { i128::from(size) };
            accept_short(value, fraction, target)
        }
        None => parse_slowly::<i128>(text, target),
    }
}

/// [`Target::accept`] for the value of [`read_short`], with the usual case inline.
#[inline]
fn accept_short(value: i128, fraction: u32, target: &Target) -> Result<i128, SqlError> {
    let up = target.scale - fraction as i32;
    // 19 digits and 18 more are 37: no overflow.
    if (0..=18).contains(&up) {
        let value = value * POWERS[up as usize];
        if target.digits >= 38 || value.unsigned_abs() < POWERS[target.digits as usize].unsigned_abs() {
            return Ok(value);
        }
    }
    target.accept(value, fraction as i32)
}

/// Reads a number for a column that stores 256 bits.
pub(crate) fn parse_i256(text: &[u8], target: &Target) -> Result<i256, SqlError> {
    parse_slowly::<i256>(text, target)
}

/// A number of at most 19 digits without exponent or spaces: its digits, its sign, how many stand after the point.
#[inline]
fn read_short(text: &[u8]) -> Option<(u64, bool, u32)> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // With the point, 20 characters.
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let mut value = 0_u64;
    let mut count = 0;
    let mut point = None;
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            count += 1;
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    if count == 0 || count > 19 {
        return None;
    }
    let fraction = point.map_or(0, |at| digits.len() - at - 1);
    Some((value, negative, fraction as u32))
}

/// A number taken apart: `0.digits * 10^point`.
pub(crate) struct Parts {
    pub(crate) negative: bool,
    /// Without leading zeros; empty for zero.
    pub(crate) digits: Vec<u8>,
    /// How many of the digits stand before the point; negative for zeros after it.
    pub(crate) point: i64,
    /// How many digits were written after the point, exponent included: PostgreSQL's display scale.
    pub(crate) display_scale: i64,
}

/// `22003` for a number beyond what PostgreSQL's numeric holds.
#[cold]
pub(crate) fn format_overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// Takes apart a number in any form PostgreSQL's numeric reads (the words aside); `None` for bad syntax, `22003` for a
/// number with more digits than PostgreSQL's numeric has.
pub(crate) fn read_parts(number: &[u8]) -> Result<Option<Parts>, SqlError> {
    let (negative, mut rest) = match number {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut digits = Vec::with_capacity(rest.len());
    let mut whole = None;
    while let [byte @ (b'0'..=b'9' | b'.'), tail @ ..] = rest {
        if *byte == b'.' {
            if whole.is_some() {
                return Ok(None);
            }
            whole = Some(digits.len());
        } else {
            digits.push(byte - b'0');
        }
        rest = tail;
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let mut exponent = 0_i64;
    if let [b'e' | b'E', tail @ ..] = rest {
        let (down, tail) = match tail {
            [b'-', tail @ ..] => (true, tail),
            [b'+', tail @ ..] => (false, tail),
            tail => (false, tail),
        };
        let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Ok(None);
        }
        let (power, tail) = tail.split_at(count);
        let size = power.iter().fold(0_i64, |n, digit| n.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
        if size >= i64::from(i32::MAX / 2) {
            return Err(format_overflow());
        }
        exponent = if down { -size } else { size };
        rest = tail;
    }
    if !rest.is_empty() {
        return Ok(None);
    }
    let whole = whole.unwrap_or(digits.len()) as i64;
    let display_scale = (digits.len() as i64 - whole - exponent).max(0);
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..zeros);
    let parts = Parts { negative, point: whole - zeros as i64 + exponent, digits, display_scale };
    let too_large = parts.point > MAX_WHOLE_DIGITS && !parts.digits.is_empty();
    if too_large || display_scale > MAX_FRACTION_DIGITS { Err(format_overflow()) } else { Ok(Some(parts)) }
}

#[cold]
fn parse_slowly<N>(text: &[u8], target: &Target) -> Result<N, SqlError>
where
    N: Unscaled + PartialOrd + From<i8> + std::ops::Add<Output = N>,
{
    let number = trim(text);
    let parts = match read_parts(number)? {
        Some(parts) => parts,
        None => {
            let word = match number {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            let infinite = word.eq_ignore_ascii_case(b"infinity") || word.eq_ignore_ascii_case(b"inf");
            if infinite || number.eq_ignore_ascii_case(b"nan") {
                return Err(not_a_number(&shown(number)));
            }
            return Err(SqlError::invalid_text("numeric", &shown(text)));
        }
    };
    accept_parts(parts, target)
}

/// The value of a number taken apart, rounded to the column's scale.
pub(crate) fn accept_parts<N>(parts: Parts, target: &Target) -> Result<N, SqlError>
where
    N: Unscaled + PartialOrd + From<i8> + std::ops::Add<Output = N>,
{
    if parts.digits.is_empty() {
        return Ok(N::ZERO);
    }
    // The digits up to the scale, and whether the rest rounds up.
    let kept = parts.point + i64::from(target.scale);
    if kept > i64::from(N::DIGITS) {
        return Err(target.overflow());
    }
    let mut value = N::ZERO;
    for at in 0..kept.max(0) as usize {
        let digit = parts.digits.get(at).copied().unwrap_or(0);
        value = value.times(N::from(10)).ok_or_else(|| target.overflow())? + N::from(digit as i8);
    }
    let cut = usize::try_from(kept).map_or(&[][..], |kept| parts.digits.get(kept..).unwrap_or_default());
    let dropped = if kept < 0 { &parts.digits[..] } else { cut };
    if target.declared.is_none() && dropped.iter().any(|digit| *digit != 0) {
        return Err(target.too_fine());
    }
    if cut.first().is_some_and(|digit| *digit >= 5) {
        value = value + N::from(1);
    }
    target.check(if parts.negative { value.negated() } else { value })
}
