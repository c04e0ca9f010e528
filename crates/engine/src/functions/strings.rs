//! String functions (chapter 9.4 of PostgreSQL's manual) except formatting, quoting, patterns and `bytea`.
//!
//! What always holds: positions and lengths count characters; text that is all ASCII, the plain case, is sliced by bytes.
//! Letters are those of the `C.UTF-8` locale: a letter has one upper-case and one lower-case letter (`ß` stays `ß`).

use arrow::array::ArrayRef;
use arrow::datatypes::{Int32Type, Int64Type};
use unicode_normalization::UnicodeNormalization;
use wharf_values::{SqlError, SqlState};

use super::call::{Call, Result, TextColumn, invalid_parameter};
use super::output::TextOutput;
use super::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("length", "text -> int4", char_length),
    immutable("char_length", "text -> int4", char_length),
    immutable("character_length", "text -> int4", char_length),
    immutable("octet_length", "text -> int4", octet_length),
    immutable("bit_length", "text -> int4", bit_length),
    immutable("upper", "text -> text", upper),
    immutable("lower", "text -> text", lower),
    immutable("initcap", "text -> text", initcap),
    immutable("substring", "text, int4 -> text", substring),
    immutable("substring", "text, int4, int4 -> text", substring),
    immutable("substr", "text, int4 -> text", substring),
    immutable("substr", "text, int4, int4 -> text", substring),
    immutable("overlay", "text, text, int4 -> text", overlay),
    immutable("overlay", "text, text, int4, int4 -> text", overlay),
    immutable("left", "text, int4 -> text", left),
    immutable("right", "text, int4 -> text", right),
    immutable("lpad", "text, int4 -> text", lpad),
    immutable("lpad", "text, int4, text -> text", lpad),
    immutable("rpad", "text, int4 -> text", rpad),
    immutable("rpad", "text, int4, text -> text", rpad),
    immutable("repeat", "text, int4 -> text", repeat),
    immutable("replace", "text, text, text -> text", replace),
    immutable("translate", "text, text, text -> text", translate),
    immutable("reverse", "text -> text", reverse),
    immutable("split_part", "text, text, int4 -> text", split_part),
    immutable("strpos", "text, text -> int4", strpos),
    immutable("position", "text, text -> int4", strpos),
    immutable("starts_with", "text, text -> bool", starts_with),
    immutable("btrim", "text -> text", |call| trim(call, true, true)),
    immutable("btrim", "text, text -> text", |call| trim(call, true, true)),
    immutable("ltrim", "text -> text", |call| trim(call, true, false)),
    immutable("ltrim", "text, text -> text", |call| trim(call, true, false)),
    immutable("rtrim", "text -> text", |call| trim(call, false, true)),
    immutable("rtrim", "text, text -> text", |call| trim(call, false, true)),
    stable("concat", "variadic any -> text", concat).called_on_null(),
    stable("concat_ws", "text, variadic any -> text", concat_ws).called_on_null(),
    immutable("ascii", "text -> int4", ascii),
    immutable("chr", "int4 -> text", chr),
    immutable("to_hex", "int4 -> text", to_hex_int4),
    immutable("to_hex", "int8 -> text", to_hex_int8),
    immutable("unistr", "text -> text", unistr),
    immutable("normalize", "text -> text", normalize),
    immutable("normalize", "text, text -> text", normalize),
    immutable("is_normalized", "text -> bool", is_normalized),
    immutable("is_normalized", "text, text -> bool", is_normalized),
];

/// The largest text PostgreSQL makes.
const MAX_TEXT_BYTES: usize = 0x3fff_ffff;

