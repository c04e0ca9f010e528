//! `real` and `double precision`: what C's `strtod` reads, without its hexadecimal form.

use std::str::FromStr;

use super::{is_space, shown, trim};
use crate::error::{SqlError, SqlState};

/// A floating-point type that is read here.
pub(crate) trait Float: FromStr + Copy {
    const TYPE_NAME: &'static str;
    /// What the message about a number out of range shows: PostgreSQL leaves out the spaces for one type only.
    const SHOWS_SPACES: bool;
    fn is_zero(self) -> bool;
    fn is_infinite(self) -> bool;
    /// The number, with the one NaN that is kept: Arrow puts a negative one before all other numbers.
    fn canonical(self) -> Self;
}

impl Float for f32 {
    const TYPE_NAME: &'static str = "real";
    const SHOWS_SPACES: bool = true;
    fn canonical(self) -> Self {
        if self.is_nan() { f32::NAN } else { self }
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn is_infinite(self) -> bool {
        f32::is_infinite(self)
    }
}

impl Float for f64 {
    const TYPE_NAME: &'static str = "double precision";
    const SHOWS_SPACES: bool = false;
    fn canonical(self) -> Self {
        if self.is_nan() { f64::NAN } else { self }
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
}

/// Reads a number, correctly rounded, with spaces around it.
#[inline]
pub(crate) fn parse<F: Float>(text: &[u8]) -> Result<F, SqlError> {
    let number = match text {
        [first, .., last] if !is_space(*first) && !is_space(*last) => text,
        _ => trim(text),
    };
    let value = std::str::from_utf8(number)
        .ok()
        .and_then(|number| number.parse::<F>().ok())
        .ok_or_else(|| SqlError::invalid_text(F::TYPE_NAME, &shown(text)))?;
    // Numbers that became zero or infinity on the way are out of range, words and zeros are not.
    let lost = (value.is_zero() && has_nonzero_digit(number))
        || (value.is_infinite() && number.iter().any(u8::is_ascii_digit));
    if lost {
        return Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!(
                "\"{}\" is out of range for type {}",
                shown(if F::SHOWS_SPACES { text } else { number }),
                F::TYPE_NAME
            ),
        ));
    }
    Ok(value.canonical())
}

/// Whether a digit before the exponent is not zero.
fn has_nonzero_digit(number: &[u8]) -> bool {
    number.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}
