//! The `regexp_` functions, `substring` by pattern, and the functions behind `~` (chapter 9.7.3 of PostgreSQL's manual).
//!
//! What always holds: positions count characters; how the search goes on after an empty match is PostgreSQL's. Functions
//! that return sets return an array here, which the binder unnests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use wharf_values::SqlError;

use super::regex::{Pattern, Patterns, Search};
use super::syntax::Options;
use crate::functions::call::{Call, PrimitiveColumn, Result, TextColumn, TextItems, invalid_parameter, list_offset};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("textregexeq", "text, text -> bool", |call| matches(call, false, true)),
    immutable("textregexne", "text, text -> bool", |call| matches(call, false, false)),
    immutable("texticregexeq", "text, text -> bool", |call| matches(call, true, true)),
    immutable("texticregexne", "text, text -> bool", |call| matches(call, true, false)),
    immutable("regexp_like", "text, text -> bool", regexp_like),
    immutable("regexp_like", "text, text, text -> bool", regexp_like),
    immutable("regexp_match", "text, text -> text[]", regexp_match),
    immutable("regexp_match", "text, text, text -> text[]", regexp_match),
    immutable("regexp_matches", "text, text -> text[]", regexp_matches).returning(list_of_text_lists),
    immutable("regexp_matches", "text, text, text -> text[]", regexp_matches).returning(list_of_text_lists),
    immutable("regexp_replace", "text, text, text -> text", regexp_replace),
    immutable("regexp_replace", "text, text, text, text -> text", regexp_replace),
    immutable("regexp_replace", "text, text, text, int4 -> text", regexp_replace_extended),
    immutable("regexp_replace", "text, text, text, int4, int4 -> text", regexp_replace_extended),
    immutable("regexp_replace", "text, text, text, int4, int4, text -> text", regexp_replace_extended),
    immutable("regexp_count", "text, text -> int4", regexp_count),
    immutable("regexp_count", "text, text, int4 -> int4", regexp_count),
    immutable("regexp_count", "text, text, int4, text -> int4", regexp_count),
    immutable("regexp_instr", "text, text -> int4", regexp_instr),
    immutable("regexp_instr", "text, text, int4 -> int4", regexp_instr),
    immutable("regexp_instr", "text, text, int4, int4 -> int4", regexp_instr),
    immutable("regexp_instr", "text, text, int4, int4, int4 -> int4", regexp_instr),
    immutable("regexp_instr", "text, text, int4, int4, int4, text -> int4", regexp_instr),
    immutable("regexp_instr", "text, text, int4, int4, int4, text, int4 -> int4", regexp_instr),
    immutable("regexp_substr", "text, text -> text", regexp_substr),
    immutable("regexp_substr", "text, text, int4 -> text", regexp_substr),
    immutable("regexp_substr", "text, text, int4, int4 -> text", regexp_substr),
    immutable("regexp_substr", "text, text, int4, int4, text -> text", regexp_substr),
    immutable("regexp_substr", "text, text, int4, int4, text, int4 -> text", regexp_substr),
    immutable("regexp_split_to_array", "text, text -> text[]", regexp_split),
    immutable("regexp_split_to_array", "text, text, text -> text[]", regexp_split),
    immutable("regexp_split_to_table", "text, text -> text[]", regexp_split),
    immutable("regexp_split_to_table", "text, text, text -> text[]", regexp_split),
    immutable("substring", "text, text -> text", substring),
    immutable("substring", "text, text, text -> text", substring_similar),
];

/// Refuses the global option.
fn no_global(name: &str, options: Options) -> Result<()> {
    if options.global {
        return Err(invalid_parameter(format!("{name}() does not support the \"global\" option")));
    }
    Ok(())
}

/// An optional argument.
fn optional<'a, T>(
    call: &'a Call<'_>,
    index: usize,
    get: impl Fn(&'a Call<'_>, usize) -> Result<T>,
) -> Result<Option<T>> {
    if index < call.len() { get(call, index).map(Some) } else { Ok(None) }
}

fn flags<'a>(call: &'a Call<'_>, index: usize) -> Result<Option<TextColumn<'a>>> {
    optional(call, index, |call, index| call.text(index))
}

type Int4Column<'a> = PrimitiveColumn<'a, Int32Type>;

fn int4<'a>(call: &'a Call<'_>, index: usize) -> Result<Option<Int4Column<'a>>> {
    optional(call, index, |call, index| call.int4(index))
}