fn length_error() -> SqlError {
    SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// The characters of a text, without decoding them: every byte that does not continue one.
fn count_chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Where a character begins; the end of the text when it has not that many.
fn char_offset(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    text.char_indices().nth(index).map_or(text.len(), |(offset, _)| offset)
}

/// The text between two character positions counted from 0.
fn slice_chars(text: &str, start: usize, end: usize) -> &str {
    if text.is_ascii() {
        let end = end.min(text.len());
        return &text[start.min(end)..end];
    }
    let rest = &text[char_offset(text, start)..];
    &rest[..char_offset(rest, end.saturating_sub(start))]
}

fn char_length(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.map::<Int32Type>(|row| count_chars(text.at(row)) as i32)
}

fn octet_length(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.map::<Int32Type>(|row| text.at(row).len() as i32)
}

fn bit_length(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make::<Int32Type>(|row| {
        i32::try_from(text.at(row).len() * 8).map_err(|_| super::call::out_of_range("integer"))
    })
}

/// One letter for one letter, as `towupper` has it.
pub(super) fn upper_char(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => letter,
    }
}

/// One letter for one letter, as `towlower` has it.
pub(super) fn lower_char(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        // The only letter with more than one: the dotted capital I.
        _ if letter == '\u{130}' => 'i',
        _ => letter,
    }
}

fn upper(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        let text = text.at(row);
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_uppercase();
        } else {
            out.extend(text.chars().map(upper_char));
        }
        Ok(())
    })
}

fn lower(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        push_lower(text.at(row), out);
        Ok(())
    })
}

pub(super) fn push_lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        out[start..].make_ascii_lowercase();
    } else {
        out.extend(text.chars().map(lower_char));
    }
}

fn initcap(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        let mut inside = false;
        for letter in text.at(row).chars() {
            out.push(if inside { lower_char(letter) } else { upper_char(letter) });
            inside = letter.is_alphanumeric();
        }
        Ok(())
    })
}

/// The range of `substring(text, start, length)` as character positions counted from 0.
///
/// # Errors
/// `22011` for a negative length.
pub(super) fn substring_range(start: i32, length: Option<i32>) -> Result<(usize, usize)> {
    let first = i64::from(start) - 1;
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => {
            return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        Some(length) => first + i64::from(length),
    };
    let start = first.max(0);
    Ok((start as usize, end.max(start) as usize))
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, start) = (call.text(0)?, call.int4(1)?);
    if call.len() == 2 {
        return call.make_str(|row| {
            let (start, end) = substring_range(start.at(row), None)?;
            Ok(slice_chars(text.at(row), start, end))
        });
    }
    let length = call.int4(2)?;
    call.make_str(|row| {
        let (start, end) = substring_range(start.at(row), Some(length.at(row)))?;
        Ok(slice_chars(text.at(row), start, end))
    })
}

fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, placing, start) = (call.text(0)?, call.text(1)?, call.int4(2)?);
    let length = if call.len() == 4 { Some(call.int4(3)?) } else { None };
    call.make_text(|row, out| {
        let (text, placing, start) = (text.at(row), placing.at(row), start.at(row));
        let length = length.map_or(count_chars(placing) as i32, |length| length.at(row));
        if start <= 0 {
            return Err(SqlError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        let end = start.checked_add(length).ok_or_else(|| super::call::out_of_range("integer"))?;
        out.push_str(slice_chars(text, 0, start as usize - 1));
        out.push_str(placing);
        out.push_str(slice_chars(text, (i64::from(end) - 1).max(0) as usize, usize::MAX));
        Ok(())
    })
}

/// A count of characters from the left; a negative one leaves that many off at the right.
fn count_from(text: &str, count: i32) -> usize {
    if count >= 0 { count as usize } else { count_chars(text).saturating_sub(count.unsigned_abs() as usize) }
}

fn left(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, count) = (call.text(0)?, call.int4(1)?);
    call.make_str(|row| {
        let text = text.at(row);
        Ok(slice_chars(text, 0, count_from(text, count.at(row))))
    })
}

fn right(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, count) = (call.text(0)?, call.int4(1)?);
    call.make_str(|row| {
        let (text, count) = (text.at(row), count.at(row));
        let skip =
            if count >= 0 { count_chars(text).saturating_sub(count as usize) } else { count.unsigned_abs() as usize };
        Ok(slice_chars(text, skip, usize::MAX))
    })
}

