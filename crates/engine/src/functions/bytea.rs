//! Functions on `bytea`, and the conversions between text and bytes (chapter 9.5 of PostgreSQL's manual).
//!
//! What always holds: the one character set is UTF-8; bytes that are not UTF-8 never become text.

use arrow::array::ArrayRef;
use arrow::datatypes::{Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use wharf_values::{SqlError, SqlState};

use super::call::{Call, Result, invalid_parameter};
use super::overload::{Declaration, immutable};
use super::strings::substring_range;

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("byteacat", "bytea, bytea -> bytea", concat),
    immutable("length", "bytea -> int4", octet_length),
    immutable("length", "bytea, text -> int4", encoded_length),
    immutable("octet_length", "bytea -> int4", octet_length),
    immutable("bit_length", "bytea -> int4", bit_length),
    immutable("bit_count", "bytea -> int8", bit_count),
    immutable("substring", "bytea, int4 -> bytea", substring),
    immutable("substring", "bytea, int4, int4 -> bytea", substring),
    immutable("substr", "bytea, int4 -> bytea", substring),
    immutable("substr", "bytea, int4, int4 -> bytea", substring),
    immutable("overlay", "bytea, bytea, int4 -> bytea", overlay),
    immutable("overlay", "bytea, bytea, int4, int4 -> bytea", overlay),
    immutable("position", "bytea, bytea -> int4", position),
    immutable("btrim", "bytea, bytea -> bytea", |call| trim(call, true, true)),
    immutable("ltrim", "bytea, bytea -> bytea", |call| trim(call, true, false)),
    immutable("rtrim", "bytea, bytea -> bytea", |call| trim(call, false, true)),
    immutable("get_byte", "bytea, int4 -> int4", get_byte),
    immutable("set_byte", "bytea, int4, int4 -> bytea", set_byte),
    immutable("get_bit", "bytea, int8 -> int4", get_bit),
    immutable("set_bit", "bytea, int8, int4 -> bytea", set_bit),
    immutable("md5", "text -> text", md5_text),
    immutable("md5", "bytea -> text", md5_bytes),
    immutable("sha224", "bytea -> bytea", digest::<Sha224>),
    immutable("sha256", "bytea -> bytea", digest::<Sha256>),
    immutable("sha384", "bytea -> bytea", digest::<Sha384>),
    immutable("sha512", "bytea -> bytea", digest::<Sha512>),
    immutable("encode", "bytea, text -> text", encode),
    immutable("decode", "text, text -> bytea", decode),
    immutable("convert_from", "bytea, text -> text", convert_from),
    immutable("convert_to", "text, text -> bytea", convert_to),
];

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.bytes(0)?, call.bytes(1)?);
    call.make_bytes(|row, out| {
        out.extend_from_slice(left.at(row));
        out.extend_from_slice(right.at(row));
        Ok(())
    })
}

fn octet_length(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.map::<Int32Type>(|row| bytes.at(row).len() as i32)
}

/// The characters of bytes in an encoding.
fn encoded_length(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, encoding) = (call.bytes(0)?, call.text(1)?);
    call.make::<Int32Type>(|row| {
        require_utf8(encoding.at(row))?;
        Ok(utf8(bytes.at(row))?.chars().count() as i32)
    })
}

fn bit_length(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.map::<Int32Type>(|row| (bytes.at(row).len() * 8) as i32)
}

fn bit_count(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.map::<Int64Type>(|row| bytes.at(row).iter().map(|byte| i64::from(byte.count_ones())).sum())
}

fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(bytes.len());
    &bytes[start.min(end)..end]
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, start) = (call.bytes(0)?, call.int4(1)?);
    let length = if call.len() == 3 { Some(call.int4(2)?) } else { None };
    call.make_bytes(|row, out| {
        let (start, end) = substring_range(start.at(row), length.map(|length| length.at(row)))?;
        out.extend_from_slice(slice(bytes.at(row), start, end));
        Ok(())
    })
}

fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, placing, start) = (call.bytes(0)?, call.bytes(1)?, call.int4(2)?);
    let length = if call.len() == 4 { Some(call.int4(3)?) } else { None };
    call.make_bytes(|row, out| {
        let (bytes, placing, start) = (bytes.at(row), placing.at(row), start.at(row));
        let length = length.map_or(placing.len() as i32, |length| length.at(row));
        if start <= 0 {
            return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        let end = start.checked_add(length).ok_or_else(|| super::call::out_of_range("integer"))?;
        out.extend_from_slice(slice(bytes, 0, start as usize - 1));
        out.extend_from_slice(placing);
        out.extend_from_slice(slice(bytes, (i64::from(end) - 1).max(0) as usize, usize::MAX));
        Ok(())
    })
}

fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, part) = (call.bytes(0)?, call.bytes(1)?);
    call.map::<Int32Type>(|row| memchr::memmem::find(bytes.at(row), part.at(row)).map_or(0, |offset| offset as i32 + 1))
}

fn trim(call: &Call<'_>, leading: bool, trailing: bool) -> Result<ArrayRef> {
    let (bytes, set) = (call.bytes(0)?, call.bytes(1)?);
    call.make_bytes(|row, out| {
        let (mut bytes, set) = (bytes.at(row), set.at(row));
        while let [first, rest @ ..] = bytes
            && leading
            && set.contains(first)
        {
            bytes = rest;
        }
        while let [rest @ .., last] = bytes
            && trailing
            && set.contains(last)
        {
            bytes = rest;
        }
        out.extend_from_slice(bytes);
        Ok(())
    })
}

/// The index of a byte.
fn byte_index(index: i64, length: usize) -> Result<usize> {
    usize::try_from(index).ok().filter(|index| *index < length).ok_or_else(|| index_error(index, length))
}

fn index_error(index: i64, length: usize) -> SqlError {
    let last = length as i64 - 1;
    SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("index {index} out of valid range, 0..{last}"))
}

fn get_byte(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, index) = (call.bytes(0)?, call.int4(1)?);
    call.make::<Int32Type>(|row| {
        let bytes = bytes.at(row);
        Ok(i32::from(bytes[byte_index(i64::from(index.at(row)), bytes.len())?]))
    })
}

fn set_byte(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, index, value) = (call.bytes(0)?, call.int4(1)?, call.int4(2)?);
    call.make_bytes(|row, out| {
        out.extend_from_slice(bytes.at(row));
        let index = byte_index(i64::from(index.at(row)), out.len())?;
        // Only the low byte counts, as in PostgreSQL.
        out[index] = value.at(row) as u8;
        Ok(())
    })
}

fn bit_index(index: i64, length: usize) -> Result<(usize, u32)> {
    match usize::try_from(index).ok().filter(|index| *index < length * 8) {
        Some(index) => Ok((index / 8, (index % 8) as u32)),
        None => Err(index_error(index, length * 8)),
    }
}

fn get_bit(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, index) = (call.bytes(0)?, call.int8(1)?);
    call.make::<Int32Type>(|row| {
        let bytes = bytes.at(row);
        let (byte, bit) = bit_index(index.at(row), bytes.len())?;
        Ok(i32::from(bytes[byte] >> bit & 1))
    })
}

fn set_bit(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, index, value) = (call.bytes(0)?, call.int8(1)?, call.int4(2)?);
    call.make_bytes(|row, out| {
        out.extend_from_slice(bytes.at(row));
        let (byte, bit) = bit_index(index.at(row), out.len())?;
        match value.at(row) {
            0 => out[byte] &= !(1 << bit),
            1 => out[byte] |= 1 << bit,
            _ => return Err(invalid_parameter("new bit must be 0 or 1")),
        }
        Ok(())
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends bytes in hexadecimal.
fn push_hex(bytes: &[u8], out: &mut String) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

fn md5_text(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        push_hex(&Md5::digest(text.at(row)), out);
        Ok(())
    })
}

fn md5_bytes(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.make_text(|row, out| {
        push_hex(&Md5::digest(bytes.at(row)), out);
        Ok(())
    })
}

fn digest<D: Digest>(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.make_bytes(|row, out| {
        out.extend_from_slice(&D::digest(bytes.at(row)));
        Ok(())
    })
}

enum Coding {
    Hex,
    Base64,
    Escape,
}

fn coding(name: &str) -> Result<Coding> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "hex" => Coding::Hex,
        "base64" => Coding::Base64,
        "escape" => Coding::Escape,
        _ => return Err(invalid_parameter(format!("unrecognized encoding: \"{name}\""))),
    })
}

fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, name) = (call.bytes(0)?, call.text(1)?);
    call.make_text(|row, out| {
        let bytes = bytes.at(row);
        match coding(name.at(row))? {
            Coding::Hex => push_hex(bytes, out),
            Coding::Base64 => {
                // Lines of 76 characters, as MIME has them.
                for (index, chunk) in bytes.chunks(57).enumerate() {
                    if index > 0 {
                        out.push('\n');
                    }
                    BASE64.encode_string(chunk, out);
                }
            }
            Coding::Escape => {
                for byte in bytes {
                    match byte {
                        b'\\' => out.push_str("\\\\"),
                        0 | 0x80..=0xff => super::strings::write_fmt(out, format_args!("\\{byte:03o}"))?,
                        _ => out.push(char::from(*byte)),
                    }
                }
            }
        }
        Ok(())
    })
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, name) = (call.text(0)?, call.text(1)?);
    call.make_bytes(|row, out| {
        let text = text.at(row);
        match coding(name.at(row))? {
            Coding::Hex => decode_hex(text, out),
            Coding::Base64 => decode_base64(text, out),
            Coding::Escape => decode_escape(text.as_bytes(), out),
        }
    })
}

fn decode_hex(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut high: Option<u8> = None;
    for letter in text.chars() {
        let digit = match letter {
            // White space is skipped between the pairs.
            ' ' | '\n' | '\t' | '\r' if high.is_none() => continue,
            letter => letter.to_digit(16),
        };
        let Some(digit) = digit else {
            return Err(invalid_parameter(format!("invalid hexadecimal digit: \"{letter}\"")));
        };
        match high.take() {
            None => high = Some(digit as u8),
            Some(high) => out.push(high << 4 | digit as u8),
        }
    }
    match high {
        None => Ok(()),
        Some(_) => Err(invalid_parameter("invalid hexadecimal data: odd number of digits")),
    }
}

fn decode_base64(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let (mut bits, mut count, mut ended) = (0_u32, 0, 0);
    for letter in text.chars() {
        let value = match letter {
            ' ' | '\n' | '\t' | '\r' => continue,
            '=' => {
                if ended == 0 {
                    ended = match count {
                        2 => 1,
                        3 => 2,
                        _ => {
                            return Err(invalid_parameter("unexpected \"=\" while decoding base64 sequence"));
                        }
                    };
                }
                0
            }
            'A'..='Z' => letter as u32 - 'A' as u32,
            'a'..='z' => letter as u32 - 'a' as u32 + 26,
            '0'..='9' => letter as u32 - '0' as u32 + 52,
            '+' => 62,
            '/' => 63,
            _ => {
                let message = format!("invalid symbol \"{letter}\" found while decoding base64 sequence");
                return Err(invalid_parameter(message));
            }
        };
        bits = bits << 6 | value;
        count += 1;
        if count == 4 {
            out.push((bits >> 16) as u8);
            if ended == 0 || ended > 1 {
                out.push((bits >> 8) as u8);
            }
            if ended == 0 || ended > 2 {
                out.push(bits as u8);
            }
            (bits, count) = (0, 0);
        }
    }
    if count != 0 {
        return Err(invalid_parameter("invalid base64 end sequence")
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(())
}

fn decode_escape(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Ok(()),
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [b'\\', ..] => {
                let message = "invalid input syntax for type bytea";
                return Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        };
    }
}

/// # Errors
/// `0A000` for every encoding but UTF-8.
fn require_utf8(name: &str) -> Result<()> {
    let plain = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(SqlError::unsupported(format!("encoding \"{name}\" is not supported"))
            .with_hint("The only encoding is UTF8.")),
    }
}

/// # Errors
/// `22021` for bytes that are not UTF-8, and for a zero byte, which text cannot hold.
fn utf8(bytes: &[u8]) -> Result<&str> {
    let (text, invalid_at) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => ("", Some(error.valid_up_to())),
    };
    let zero_at = memchr::memchr(0, &bytes[..invalid_at.unwrap_or(bytes.len())]);
    let Some(start) = zero_at.or(invalid_at) else { return Ok(text) };
    let end = (start + sequence_length(bytes[start])).min(bytes.len());
    let hex = bytes[start..end].iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ");
    let message = format!("invalid byte sequence for encoding \"UTF8\": {hex}");
    Err(SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message))
}

/// How many bytes the first byte announces; 1 for one that cannot begin a character.
fn sequence_length(byte: u8) -> usize {
    match byte {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

fn convert_from(call: &Call<'_>) -> Result<ArrayRef> {
    let (bytes, encoding) = (call.bytes(0)?, call.text(1)?);
    call.make_text(|row, out| {
        require_utf8(encoding.at(row))?;
        out.push_str(utf8(bytes.at(row))?);
        Ok(())
    })
}

fn convert_to(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, encoding) = (call.text(0)?, call.text(1)?);
    call.make_bytes(|row, out| {
        require_utf8(encoding.at(row))?;
        out.extend_from_slice(text.at(row).as_bytes());
        Ok(())
    })
}