/// An integer argument with a default and a smallest value.
fn checked(column: Option<Int4Column<'_>>, row: usize, name: &str, default: i32, least: i32) -> Result<i32> {
    match column.map_or(default, |column| column.at(row)) {
        value if value < least => Err(invalid_parameter(format!("invalid value for parameter \"{name}\": {value}"))),
        value => Ok(value),
    }
}

/// The byte at which a start position, counted in characters from 1, lies; `None` beyond the end of the text.
fn start_offset(text: &str, start: i32) -> Option<usize> {
    let skip = start as usize - 1;
    if text.is_ascii() {
        return (skip <= text.len()).then_some(skip);
    }
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).nth(skip)
}

/// The position, in characters from 1, of a byte.
fn position(text: &str, offset: usize) -> i32 {
    text[..offset].chars().count() as i32 + 1
}

fn matches(call: &Call<'_>, ignore_case: bool, wanted: bool) -> Result<ArrayRef> {
    let (text, pattern) = (call.text(0)?, call.text(1)?);
    let options = Options { ignore_case, ..Options::default() };
    let constant = pattern.constant().map(|pattern| Pattern::get(pattern, options)).transpose()?;
    call.make_boolean(|row| {
        let found = match &constant {
            Some(pattern) => pattern.is_match(text.at(row))?,
            None => Pattern::get(pattern.at(row), options)?.is_match(text.at(row))?,
        };
        Ok(found == wanted)
    })
}

fn regexp_like(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let check = |options| no_global("regexp_like", options);
    let patterns = Patterns::new(call.text(1)?, flags(call, 2)?, check)?;
    call.make_boolean(|row| patterns.at(row, check)?.0.is_match(text.at(row)))
}

/// Pushes the captures of a match, or the match where there are none.
fn push_groups(search: &Search<'_, '_>, captures: usize, items: &mut TextItems) -> Result<()> {
    let range = if captures == 0 { 0..1 } else { 1..captures + 1 };
    for index in range {
        match search.capture(index) {
            Some(text) => items.push(text)?,
            None => items.push_null(),
        }
    }
    Ok(())
}

fn regexp_match(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let check = |options| {
        no_global("regexp_match", options).map_err(|error| error.with_hint("Use the regexp_matches function instead."))
    };
    let patterns = Patterns::new(call.text(1)?, flags(call, 2)?, check)?;
    call.make_text_list(|row, items| {
        let (pattern, _) = patterns.at(row, check)?;
        let mut search = Search::new(&pattern, text.at(row));
        let found = search.find(0, true)?;
        if found {
            push_groups(&search, pattern.captures(), items)?;
        }
        Ok(found)
    })
}

fn list_of_text_lists(_: &crate::functions::overload::ReturnArguments<'_>) -> Result<Field> {
    let inner = Field::new_list_field(DataType::new_list(DataType::Utf8View, true), true);
    Ok(Field::new("regexp_matches", DataType::List(Arc::new(inner)), true))
}

/// One array of captures per match, in an array.
fn regexp_matches(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let check = |_| Ok(());
    let patterns = Patterns::new(call.text(1)?, flags(call, 2)?, check)?;
    // The inner lists of all rows, then the offsets that give each row its own.
    let mut inner_offsets = vec![0_i32];
    let mut outer_offsets = vec![0_i32];
    let values = call.make_text_list(|row, items| {
        let (pattern, options) = patterns.at(row, check)?;
        let text = text.at(row);
        let mut search = Search::new(&pattern, text);
        let mut from = 0;
        while from <= text.len() && search.find(from, true)? {
            push_groups(&search, pattern.captures(), items)?;
            inner_offsets.push(list_offset(items.len())?);
            if !options.global {
                break;
            }
            from = search.next_start();
        }
        outer_offsets.push(list_offset(inner_offsets.len() - 1)?);
        Ok(true)
    })?;
    // Rows that are null were not asked, so their offsets are missing.
    let nulls = values.nulls().cloned();
    let mut asked = outer_offsets.into_iter();
    let mut last = asked.next().unwrap_or_default();
    let mut outer = vec![last];
    for row in 0..call.rows {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            last = asked.next().unwrap_or(last);
        }
        outer.push(last);
    }
    let internal = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
    let items = values.as_any().downcast_ref::<ListArray>().map(|list| Arc::clone(list.values()));
    let items = items.ok_or_else(|| SqlError::internal("a list of text was expected"))?;
    let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
    let inner = ListArray::try_new(item, OffsetBuffer::new(inner_offsets.into()), items, None).map_err(internal)?;
    let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
    let list = ListArray::try_new(field, OffsetBuffer::new(outer.into()), Arc::new(inner), nulls).map_err(internal)?;
    Ok(Arc::new(list))
}

