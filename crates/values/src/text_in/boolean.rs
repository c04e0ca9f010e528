//! `boolean`: any unambiguous beginning of true, false, yes, no, on, off, and 1, 0.

use super::{shown, trim};
use crate::error::SqlError;

/// Reads a boolean.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Result<bool, SqlError> {
    match text {
        b"t" | b"1" | b"true" => return Ok(true),
        b"f" | b"0" | b"false" => return Ok(false),
        _ => {}
    }
    let word = trim(text);
    let begins = |whole: &[u8], least: usize| {
        word.len() >= least && word.len() <= whole.len() && word.eq_ignore_ascii_case(&whole[..word.len()])
    };
    if begins(b"true", 1) || begins(b"yes", 1) || begins(b"on", 2) || word == b"1" {
        Ok(true)
    } else if begins(b"false", 1) || begins(b"no", 1) || begins(b"off", 2) || word == b"0" {
        Ok(false)
    } else {
        Err(SqlError::invalid_text("boolean", &shown(text)))
    }
}