/// The parts of a padded text: the padding to write (in characters), and the text, perhaps cut.
fn padding<'a>(text: &'a str, length: i32, fill: &str) -> Result<(usize, &'a str)> {
    let length = length.max(0) as usize;
    if length.saturating_mul(4) > MAX_TEXT_BYTES {
        return Err(length_error());
    }
    let has = count_chars(text);
    if has >= length {
        return Ok((0, slice_chars(text, 0, length)));
    }
    Ok((if fill.is_empty() { 0 } else { length - has }, text))
}

fn push_fill(out: &mut String, fill: &str, count: usize) {
    out.extend(fill.chars().cycle().take(count));
}

fn lpad(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, length) = (call.text(0)?, call.int4(1)?);
    let fill = if call.len() == 3 { Some(call.text(2)?) } else { None };
    call.make_text(|row, out| {
        let fill = fill.map_or(" ", |fill| fill.at(row));
        let (count, text) = padding(text.at(row), length.at(row), fill)?;
        push_fill(out, fill, count);
        out.push_str(text);
        Ok(())
    })
}

fn rpad(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, length) = (call.text(0)?, call.int4(1)?);
    let fill = if call.len() == 3 { Some(call.text(2)?) } else { None };
    call.make_text(|row, out| {
        let fill = fill.map_or(" ", |fill| fill.at(row));
        let (count, text) = padding(text.at(row), length.at(row), fill)?;
        out.push_str(text);
        push_fill(out, fill, count);
        Ok(())
    })
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, count) = (call.text(0)?, call.int4(1)?);
    call.make_text(|row, out| {
        let (text, count) = (text.at(row), count.at(row).max(0) as usize);
        if text.len().saturating_mul(count) > MAX_TEXT_BYTES {
            return Err(length_error());
        }
        out.reserve(text.len() * count);
        for _ in 0..count {
            out.push_str(text);
        }
        Ok(())
    })
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let constant = from.constant().map(|from| memchr::memmem::Finder::new(from.as_bytes()).into_owned());
    call.make_text(|row, out| {
        let (text, from, to) = (text.at(row), from.at(row), to.at(row));
        if from.is_empty() {
            out.push_str(text);
            return Ok(());
        }
        let mut rest = text;
        let mut replace_at = |offset: usize, out: &mut String| {
            out.push_str(&rest[..offset]);
            out.push_str(to);
            rest = &rest[offset + from.len()..];
        };
        let mut done = 0;
        match &constant {
            Some(finder) => {
                while let Some(offset) = finder.find(&text.as_bytes()[done..]) {
                    replace_at(offset, out);
                    done += offset + from.len();
                }
            }
            None => {
                while let Some(offset) = text[done..].find(from) {
                    replace_at(offset, out);
                    done += offset + from.len();
                }
            }
        }
        out.push_str(rest);
        if out.len() > MAX_TEXT_BYTES { Err(length_error()) } else { Ok(()) }
    })
}

fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let map = |from: &str, to: &str| {
        let mut map: Vec<(char, Option<char>)> = Vec::new();
        let mut to = to.chars();
        for letter in from.chars() {
            let becomes = to.next();
            // The first occurrence decides.
            if !map.iter().any(|(known, _)| *known == letter) {
                map.push((letter, becomes));
            }
        }
        map
    };
    let constant = from.constant().zip(to.constant()).map(|(from, to)| map(from, to));
    call.make_text(|row, out| {
        let own;
        let map = match &constant {
            Some(map) => map,
            None => {
                own = map(from.at(row), to.at(row));
                &own
            }
        };
        for letter in text.at(row).chars() {
            match map.iter().find(|(from, _)| *from == letter) {
                Some((_, Some(becomes))) => out.push(*becomes),
                Some((_, None)) => {}
                None => out.push(letter),
            }
        }
        Ok(())
    })
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        out.extend(text.at(row).chars().rev());
        Ok(())
    })
}

