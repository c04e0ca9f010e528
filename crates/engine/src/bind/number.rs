//! Number literals that DataFusion's planner does not read as PostgreSQL does.
//!
//! What always holds: a literal with an exponent is written out (`1.5e3` is the numeric `1500`), so that no decimal has a
//! negative scale, which DataFusion's casts and functions do not expect. What no decimal can hold is a `double precision`
//! if that has the same digits, and refused if not.

use sqlparser::ast::{CastKind, DataType, Expr, Value};
use wharf_values::SqlError;

use super::normalize::string;

/// The digits of the widest decimal.
const MAX_DIGITS: usize = 76;

/// A number literal as the planner should see it; none when it is one that may stay as it is.
///
/// # Errors
/// `0A000` for more digits than can be kept.
pub(super) fn literal(text: &str) -> Result<Option<Expr>, SqlError> {
    let text = text.replace('_', "");
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, ""));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent.is_empty() && whole.len() + fraction.len() <= MAX_DIGITS {
        return Ok(None);
    }
    if !(whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())) {
        // Hexadecimal and the like.
        return Ok(None);
    }
    let digits = format!("{whole}{fraction}");
    let shift = match exponent {
        "" => Some(0),
        exponent => exponent.parse::<i32>().ok(),
    };
    // Beyond that it is no decimal, whatever the digits.
    let shift = shift.filter(|shift| shift.unsigned_abs() as usize <= MAX_DIGITS + digits.len());
    match shift.map(|shift| written_out(&digits, fraction.len(), shift)) {
        Some(plain) if plain.bytes().filter(u8::is_ascii_digit).count() <= MAX_DIGITS => {
            Ok(Some(Expr::Value(Value::Number(plain, false).with_empty_span())))
        }
        _ => as_double(&text, &digits).map(Some),
    }
}

/// The number without an exponent. A point says that it is numeric and no integer.
fn written_out(digits: &str, fraction: usize, shift: i32) -> String {
    let fraction = i64::try_from(fraction).unwrap_or(i64::MAX) - i64::from(shift);
    let digits = digits.trim_start_matches('0');
    let Some(scale) = usize::try_from(fraction).ok().filter(|scale| *scale > 0) else {
        let zeros = if digits.is_empty() { 0 } else { usize::try_from(-fraction).unwrap_or(0) };
        let digits = if digits.is_empty() { "0" } else { digits };
        return format!("{digits}{}.", "0".repeat(zeros));
    };
    let padded = format!("{}{digits}", "0".repeat(scale.saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{whole}.{fraction}")
}

fn as_double(text: &str, digits: &str) -> Result<Expr, SqlError> {
    let same = |value: f64| value.is_normal() && significant_digits(&format!("{value:e}")) == digits.trim_matches('0');
    if !text.parse().is_ok_and(same) {
        return Err(SqlError::unsupported(format!(
            "a numeric literal of more than {MAX_DIGITS} digits is not supported"
        ))
        .with_hint("Write it as a string and cast it: '..'::double precision."));
    }
    Ok(Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(string(text)),
        data_type: DataType::DoublePrecision,
        array: false,
        format: None,
    })
}

/// The digits of a number in scientific notation.
fn significant_digits(text: &str) -> String {
    let mantissa = text.split('e').next().unwrap_or(text);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn plain(text: &str) -> String {
        literal(text).unwrap().map_or_else(|| text.to_owned(), |expr| expr.to_string())
    }

    #[test]
    fn exponents_are_written_out() {
        let cases = [
            ("1", "1"),
            ("1.50", "1.50"),
            ("1e3", "1000."),
            ("1.5E3", "1500."),
            ("1.50e1", "15.0"),
            ("1.5e+1", "15."),
            ("15e-1", "1.5"),
            ("1e-5", ".00001"),
            ("12_000e-2", "120.00"),
            ("0e5", "0."),
            ("0.00e1", ".0"),
            ("1e75", &format!("1{}.", "0".repeat(75))),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn what_no_decimal_holds_is_a_double_or_refused() {
        for text in ["1e76", "1.7976931348623157e308", "2.2250738585072014e-308", &format!("1{}", "0".repeat(80))] {
            assert_eq!(plain(text), format!("'{text}'::DOUBLE PRECISION"));
        }
        for text in ["1e400", "1e-400", "1e99999999999", "1.79769313486231571e308", &"7".repeat(80)] {
            assert!(literal(text).is_err(), "{text}");
        }
    }
}
