//! `uuid`: 32 hexadecimal digits, a hyphen allowed after every fourth, in braces or not.

use super::string::invalid;
use crate::error::SqlError;

/// Reads a UUID into its canonical 36 characters.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Result<[u8; 36], SqlError> {
    let inner = match text {
        [b'{', inner @ .., b'}'] => inner,
        inner => inner,
    };
    let mut out = [b'-'; 36];
    let mut rest = inner;
    let mut at = 0;
    for digit in 0..32 {
        let Some((byte, tail)) = rest.split_first() else {
            return Err(invalid("uuid", text));
        };
        if !byte.is_ascii_hexdigit() {
            return Err(invalid("uuid", text));
        }
        if matches!(digit, 8 | 12 | 16 | 20) {
            at += 1;
        }
        out[at] = byte.to_ascii_lowercase();
        at += 1;
        rest = tail;
        if digit % 4 == 3 && digit < 31 && rest.first() == Some(&b'-') {
            rest = &rest[1..];
        }
    }
    if rest.is_empty() { Ok(out) } else { Err(invalid("uuid", text)) }
}

/// The 16 bytes of a canonical UUID; `None` for any other text.
pub(crate) fn to_bytes(text: &[u8]) -> Option<[u8; 16]> {
    uuid::Uuid::try_parse_ascii(text).ok().map(uuid::Uuid::into_bytes)
}
