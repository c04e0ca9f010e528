//! `format` and the functions that quote identifiers and literals (chapters 9.4.1 and 9.4 of PostgreSQL's manual).
//!
//! What always holds: a quoted identifier or literal reads back as what it was made from. Which words must be quoted is
//! PostgreSQL 15's list of keywords that are not unreserved.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use wharf_values::{SqlError, SqlState};

use super::call::{Call, Result, invalid_parameter};
use super::output::TextOutput;
use super::overload::{Declaration, immutable, stable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    stable("format", "text -> text", format).called_on_null(),
    stable("format", "text, variadic any -> text", format).called_on_null(),
    immutable("quote_ident", "text -> text", quote_ident),
    immutable("quote_literal", "text -> text", quote_literal),
    stable("quote_literal", "anyelement -> text", quote_literal),
    immutable("quote_nullable", "text -> text", quote_nullable).called_on_null(),
    stable("quote_nullable", "anyelement -> text", quote_nullable).called_on_null(),
    immutable("parse_ident", "text -> text[]", parse_ident),
    immutable("parse_ident", "text, bool -> text[]", parse_ident),
];

/// The keywords of PostgreSQL 15 that cannot be used as a column name without quotes, or only in some places.
const QUOTED_KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// Appends an identifier, quoted when it has to be.
pub(crate) fn push_identifier(name: &str, out: &mut String) {
    let plain = name.bytes().enumerate().all(|(index, byte)| match byte {
        b'a'..=b'z' | b'_' => true,
        b'0'..=b'9' => index > 0,
        _ => false,
    });
    if plain && !name.is_empty() && QUOTED_KEYWORDS.binary_search(&name).is_err() {
        out.push_str(name);
        return;
    }
    out.push('"');
    for letter in name.chars() {
        if letter == '"' {
            out.push('"');
        }
        out.push(letter);
    }
    out.push('"');
}

/// Appends a string literal.
pub(super) fn push_literal(text: &str, out: &mut String) {
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for letter in text.chars() {
        if letter == '\'' || letter == '\\' {
            out.push(letter);
        }
        out.push(letter);
    }
    out.push('\'');
}

fn quote_ident(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.make_text(|row, out| {
        push_identifier(text.at(row), out);
        Ok(())
    })
}

fn quote_literal(call: &Call<'_>) -> Result<ArrayRef> {
    let mut output = TextOutput::new(call, 0)?;
    let mut scratch = String::new();
    call.make_text(|row, out| {
        scratch.clear();
        output.write(row, &mut scratch)?;
        push_literal(&scratch, out);
        Ok(())
    })
}

fn quote_nullable(call: &Call<'_>) -> Result<ArrayRef> {
    let mut output = TextOutput::new(call, 0)?;
    let mut scratch = String::new();
    call.make_text(|row, out| {
        if output.is_null(row) {
            out.push_str("NULL");
            return Ok(());
        }
        scratch.clear();
        output.write(row, &mut scratch)?;
        push_literal(&scratch, out);
        Ok(())
    })
}

/// One `%` of a format string.
struct Specifier {
    /// `n$`: which argument, counted from 1.
    position: Option<usize>,
    left: bool,
    width: Width,
    kind: char,
}

enum Width {
    None,
    Fixed(i64),
    /// `*` and `*n$`.
    Argument(Option<usize>),
}

