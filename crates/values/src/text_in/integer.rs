//! `smallint`, `integer`, `bigint` and `oid`.

use super::{is_space, shown};
use crate::error::{SqlError, SqlState};

/// An integer type that is read here.
pub(crate) trait Integer: Sized + TryFrom<i64> {
    const TYPE_NAME: &'static str;
}

impl Integer for i16 {
    const TYPE_NAME: &'static str = "smallint";
}
impl Integer for i32 {
    const TYPE_NAME: &'static str = "integer";
}
impl Integer for i64 {
    const TYPE_NAME: &'static str = "bigint";
}

/// Reads an integer, with spaces around it and a sign before it.
#[inline]
pub(crate) fn parse<N: Integer>(text: &[u8]) -> Result<N, SqlError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // Up to 18 digits cannot overflow 64 bits.
    if digits.is_empty() || digits.len() > 18 {
        return parse_slowly(text);
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return parse_slowly(text);
        }
        value = value * 10 + i64::from(digit);
    }
    let value = if negative { -value } else { value };
    N::try_from(value).map_err(|_| out_of_range(text, N::TYPE_NAME))
}

/// Any form that is allowed. As in PostgreSQL, a number too large is reported before garbage that follows it.
#[cold]
fn parse_slowly<N: Integer>(text: &[u8]) -> Result<N, SqlError> {
    let syntax = || SqlError::invalid_text(N::TYPE_NAME, &shown(text));
    let mut rest = skip_space(text);
    let negative = rest.first() == Some(&b'-');
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(syntax());
    }
    // Counted downwards, since the least integer has no positive counterpart.
    let mut value = 0_i64;
    for byte in &rest[..count] {
        let digit = i64::from(byte - b'0');
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(digit))
            .ok_or_else(|| out_of_range(text, N::TYPE_NAME))?;
    }
    let value = if negative { Some(value) } else { value.checked_neg() };
    let value = value.and_then(|value| N::try_from(value).ok()).ok_or_else(|| out_of_range(text, N::TYPE_NAME))?;
    if skip_space(&rest[count..]).is_empty() { Ok(value) } else { Err(syntax()) }
}

/// Reads an object identifier: 32 unsigned bits, of which negative numbers are another spelling.
pub(crate) fn parse_oid(text: &[u8]) -> Result<u32, SqlError> {
    let syntax = || SqlError::invalid_text("oid", &shown(text));
    let mut rest = skip_space(text);
    let negative = rest.first() == Some(&b'-');
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(syntax());
    }
    let size =
        rest[..count].iter().try_fold(0_i64, |value, byte| value.checked_mul(10)?.checked_add(i64::from(byte - b'0')));
    let size = size.ok_or_else(|| out_of_range(text, "oid"))?;
    if !skip_space(&rest[count..]).is_empty() {
        return Err(syntax());
    }
    let value = if negative { -size } else { size };
    u32::try_from(value)
        .ok()
        .or_else(|| i32::try_from(value).ok().map(|value| value as u32))
        .ok_or_else(|| out_of_range(text, "oid"))
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    &text[spaces..]
}

fn out_of_range(text: &[u8], type_name: &str) -> SqlError {
    SqlError::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{}\" is out of range for type {type_name}", shown(text)),
    )
}
