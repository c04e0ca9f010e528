//! `LIKE` and `SIMILAR TO` as functions (chapters 9.7.1 and 9.7.2 of PostgreSQL's manual), for the escapes that DataFusion's
//! operator does not have, and the patterns of both translated.
//!
//! What always holds: a pattern that ends in its escape character is `22025`, as in PostgreSQL.

use arrow::array::ArrayRef;
use wharf_values::{SqlError, SqlState};

use super::regex::Pattern;
use super::syntax::Options;
use crate::functions::call::{Call, Result, TextColumn};
use crate::functions::overload::{Declaration, immutable};
use crate::functions::strings::push_lower;

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("like", "text, text -> bool", |call| like(call, false, true)),
    immutable("notlike", "text, text -> bool", |call| like(call, false, false)),
    immutable("texticlike", "text, text -> bool", |call| like(call, true, true)),
    immutable("texticnlike", "text, text -> bool", |call| like(call, true, false)),
    immutable("like_escape", "text, text -> text", like_escape),
    immutable("similar_to_escape", "text -> text", similar_to_escape),
    immutable("similar_to_escape", "text, text -> text", similar_to_escape),
    immutable("similar_to", "text, text -> bool", similar_to),
    immutable("similar_to", "text, text, text -> bool", similar_to),
];

/// A piece of a `LIKE` pattern.
#[derive(Debug, PartialEq)]
enum Piece {
    Literal(char),
    One,
    Any,
    /// An escape at the end, an error once the text reaches it.
    TrailingEscape,
}

fn trailing_escape() -> SqlError {
    SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character")
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        pieces.push(match letter {
            '\\' => letters.next().map_or(Piece::TrailingEscape, Piece::Literal),
            '%' => Piece::Any,
            '_' => Piece::One,
            letter => Piece::Literal(letter),
        });
    }
    pieces
}

/// Greedy matching with one place to come back to, since only the last `%` can need more.
fn matches(text: &str, pieces: &[Piece]) -> Result<bool> {
    let mut rest = text;
    let mut index = 0;
    let mut retry: Option<(usize, &str)> = None;
    loop {
        match (pieces.get(index), rest.chars().next()) {
            (Some(Piece::Any), _) => {
                index += 1;
                retry = Some((index, rest));
                continue;
            }
            (Some(Piece::One), Some(letter)) => {
                rest = &rest[letter.len_utf8()..];
                index += 1;
                continue;
            }
            (Some(Piece::Literal(wanted)), Some(letter)) if *wanted == letter => {
                rest = &rest[letter.len_utf8()..];
                index += 1;
                continue;
            }
            (Some(Piece::TrailingEscape), Some(_)) => return Err(trailing_escape()),
            (None, None) => return Ok(true),
            _ => {}
        }
        let Some((after, from)) = retry else { return Ok(false) };
        let Some(letter) = from.chars().next() else { return Ok(false) };
        rest = &from[letter.len_utf8()..];
        retry = Some((after, rest));
        index = after;
    }
}

fn like(call: &Call<'_>, ignore_case: bool, wanted: bool) -> Result<ArrayRef> {
    let (text, pattern) = (call.text(0)?, call.text(1)?);
    let prepare = |pattern: &str| {
        if ignore_case {
            let mut lower = String::new();
            push_lower(pattern, &mut lower);
            pieces(&lower)
        } else {
            pieces(pattern)
        }
    };
    let constant = pattern.constant().map(prepare);
    let mut lower = String::new();
    call.make_boolean(|row| {
        let mut text = text.at(row);
        if ignore_case {
            lower.clear();
            push_lower(text, &mut lower);
            text = &lower;
        }
        Ok(wanted
            == match &constant {
                Some(pieces) => matches(text, pieces)?,
                None => matches(text, &prepare(pattern.at(row)))?,
            })
    })
}

