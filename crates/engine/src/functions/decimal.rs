//! Integers with a scale: the arithmetic that numeric functions share.
//!
//! What always holds: rounding is half away from zero, as PostgreSQL's numeric rounds, and a value with more digits than
//! fit is an error, never a wrapped number. Wharf's numeric has 38 digits where PostgreSQL's has thousands.

use wharf_values::{SqlError, SqlState};

use super::call::Result;

/// The digits of a numeric.
pub(super) const MAX_PRECISION: u8 = 38;

/// 10 to the power of `exponent`, which is at most 38.
pub(super) fn power_of_ten(exponent: u32) -> i128 {
    const POWERS: [i128; 39] = {
        let mut powers = [1_i128; 39];
        let mut index = 1;
        while index < 39 {
            powers[index] = powers[index - 1] * 10;
            index += 1;
        }
        powers
    };
    POWERS[exponent as usize]
}

/// `22003`: the value has no room in a numeric.
pub(super) fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
        .with_detail("The numeric type has up to 38 digits.")
}

/// Rounds half away from zero to fewer digits: `value / 10^digits`.
pub(super) fn divide_rounding(value: i128, digits: u32) -> i128 {
    if digits > 38 {
        return 0;
    }
    let divisor = power_of_ten(digits);
    let (quotient, remainder) = (value / divisor, value % divisor);
    if remainder.unsigned_abs() >= divisor.unsigned_abs() - remainder.unsigned_abs() && digits > 0 {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// A value at another scale, rounded if that has fewer digits; `None` when it has no room.
pub(super) fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let digits = i32::from(to) - i32::from(from);
    if digits >= 0 {
        if value == 0 {
            return Some(0);
        }
        let factor = u32::try_from(digits).ok().filter(|digits| *digits <= 38).map(power_of_ten)?;
        value.checked_mul(factor)
    } else {
        Some(divide_rounding(value, digits.unsigned_abs()))
    }
}

/// A value brought to a decimal type.
///
/// # Errors
/// `22003` when it has more digits than the type.
pub(super) fn fit(value: i128, has: i8, precision: u8, scale: i8) -> Result<i128> {
    rescale(value, has, scale)
        .filter(|value| value.unsigned_abs() < power_of_ten(u32::from(precision)).unsigned_abs())
        .ok_or_else(overflow)
}

/// How many decimal digits a value has; 0 has none.
pub(super) fn digits(value: i128) -> u32 {
    match value.unsigned_abs() {
        0 => 0,
        value => value.ilog10() + 1,
    }
}

/// The double nearest to a numeric, as PostgreSQL's cast gives it.
pub(super) fn to_double(value: i128, scale: i8) -> f64 {
    // Both exact, so that one division rounds once.
    if value.unsigned_abs() <= 1 << 53 && (0..=22).contains(&scale) {
        return value as f64 / 10_f64.powi(i32::from(scale));
    }
    let mut text = [0_u8; 64];
    let mut cursor = std::io::Cursor::new(&mut text[..]);
    let written = std::io::Write::write_fmt(&mut cursor, format_args!("{value}e{}", -i32::from(scale)));
    let length = usize::try_from(cursor.position()).unwrap_or(0);
    written
        .ok()
        .and_then(|()| std::str::from_utf8(&text[..length]).ok())
        .and_then(|text| text.parse().ok())
        .expect("digits with an exponent are a number")
}

/// A number as PostgreSQL prints it: all digits of the scale.
pub(super) fn write_decimal(value: i128, scale: i8, out: &mut String) {
    use std::fmt::Write as _;
    let scale = u32::try_from(scale).unwrap_or(0);
    let magnitude = value.unsigned_abs();
    if value < 0 {
        out.push('-');
    }
    let unit = power_of_ten(scale.min(38)).unsigned_abs();
    // Writing into a string cannot fail.
    let _ = write!(out, "{}", magnitude / unit);
    if scale > 0 {
        let _ = write!(out, ".{:0width$}", magnitude % unit, width = scale as usize);
    }
}

/// Reads `[-]digits[.digits]`; `None` for anything else and for more than 38 digits.
pub(super) fn parse_decimal(text: &str) -> Option<(i128, i8)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then_some(i128::from(digit.wrapping_sub(b'0')))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let scale = i8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
    Some((if negative { -value } else { value }, scale))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(divide_rounding(25, 1), 3);
        assert_eq!(divide_rounding(-25, 1), -3);
        assert_eq!(divide_rounding(24, 1), 2);
        assert_eq!(divide_rounding(1, 2), 0);
        assert_eq!(divide_rounding(5, 0), 5);
        assert_eq!(divide_rounding(i128::MAX, 38), 2);
    }

    #[test]
    fn a_value_without_room_is_an_error() {
        assert_eq!(fit(12345, 2, 5, 2).unwrap(), 12345);
        assert_eq!(fit(99995, 2, 4, 1).unwrap_err().code.as_str(), "22003");
        assert!(fit(i128::MAX / 2, 0, 38, 10).is_err());
    }

    #[test]
    fn doubles_are_the_nearest() {
        assert_eq!(to_double(1, 1), 0.1);
        assert_eq!(to_double(123_456_789_012_345_678_901_234_567_890, 10), 1.234_567_890_123_456_8e19);
        assert_eq!(to_double(-5, 0), -5.0);
    }

    #[test]
    fn decimals_are_written_and_read() {
        for (value, scale, text) in [(-5, 2, "-0.05"), (1230, 3, "1.230"), (7, 0, "7"), (0, 2, "0.00")] {
            let mut out = String::new();
            write_decimal(value, scale, &mut out);
            assert_eq!(out, text);
            assert_eq!(parse_decimal(text), Some((value, scale)));
        }
        assert_eq!(parse_decimal("1.x"), None);
        assert_eq!(parse_decimal("."), None);
    }
}
