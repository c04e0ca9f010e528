//! `bytea` in its two forms.

use crate::error::{SqlError, SqlState};

/// Reads bytes into a buffer, which is cleared first.
pub(crate) fn parse(text: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    out.clear();
    match text {
        [b'\\', b'x', digits @ ..] => parse_hex(digits, out),
        _ => parse_escape(text, out),
    }
}

/// Pairs of digits, with spaces allowed between pairs.
fn parse_hex(text: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    out.reserve(text.len() / 2);
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        if matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
            rest = tail;
            continue;
        }
        let high = hex_digit(rest)?;
        if tail.is_empty() {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "invalid hexadecimal data: odd number of digits",
            ));
        }
        let low = hex_digit(tail)?;
        out.push(high << 4 | low);
        rest = &tail[1..];
    }
    Ok(())
}

fn hex_digit(rest: &[u8]) -> Result<u8, SqlError> {
    match rest[0] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => {
            let length = rest[1..].iter().take_while(|byte| (**byte as i8) < -0x40).count() + 1;
            Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid hexadecimal digit: \"{}\"", super::shown(&rest[..length])),
            ))
        }
    }
}

/// `\\` for a backslash, `\ooo` for any byte.
fn parse_escape(text: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Ok(()),
            [b'\\', b'\\', tail @ ..] => {
                out.push(b'\\');
                tail
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            [b'\\', ..] => {
                return Err(SqlError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}
