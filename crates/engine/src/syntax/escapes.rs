//! The escapes within strings: backslashes in `E'..'`, code points in `U&'..'`.

use wharf_values::{SqlError, SqlState};

fn invalid(code: SqlState, message: &str, hint: &str) -> SqlError {
    let error = SqlError::new(code, message);
    if hint.is_empty() { error } else { error.with_hint(hint) }
}

fn invalid_escape() -> SqlError {
    invalid(
        SqlState::INVALID_ESCAPE_SEQUENCE,
        "invalid Unicode escape",
        "Unicode escapes must be \\uXXXX or \\UXXXXXXXX.",
    )
}

fn invalid_pair() -> SqlError {
    invalid(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair", "")
}

/// May this character stand for the backslash of `U&'..'`?
pub(super) fn is_unicode_escape(c: char) -> bool {
    !(c.is_ascii_hexdigit() || matches!(c, '+' | '\'' | '"') || c.is_ascii_whitespace())
}

/// One escape of `E'..'`, from its backslash: writes what it stands for and gives its length.
///
/// # Errors
/// `22025` for a code point that is cut short, `42601` for one that is none.
pub(super) fn backslash(rest: &[u8], out: &mut Vec<u8>) -> Result<usize, SqlError> {
    let Some(letter) = rest.get(1) else {
        out.push(b'\\');
        return Ok(1);
    };
    let plain = match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0'..=b'7' => {
            let digits = &rest[1..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let value = rest[1..=*digits].iter().fold(0u32, |value, byte| value * 8 + u32::from(byte - b'0'));
            out.push(value as u8);
            return Ok(1 + digits);
        }
        b'x' => {
            let digits = rest[2..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
            match hexadecimal(&rest[2..2 + digits]) {
                Some(value) => {
                    out.push(value as u8);
                    return Ok(2 + digits);
                }
                None => b'x',
            }
        }
        b'u' => return code_unit(rest, 4, out),
        b'U' => return code_unit(rest, 8, out),
        // The other characters stand for themselves; those of several bytes are copied whole by the caller.
        other => *other,
    };
    out.push(plain);
    Ok(2)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `\uXXXX` or `\UXXXXXXXX`, or two of them that are a surrogate pair.
fn code_unit(rest: &[u8], digits: usize, out: &mut Vec<u8>) -> Result<usize, SqlError> {
    let unit = |at: usize, digits: usize| -> Result<u32, SqlError> {
        let text = rest.get(at..at + digits).filter(|text| text.iter().all(u8::is_ascii_hexdigit));
        text.and_then(hexadecimal).ok_or_else(invalid_escape)
    };
    let mut value = unit(2, digits)?;
    let mut length = 2 + digits;
    if (0xd800..0xdc00).contains(&value) {
        let digits = match (rest.get(length), rest.get(length + 1)) {
            (Some(b'\\'), Some(b'u')) => 4,
            (Some(b'\\'), Some(b'U')) => 8,
            _ => return Err(invalid_pair()),
        };
        let low = unit(length + 2, digits)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(invalid_pair());
        }
        value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
        length += 2 + digits;
    } else if (0xdc00..0xe000).contains(&value) {
        return Err(invalid_pair());
    }
    let c = char::from_u32(value)
        .filter(|c| *c != '\0')
        .ok_or_else(|| invalid(SqlState::SYNTAX_ERROR, "invalid Unicode escape value", ""))?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(length)
}

/// The text of `U&'..'` with its code points in place: `\XXXX` and `\+XXXXXX`.
///
/// # Errors
/// `42601`.
pub(super) fn unicode(text: &str, escape: char) -> Result<String, SqlError> {
    let bad =
        || invalid(SqlState::SYNTAX_ERROR, "invalid Unicode escape", "Unicode escapes must be \\XXXX or \\+XXXXXX.");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != escape || rest.starts_with(escape) {
            if high.is_some() {
                return Err(invalid_pair());
            }
            out.push(c);
            if c == escape {
                rest = &rest[escape.len_utf8()..];
            }
            continue;
        }
        let (skip, digits) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
        let hex = rest.get(skip..skip + digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = hex.and_then(|hex| hexadecimal(hex.as_bytes())).ok_or_else(bad)?;
        rest = &rest[skip + digits..];
        let value = match (high.take(), value) {
            (Some(high), 0xdc00..=0xdfff) => 0x10000 + ((high - 0xd800) << 10) + (value - 0xdc00),
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(invalid_pair()),
            (None, 0xd800..=0xdbff) => {
                high = Some(value);
                continue;
            }
            (None, value) => value,
        };
        let c = char::from_u32(value)
            .filter(|c| *c != '\0')
            .ok_or_else(|| invalid(SqlState::SYNTAX_ERROR, "invalid Unicode escape value", ""))?;
        out.push(c);
    }
    if high.is_some() {
        return Err(invalid_pair());
    }
    Ok(out)
}