fn format(call: &Call<'_>) -> Result<ArrayRef> {
    let template = call.text(0)?;
    let mut outputs = (1..call.len()).map(|index| TextOutput::new(call, index)).collect::<Result<Vec<_>>>()?;
    let mut value = String::new();
    call.make_optional_text(|row, out| {
        let Some(template) = template.get(row) else { return Ok(false) };
        let mut rest = template;
        let mut next = 0;
        while let Some(offset) = rest.find('%') {
            out.push_str(&rest[..offset]);
            rest = &rest[offset + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let specifier = parse_specifier(&mut rest)?;
            let width = match specifier.width {
                Width::None => 0,
                Width::Fixed(width) => width,
                Width::Argument(position) => {
                    let index = take(&mut next, position, outputs.len())?;
                    width_argument(call, index + 1, row)?
                }
            };
            let index = take(&mut next, specifier.position, outputs.len())?;
            let output = &mut outputs[index];
            value.clear();
            match (specifier.kind, output.is_null(row)) {
                ('I', true) => {
                    let message = "null values cannot be formatted as an SQL identifier";
                    return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
                }
                ('L', true) => value.push_str("NULL"),
                ('s', _) => output.write(row, &mut value)?,
                (kind, _) => {
                    let mut plain = String::new();
                    output.write(row, &mut plain)?;
                    if kind == 'I' { push_identifier(&plain, &mut value) } else { push_literal(&plain, &mut value) }
                }
            }
            push_padded(out, &value, width, specifier.left || width < 0);
        }
        out.push_str(rest);
        Ok(true)
    })
}

/// The argument a specifier names, or the next one; indexes count from 0.
fn take(next: &mut usize, position: Option<usize>, count: usize) -> Result<usize> {
    let index = match position {
        Some(position) => position - 1,
        None => *next,
    };
    if index >= count {
        return Err(invalid_parameter("too few arguments for format()"));
    }
    *next = index + 1;
    Ok(index)
}

fn width_argument(call: &Call<'_>, index: usize, row: usize) -> Result<i64> {
    let argument = &call.arguments[index];
    let row = if argument.constant { 0 } else { row };
    if call.is_null(index, row) {
        return Ok(0);
    }
    let slice = argument.array.slice(row, 1);
    let number = cast(&slice, &DataType::Int64).ok();
    let number = number.as_ref().map(|array| array.as_primitive::<Int64Type>()).filter(|array| array.is_valid(0));
    let number = number.map(|array| array.value(0)).filter(|width| i32::try_from(*width).is_ok());
    number.ok_or_else(|| {
        let mut text = String::new();
        let _ = TextOutput::of(&slice, &call.fields[index], &call.text_format())
            .and_then(|mut output| output.write(0, &mut text));
        SqlError::invalid_text("integer", &text)
    })
}

fn push_padded(out: &mut String, value: &str, width: i64, left: bool) {
    let width = width.unsigned_abs() as usize;
    let fill = width.saturating_sub(value.chars().count());
    if left {
        out.push_str(value);
    }
    out.extend(std::iter::repeat_n(' ', fill));
    if !left {
        out.push_str(value);
    }
}

fn parse_specifier(rest: &mut &str) -> Result<Specifier> {
    let unterminated =
        || invalid_parameter("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".");
    let zero = || invalid_parameter("format specifies argument 0, but arguments are numbered from 1");
    let mut specifier = Specifier { position: None, left: false, width: Width::None, kind: 's' };
    let mut width = None;
    if let Some(number) = take_number(rest)? {
        if let Some(after) = rest.strip_prefix('$') {
            *rest = after;
            specifier.position = Some(usize::try_from(number).ok().filter(|n| *n > 0).ok_or_else(zero)?);
        } else {
            width = Some(number);
        }
    }
    if width.is_none() {
        while let Some(after) = rest.strip_prefix('-') {
            specifier.left = true;
            *rest = after;
        }
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            let position = match take_number(rest)? {
                None => None,
                Some(number) => {
                    let Some(after) = rest.strip_prefix('$') else {
                        return Err(if rest.is_empty() {
                            unterminated()
                        } else {
                            invalid_parameter("width argument position must be ended by \"$\"")
                        });
                    };
                    *rest = after;
                    Some(usize::try_from(number).ok().filter(|n| *n > 0).ok_or_else(zero)?)
                }
            };
            specifier.width = Width::Argument(position);
        } else {
            width = take_number(rest)?;
        }
    }
    if let Some(width) = width {
        specifier.width = Width::Fixed(width);
    }
    let mut letters = rest.chars();
    match letters.next() {
        None => Err(unterminated()),
        Some(kind @ ('s' | 'I' | 'L')) => {
            specifier.kind = kind;
            *rest = letters.as_str();
            Ok(specifier)
        }
        Some(kind) => Err(invalid_parameter(format!("unrecognized format() type specifier \"{kind}\""))
            .with_hint("For a single \"%\" use \"%%\".")),
    }
}

fn take_number(rest: &mut &str) -> Result<Option<i64>> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok(None);
    }
    let number = rest[..digits]
        .parse::<i32>()
        .map_err(|_| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range"))?;
    *rest = &rest[digits..];
    Ok(Some(i64::from(number)))
}

/// `parse_ident`: the parts of a qualified name.
fn parse_ident(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    let strict = if call.len() == 2 { Some(call.boolean(1)?) } else { None };
    call.make_text_list(|row, items| {
        let strict = strict.is_none_or(|strict| strict.at(row));
        for part in identifier_parts(text.at(row), strict)? {
            items.push(&part)?;
        }
        Ok(true)
    })
}

fn identifier_parts(text: &str, strict: bool) -> Result<Vec<String>> {
    let error = || invalid_parameter(format!("string is not a valid identifier: \"{text}\""));
    let starts = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    let mut after_dot = false;
    loop {
        let mut part = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let end = rest.find('"').ok_or_else(|| error().with_detail("String has unclosed double quotes."))?;
                part.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(after) => {
                        part.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
            if part.is_empty() {
                return Err(error().with_detail("Quoted identifier must not be empty."));
            }
        } else if rest.starts_with(starts) {
            let continues = |letter: char| starts(letter) || letter.is_ascii_digit() || letter == '$';
            let end = rest.find(|letter| !continues(letter)).unwrap_or(rest.len());
            super::strings::push_lower(&rest[..end], &mut part);
            rest = &rest[end..];
        } else {
            let detail = if after_dot {
                Some("No valid identifier after \".\".")
            } else if rest.starts_with('.') {
                Some("No valid identifier before \".\".")
            } else {
                None
            };
            return Err(match detail {
                Some(detail) => error().with_detail(detail),
                None => error(),
            });
        }
        parts.push(part);
        rest = rest.trim_start();
        match rest.strip_prefix('.') {
            Some(after) => {
                after_dot = true;
                rest = after.trim_start();
            }
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_for_the_search() {
        assert!(QUOTED_KEYWORDS.is_sorted());
    }
}