fn split_part(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, separator, field) = (call.text(0)?, call.text(1)?, call.int4(2)?);
    call.make_str(|row| {
        let (text, separator, field) = (text.at(row), separator.at(row), field.at(row));
        if field == 0 {
            return Err(invalid_parameter("field position must not be zero"));
        }
        if text.is_empty() {
            return Ok("");
        }
        if separator.is_empty() {
            return Ok(if field == 1 || field == -1 { text } else { "" });
        }
        let index = if field > 0 {
            field as usize - 1
        } else {
            // Fields are counted from the left even so: 'aXXXa' by 'XX' is 'a' and 'Xa'.
            match text.split(separator).count().checked_sub(field.unsigned_abs() as usize) {
                Some(index) => index,
                None => return Ok(""),
            }
        };
        Ok(text.split(separator).nth(index).unwrap_or(""))
    })
}

fn strpos(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, part) = (call.text(0)?, call.text(1)?);
    let position = |text: &str, offset: Option<usize>| match offset {
        None => 0,
        Some(offset) => count_chars(&text[..offset]) as i32 + 1,
    };
    if let Some(part) = part.constant() {
        let finder = memchr::memmem::Finder::new(part.as_bytes());
        return call.map::<Int32Type>(|row| {
            let text = text.at(row);
            position(text, finder.find(text.as_bytes()))
        });
    }
    call.map::<Int32Type>(|row| {
        let text = text.at(row);
        position(text, text.find(part.at(row)))
    })
}

fn starts_with(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, prefix) = (call.text(0)?, call.text(1)?);
    call.make_boolean(|row| Ok(text.at(row).starts_with(prefix.at(row))))
}

fn trim(call: &Call<'_>, leading: bool, trailing: bool) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let set: Option<TextColumn<'_>> = if call.len() == 2 { Some(call.text(1)?) } else { None };
    call.make_str(|row| {
        let mut text = text.at(row);
        let set = set.map_or(" ", |set| set.at(row));
        // One ASCII character is the plain case and needs no search in the set.
        if let [only] = set.as_bytes() {
            let only = char::from(*only);
            if leading {
                text = text.trim_start_matches(only);
            }
            if trailing {
                text = text.trim_end_matches(only);
            }
            return Ok(text);
        }
        if leading {
            text = text.trim_start_matches(|letter| set.contains(letter));
        }
        if trailing {
            text = text.trim_end_matches(|letter| set.contains(letter));
        }
        Ok(text)
    })
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let mut outputs = (0..call.len()).map(|index| TextOutput::new(call, index)).collect::<Result<Vec<_>>>()?;
    call.make_text(|row, out| {
        for output in &mut outputs {
            output.write(row, out)?;
        }
        Ok(())
    })
}

fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    let separator = call.text(0)?;
    let mut outputs = (1..call.len()).map(|index| TextOutput::new(call, index)).collect::<Result<Vec<_>>>()?;
    call.make_optional_text(|row, out| {
        let Some(separator) = separator.get(row) else { return Ok(false) };
        let mut first = true;
        for output in &mut outputs {
            if output.is_null(row) {
                continue;
            }
            if !first {
                out.push_str(separator);
            }
            first = false;
            output.write(row, out)?;
        }
        Ok(true)
    })
}

fn ascii(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.map::<Int32Type>(|row| text.at(row).chars().next().map_or(0, |letter| letter as i32))
}

fn chr(call: &Call<'_>) -> Result<ArrayRef> {
    let code = call.int4(0)?;
    call.make_text(|row, out| {
        let error = |message: String| Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
        match code.at(row) {
            code if code < 0 => Err(invalid_parameter("character number must be positive")),
            0 => error("null character not permitted".to_owned()),
            code if code > 0x10_ffff => error(format!("requested character too large for encoding: {code}")),
            code => match char::from_u32(code as u32) {
                Some(letter) => {
                    out.push(letter);
                    Ok(())
                }
                None => error(format!("requested character not valid for encoding: {code}")),
            },
        }
    })
}