/// The one character of an escape clause, `None` for no escape.
fn escape_char(escape: &str) -> Result<Option<char>> {
    let mut letters = escape.chars();
    match (letters.next(), letters.next()) {
        (letter, None) => Ok(letter),
        _ => Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

/// A pattern with another escape character rewritten to the backslash.
fn like_escape(call: &Call<'_>) -> Result<ArrayRef> {
    let (pattern, escape) = (call.text(0)?, call.text(1)?);
    call.make_text(|row, out| {
        let escape = escape_char(escape.at(row))?;
        let mut escaped = false;
        for letter in pattern.at(row).chars() {
            if Some(letter) == escape && !escaped {
                out.push('\\');
                escaped = true;
                continue;
            }
            if letter == '\\' && escape != Some('\\') && !escaped {
                out.push('\\');
            }
            out.push(letter);
            escaped = false;
        }
        Ok(())
    })
}

/// A pattern of `SIMILAR TO` as a regular expression.
///
/// # Errors
/// `22025` for an escape string that is not one character, `2200C` for more than two separators.
pub(super) fn similar_to_regex(pattern: &str, escape: Option<&str>) -> Result<String> {
    let escape = escape.map_or(Ok(Some('\\')), escape_char)?;
    let mut out = String::from("^(?:");
    let mut after_escape = false;
    let mut in_brackets = false;
    let mut separators = 0;
    for letter in pattern.chars() {
        if after_escape {
            if letter == '"' && !in_brackets {
                // The separators of the three parts of SUBSTRING's pattern.
                match separators {
                    0 => out.push_str("){1,1}?("),
                    1 => out.push_str("){1,1}(?:"),
                    _ => {
                        let message =
                            "SQL regular expression may not contain more than two escape-double-quote separators";
                        return Err(SqlError::new(SqlState::INVALID_USE_OF_ESCAPE_CHARACTER, message));
                    }
                }
                separators += 1;
            } else {
                out.push('\\');
                out.push(letter);
            }
            after_escape = false;
        } else if Some(letter) == escape {
            after_escape = true;
        } else if in_brackets {
            if letter == '\\' {
                out.push('\\');
            }
            out.push(letter);
            in_brackets = letter != ']';
        } else {
            match letter {
                '[' => {
                    out.push('[');
                    in_brackets = true;
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(letter);
                }
                letter => out.push(letter),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn similar_to_escape(call: &Call<'_>) -> Result<ArrayRef> {
    let pattern = call.text(0)?;
    let escape = if call.len() == 2 { Some(call.text(1)?) } else { None };
    call.make_text(|row, out| {
        out.push_str(&similar_to_regex(pattern.at(row), escape.map(|escape| escape.at(row)))?);
        Ok(())
    })
}

fn similar_to(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.text(0)?, call.text(1)?);
    let escape: Option<TextColumn<'_>> = if call.len() == 3 { Some(call.text(2)?) } else { None };
    let compile =
        |pattern: &str, escape: Option<&str>| Pattern::get(&similar_to_regex(pattern, escape)?, Options::default());
    let constant = match (pattern.constant(), escape.map(|escape| escape.constant())) {
        (Some(pattern), None) => Some(compile(pattern, None)?),
        (Some(pattern), Some(Some(escape))) => Some(compile(pattern, Some(escape))?),
        _ => None,
    };
    call.make_boolean(|row| match &constant {
        Some(pattern) => pattern.is_match(text.at(row)),
        None => compile(pattern.at(row), escape.map(|escape| escape.at(row)))?.is_match(text.at(row)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn like_matches_as_postgresql() {
        let like = |text, pattern| matches(text, &pieces(pattern)).unwrap();
        assert!(like("abc", "a%") && like("abc", "%b%") && like("abc", "a_c") && like("", "%"));
        assert!(!like("abc", "a_") && !like("abc", "b%") && !like("", "_"));
        assert!(like("a%c", r"a\%c") && !like("abc", r"a\%c"));
        assert!(like("aXbXc", "%X%X%") && like("abab", "%ab") && !like("aba", "%ab"));
        assert!(!like("a", r"a\"));
        assert_eq!(matches("ab", &pieces(r"a\")).unwrap_err().code.as_str(), "22025");
    }
}
