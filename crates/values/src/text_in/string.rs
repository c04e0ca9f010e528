//! The string types: encoding and length.

use super::shown;
use crate::encoder::character_count;
use crate::error::{SqlError, SqlState};

/// The longest name, in bytes.
const MAX_NAME: usize = 63;

/// The text when it is UTF-8 without a NUL; `22021` otherwise.
#[inline]
pub(crate) fn utf8(text: &[u8]) -> Result<&str, SqlError> {
    let valid = std::str::from_utf8(text).map_err(|error| bad_sequence(&text[error.valid_up_to()..]))?;
    match memchr::memchr(0, text) {
        None => Ok(valid),
        Some(at) => Err(bad_sequence(&text[at..])),
    }
}

/// Names the bytes the first of which should begin a character.
#[cold]
fn bad_sequence(bytes: &[u8]) -> SqlError {
    let length = match bytes[0] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    let listed = bytes.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ");
    SqlError::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {listed}"),
    )
}

/// A value of `character varying(n)`: blanks beyond the limit are cut, anything else there is `22001`, or is cut too
/// when the cast is explicit.
#[inline]
pub(crate) fn varchar(text: &str, limit: u32, explicit: bool) -> Result<&str, SqlError> {
    // A character has at least one byte.
    if text.len() <= limit as usize || character_count(text.as_bytes()) <= limit as usize {
        return Ok(text);
    }
    let (kept, rest) = text.split_at(end_of(text, limit));
    if explicit || rest.bytes().all(|byte| byte == b' ') { Ok(kept) } else { Err(too_long("character varying", limit)) }
}

/// A value of `character(n)`, stored without its trailing blanks; one of `bpchar` (a limit of 0) is stored as it is.
#[inline]
pub(crate) fn char(text: &str, limit: u32, explicit: bool) -> Result<&str, SqlError> {
    if limit == 0 {
        return Ok(text);
    }
    let trimmed = text.trim_end_matches(' ');
    if trimmed.len() <= limit as usize || character_count(trimmed.as_bytes()) <= limit as usize {
        return Ok(trimmed);
    }
    if explicit {
        return Ok(trimmed[..end_of(trimmed, limit)].trim_end_matches(' '));
    }
    Err(too_long("character", limit))
}

/// A value of `name`: cut to 63 bytes at a character.
pub(crate) fn name(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME)]
}

/// A value of `"char"`: its first character.
pub(crate) fn single(text: &str) -> &str {
    let end = text.chars().next().map_or(0, char::len_utf8);
    &text[..end]
}

/// Where so many characters end.
fn end_of(text: &str, characters: u32) -> usize {
    text.char_indices().nth(characters as usize).map_or(text.len(), |(at, _)| at)
}

#[cold]
fn too_long(type_name: &str, limit: u32) -> SqlError {
    SqlError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {type_name}({limit})"))
}

/// `22P02` for a type, with the text as it came.
pub(crate) fn invalid(type_name: &str, text: &[u8]) -> SqlError {
    SqlError::invalid_text(type_name, &shown(text))
}