/// A replacement text taken apart.
enum Part<'a> {
    Text(&'a str),
    Capture(usize),
}

fn replacement_parts(replacement: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = replacement;
    while let Some(offset) = rest.find('\\') {
        parts.push(Part::Text(&rest[..offset]));
        let escape = &rest[offset..];
        rest = match escape.as_bytes().get(1) {
            Some(b'&') => {
                parts.push(Part::Capture(0));
                &escape[2..]
            }
            Some(digit @ b'1'..=b'9') => {
                parts.push(Part::Capture(usize::from(digit - b'0')));
                &escape[2..]
            }
            Some(b'\\') => {
                parts.push(Part::Text("\\"));
                &escape[2..]
            }
            // Anything else stands for itself, backslash included.
            _ => {
                parts.push(Part::Text("\\"));
                &escape[1..]
            }
        };
    }
    parts.push(Part::Text(rest));
    parts
}

/// Replaces all matches from a place on, or only the `nth`.
fn replace_matches(
    pattern: &Pattern,
    text: &str,
    parts: &[Part<'_>],
    from: usize,
    nth: Option<usize>,
    out: &mut String,
) -> Result<()> {
    let want_captures = parts.iter().any(|part| matches!(part, Part::Capture(1..)));
    let mut search = Search::new(pattern, text);
    let (mut copied, mut from, mut count) = (0, from, 0);
    while from <= text.len() && search.find(from, want_captures)? {
        count += 1;
        if nth.is_none_or(|nth| nth == count) {
            let (start, end) = search.span();
            out.push_str(&text[copied..start]);
            for part in parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Capture(index) => out.push_str(search.capture(*index).unwrap_or("")),
                }
            }
            copied = end;
            if nth.is_some() {
                break;
            }
        }
        from = search.next_start();
    }
    out.push_str(&text[copied..]);
    Ok(())
}

fn regexp_replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, replacement, flags) = (call.text(0)?, call.text(2)?, flags(call, 3)?);
    // A start position without a cast would be taken for flags.
    if let Some(digit) =
        flags.and_then(|flags| flags.constant()).filter(|f| f.starts_with(|c: char| c.is_ascii_digit()))
    {
        let message = format!("invalid regular expression option: \"{}\"", &digit[..1]);
        return Err(invalid_parameter(message).with_hint(
            "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
        ));
    }
    let check = |_| Ok(());
    let patterns = Patterns::new(call.text(1)?, flags, check)?;
    let constant = replacement.constant().map(replacement_parts);
    call.make_text(|row, out| {
        let (pattern, options) = patterns.at(row, check)?;
        let nth = if options.global { None } else { Some(1) };
        match &constant {
            Some(parts) => replace_matches(&pattern, text.at(row), parts, 0, nth, out),
            None => replace_matches(&pattern, text.at(row), &replacement_parts(replacement.at(row)), 0, nth, out),
        }
    })
}

/// `regexp_replace(text, pattern, replacement, start [, n [, flags]])`.
fn regexp_replace_extended(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, replacement) = (call.text(0)?, call.text(2)?);
    let (start, nth) = (int4(call, 3)?, int4(call, 4)?);
    let check = |_| Ok(());
    let patterns = Patterns::new(call.text(1)?, flags(call, 5)?, check)?;
    call.make_text(|row, out| {
        let start = checked(start, row, "start", 1, 1)?;
        let (pattern, options) = patterns.at(row, check)?;
        let nth = match nth {
            // Without a number the global option decides.
            None if options.global => None,
            None => Some(1),
            Some(_) => match checked(nth, row, "n", 1, 0)? {
                0 => None,
                nth => Some(nth as usize),
            },
        };
        let text = text.at(row);
        match start_offset(text, start) {
            Some(from) => replace_matches(&pattern, text, &replacement_parts(replacement.at(row)), from, nth, out),
            None => {
                out.push_str(text);
                Ok(())
            }
        }
    })
}