fn to_hex_int4(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.primitive::<Int32Type>(0)?;
    call.make_text(|row, out| write_fmt(out, format_args!("{:x}", value.at(row))))
}

fn to_hex_int8(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.primitive::<Int64Type>(0)?;
    call.make_text(|row, out| write_fmt(out, format_args!("{:x}", value.at(row))))
}

/// Appends formatted text; writing into a string cannot fail.
pub(super) fn write_fmt(out: &mut String, arguments: std::fmt::Arguments<'_>) -> Result<()> {
    std::fmt::Write::write_fmt(out, arguments).map_err(|error| SqlError::internal(error.to_string()))
}

/// The escapes of `unistr`: `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`, `\\`, with surrogate pairs.
fn unistr(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| unescape_unicode(text.at(row), out))
}

fn unescape_unicode(text: &str, out: &mut String) -> Result<()> {
    let invalid_pair = || SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair");
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(offset) = rest.find('\\') {
        if offset > 0 && high.is_some() {
            return Err(invalid_pair());
        }
        out.push_str(&rest[..offset]);
        rest = &rest[offset + 1..];
        let escape = match rest.as_bytes() {
            [b'\\', ..] => {
                if high.is_some() {
                    return Err(invalid_pair());
                }
                out.push('\\');
                rest = &rest[1..];
                continue;
            }
            [b'+', ..] => hexadecimal(rest, 1, 6),
            [b'u', ..] => hexadecimal(rest, 1, 4),
            [b'U', ..] => hexadecimal(rest, 1, 8),
            _ => hexadecimal(rest, 0, 4),
        };
        let Some((code, after)) = escape else {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX."));
        };
        rest = after;
        match (high.take(), code) {
            (Some(first), 0xdc00..=0xdfff) => {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                out.extend(char::from_u32(code));
            }
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(invalid_pair()),
            (None, 0xd800..=0xdbff) => high = Some(code),
            (None, code) => match char::from_u32(code).filter(|letter| *letter != '\0') {
                Some(letter) => out.push(letter),
                None => {
                    let message = format!("invalid Unicode code point: {code:04X}");
                    return Err(invalid_parameter(message));
                }
            },
        }
    }
    if high.is_some() {
        return Err(invalid_pair());
    }
    out.push_str(rest);
    Ok(())
}

fn hexadecimal(text: &str, skip: usize, digits: usize) -> Option<(u32, &str)> {
    let number = text.get(skip..skip + digits)?;
    if !number.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(number, 16).ok()?, &text[skip + digits..]))
}

#[derive(Clone, Copy)]
enum NormalForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

fn normal_form(name: &str) -> Result<NormalForm> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "NFC" => NormalForm::Nfc,
        "NFD" => NormalForm::Nfd,
        "NFKC" => NormalForm::Nfkc,
        "NFKD" => NormalForm::Nfkd,
        _ => return Err(invalid_parameter(format!("invalid normalization form: {name}"))),
    })
}

fn normalize_into(text: &str, form: NormalForm, out: &mut String) {
    match form {
        NormalForm::Nfc => out.extend(text.nfc()),
        NormalForm::Nfd => out.extend(text.nfd()),
        NormalForm::Nfkc => out.extend(text.nfkc()),
        NormalForm::Nfkd => out.extend(text.nfkd()),
    }
}

fn normalize(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let form = if call.len() == 2 { Some(call.text(1)?) } else { None };
    call.make_text(|row, out| {
        let form = form.map_or(Ok(NormalForm::Nfc), |form| normal_form(form.at(row)))?;
        normalize_into(text.at(row), form, out);
        Ok(())
    })
}

fn is_normalized(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let form = if call.len() == 2 { Some(call.text(1)?) } else { None };
    let mut scratch = String::new();
    call.make_boolean(|row| {
        let form = form.map_or(Ok(NormalForm::Nfc), |form| normal_form(form.at(row)))?;
        scratch.clear();
        normalize_into(text.at(row), form, &mut scratch);
        Ok(scratch == text.at(row))
    })
}