fn regexp_count(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, start) = (call.text(0)?, int4(call, 2)?);
    let check = |options| no_global("regexp_count", options);
    let patterns = Patterns::new(call.text(1)?, flags(call, 3)?, check)?;
    call.make::<Int32Type>(|row| {
        let start = checked(start, row, "start", 1, 1)?;
        let (pattern, _) = patterns.at(row, check)?;
        let text = text.at(row);
        let Some(mut from) = start_offset(text, start) else { return Ok(0) };
        let mut search = Search::new(&pattern, text);
        let mut count = 0;
        while from <= text.len() && search.find(from, false)? {
            count += 1;
            from = search.next_start();
        }
        Ok(count)
    })
}

/// The span of the `nth` match from a start position, or of one of its captures.
fn nth_match(pattern: &Pattern, text: &str, start: i32, nth: i32, capture: usize) -> Result<Option<(usize, usize)>> {
    let Some(mut from) = start_offset(text, start) else { return Ok(None) };
    // A pattern without captures has one, the whole match.
    if capture > pattern.captures().max(1) {
        return Ok(None);
    }
    let capture = capture.min(pattern.captures());
    let mut search = Search::new(pattern, text);
    let mut count = 0;
    while from <= text.len() && search.find(from, capture > 0)? {
        count += 1;
        if count == nth {
            return Ok(search.capture_span(capture));
        }
        from = search.next_start();
    }
    Ok(None)
}

fn regexp_instr(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let (start, nth, end_option, capture) = (int4(call, 2)?, int4(call, 3)?, int4(call, 4)?, int4(call, 6)?);
    let check = |options| no_global("regexp_instr", options);
    let patterns = Patterns::new(call.text(1)?, flags(call, 5)?, check)?;
    call.make::<Int32Type>(|row| {
        let start = checked(start, row, "start", 1, 1)?;
        let nth = checked(nth, row, "n", 1, 1)?;
        let end_option = checked(end_option, row, "endoption", 0, 0)?;
        if end_option > 1 {
            return Err(invalid_parameter(format!("invalid value for parameter \"endoption\": {end_option}")));
        }
        let capture = checked(capture, row, "subexpr", 0, 0)?;
        let (pattern, _) = patterns.at(row, check)?;
        let text = text.at(row);
        Ok(match nth_match(&pattern, text, start, nth, capture as usize)? {
            None => 0,
            Some((start, end)) => position(text, if end_option == 1 { end } else { start }),
        })
    })
}

fn regexp_substr(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let (start, nth, capture) = (int4(call, 2)?, int4(call, 3)?, int4(call, 5)?);
    let check = |options| no_global("regexp_substr", options);
    let patterns = Patterns::new(call.text(1)?, flags(call, 4)?, check)?;
    call.make_optional_str(|row| {
        let start = checked(start, row, "start", 1, 1)?;
        let nth = checked(nth, row, "n", 1, 1)?;
        let capture = checked(capture, row, "subexpr", 0, 0)?;
        let (pattern, _) = patterns.at(row, check)?;
        let text = text.at(row);
        let span = nth_match(&pattern, text, start, nth, capture as usize)?;
        Ok(span.map(|(start, end)| &text[start..end]))
    })
}

/// The pieces between matches. Empty matches at the ends of the text, and right behind another match, separate nothing.
fn regexp_split(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let name = call.name;
    let check = |options| no_global(name, options);
    let patterns = Patterns::new(call.text(1)?, flags(call, 2)?, check)?;
    call.make_text_list(|row, items| {
        let (pattern, _) = patterns.at(row, check)?;
        let text = text.at(row);
        let mut search = Search::new(&pattern, text);
        let (mut piece, mut from) = (0, 0);
        while from <= text.len() && search.find(from, false)? {
            let (start, end) = search.span();
            if start < text.len() && end > piece {
                items.push(&text[piece..start])?;
                piece = end;
            }
            from = search.next_start();
        }
        items.push(&text[piece..])?;
        Ok(true)
    })
}

/// The first capture of the first match, or the match.
fn first_group<'a>(pattern: &Pattern, text: &'a str) -> Result<Option<&'a str>> {
    let mut search = Search::new(pattern, text);
    if !search.find(0, pattern.captures() > 0)? {
        return Ok(None);
    }
    Ok(search.capture(usize::from(pattern.captures() > 0)))
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let check = |_| Ok(());
    let patterns = Patterns::new(call.text(1)?, None, check)?;
    call.make_optional_str(|row| first_group(&patterns.at(row, check)?.0, text.at(row)))
}

fn substring_similar(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, escape) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.make_optional_str(|row| {
        let regex = super::like::similar_to_regex(pattern.at(row), Some(escape.at(row)))?;
        first_group(&*Pattern::get(&regex, Options::default())?, text.at(row))
    })
}
