//! SQL text to tokens, by PostgreSQL's lexical rules (`src/backend/parser/scan.l`).
//!
//! What always holds: a token's place is its first character's number in the text, from 1, kept as the column of line 1, so
//! that every place in a syntax tree is the position PostgreSQL would report. Strings leave here with their escapes done and
//! with their continuations on later lines joined; identifiers are cut to 63 bytes, which is a notice.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use wharf_values::{SqlError, SqlState};

use super::escapes;
use super::operators;

/// The most bytes of an identifier, PostgreSQL's `NAMEDATALEN` less one.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// A text's tokens.
pub(super) struct Lexed {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// The bytes of the text that each token was read from.
    pub(super) ranges: Vec<Range<usize>>,
    /// Identifiers that were cut: which token, and the notice.
    pub(super) notices: Vec<(usize, SqlError)>,
}

/// Reads a text.
///
/// # Errors
/// `42601`, `22025` and `22P06` for what cannot be a token, with its position; `0A000` for a bit string.
pub(super) fn lex(sql: &str) -> Result<Lexed, SqlError> {
    let lexed = Lexed { tokens: Vec::new(), ranges: Vec::new(), notices: Vec::new() };
    let mut lexer = Lexer { sql, at: 0, counted: 0, characters: 0, lexed };
    while lexer.skip_blanks()?.is_some() {
        lexer.token()?;
    }
    Ok(lexer.lexed)
}

struct Lexer<'a> {
    sql: &'a str,
    /// The byte that comes next.
    at: usize,
    /// Up to this byte characters have been counted.
    counted: usize,
    characters: usize,
    lexed: Lexed,
}

/// What lies between two tokens.
struct Blanks {
    newline: bool,
    comment: bool,
}

fn is_operator_byte(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

fn starts_identifier(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_identifier(byte: u8) -> bool {
    starts_identifier(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.sql.as_bytes()[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at + ahead).copied()
    }

    /// The number of the character that begins at a byte, from 1. Bytes come in rising order.
    fn position(&mut self, byte: usize) -> usize {
        if byte < self.counted {
            return self.sql[..byte].chars().count() + 1;
        }
        self.characters += self.sql[self.counted..byte].chars().count();
        self.counted = byte;
        self.characters + 1
    }

    fn error(&mut self, code: SqlState, message: impl Into<String>, start: usize) -> SqlError {
        let position = self.position(start);
        SqlError::new(code, message).with_position(position)
    }

    /// `42601` that shows the text from `start` up to where reading stands.
    fn near(&mut self, message: &str, start: usize) -> SqlError {
        let text = format!("{message} at or near \"{}\"", &self.sql[start..self.at]);
        self.error(SqlState::SYNTAX_ERROR, text, start)
    }

    fn push(&mut self, token: Token, start: usize) {
        let column = self.position(start) as u64;
        let end = column + self.sql[start..self.at].chars().count() as u64;
        let span = Span { start: Location { line: 1, column }, end: Location { line: 1, column: end } };
        self.lexed.tokens.push(TokenWithSpan { token, span });
        self.lexed.ranges.push(start..self.at);
    }

    /// Blanks and comments; none at the end of the text.
    fn skip_blanks(&mut self) -> Result<Option<Blanks>, SqlError> {
        let mut blanks = Blanks { newline: false, comment: false };
        loop {
            match self.rest() {
                [] => return Ok(None),
                [b'\n' | b'\r', ..] => {
                    blanks.newline = true;
                    self.at += 1;
                }
                [b' ' | b'\t' | 0x0b | 0x0c, ..] => self.at += 1,
                [b'-', b'-', ..] => {
                    let length = self.rest().iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    self.at += length.unwrap_or(self.rest().len());
                }
                [b'/', b'*', ..] => {
                    blanks.comment = true;
                    self.skip_comment()?;
                }
                _ => return Ok(Some(blanks)),
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.rest() {
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                [] => return Err(self.near("unterminated /* comment", start)),
                _ => self.at += 1,
            }
        }
    }

    fn token(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        match self.rest() {
            [b'\'', ..] => {
                let text = self.string(start)?;
                self.push(Token::SingleQuotedString(text), start);
            }
            [b'e' | b'E', b'\'', ..] => self.escaped_string(start)?,
            [b'n' | b'N', b'\'', ..] => {
                self.at += 1;
                let text = self.string(start)?;
                self.push(Token::NationalStringLiteral(text), start);
            }
            [letter @ (b'b' | b'B' | b'x' | b'X'), b'\'', ..] => {
                self.at += 1;
                let text = self.string(start)?;
                return Err(self.bit_string(*letter, &text, start));
            }
            [b'u' | b'U', b'&', b'\'', ..] => {
                self.at += 2;
                let text = self.string(start)?;
                let text = self.unescape_unicode(&text, start)?;
                self.push(Token::SingleQuotedString(text), start);
            }
            [b'u' | b'U', b'&', b'"', ..] => {
                self.at += 2;
                let name = self.quoted_identifier(start)?;
                let name = self.unescape_unicode(&name, start)?;
                self.push_identifier(name, start);
            }
            [b'"', ..] => {
                let name = self.quoted_identifier(start)?;
                self.push_identifier(name, start);
            }
            [b'$', digit, ..] if digit.is_ascii_digit() => {
                self.at += 1;
                self.digits();
                if self.peek(0).is_some_and(starts_identifier) {
                    self.one_character();
                    return Err(self.near("trailing junk after parameter", start));
                }
                self.push(Token::Placeholder(self.sql[start..self.at].to_owned()), start);
            }
            [b'$', ..] => self.dollar_string(start)?,
            [digit, ..] if digit.is_ascii_digit() => self.number(start)?,
            [b'.', digit, ..] if digit.is_ascii_digit() => self.number(start)?,
            [byte, ..] if starts_identifier(*byte) => {
                while self.peek(0).is_some_and(continues_identifier) {
                    self.at += 1;
                }
                let word = self.sql[start..self.at].to_owned();
                let word = self.truncate(word);
                self.push(Token::make_word(&word, None), start);
            }
            [byte, ..] if is_operator_byte(*byte) => self.operator(start),
            _ => self.punctuation(start)?,
        }
        Ok(())
    }

    /// The refusal of `B'..'` and `X'..'`: both are bit strings, and the second is not bytea.
    fn bit_string(&mut self, letter: u8, text: &str, start: usize) -> SqlError {
        let binary = letter.eq_ignore_ascii_case(&b'b');
        let wrong = text.chars().find(|c| !c.is_digit(if binary { 2 } else { 16 }));
        if let Some(wrong) = wrong {
            let kind = if binary { "binary" } else { "hexadecimal" };
            return self.error(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("\"{wrong}\" is not a valid {kind} digit"),
                start,
            );
        }
        let hint = match binary {
            false if text.len().is_multiple_of(2) => format!("For bytes, write '\\x{text}'::bytea."),
            _ => "Use bytea or text.".to_owned(),
        };
        let position = self.position(start);
        SqlError::unsupported("type bit is not supported").with_hint(hint).with_position(position)
    }

    fn one_character(&mut self) {
        self.at += self.sql[self.at..].chars().next().map_or(0, char::len_utf8);
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn number(&mut self, start: usize) -> Result<(), SqlError> {
        self.digits();
        // `1..10` is two numbers with two dots between them.
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.digits();
            } else if sign == 1 {
                self.at += 2;
                return Err(self.near("trailing junk after numeric literal", start));
            }
        }
        if self.peek(0).is_some_and(starts_identifier) {
            self.one_character();
            return Err(self.near("trailing junk after numeric literal", start));
        }
        self.push(Token::Number(self.sql[start..self.at].to_owned(), false), start);
        Ok(())
    }

    /// A string without escapes but `''`, from its opening quote, joined with those that follow on later lines.
    fn string(&mut self, start: usize) -> Result<String, SqlError> {
        let mut text = String::new();
        self.quoted(b'\'', &mut text).map_err(|()| self.near("unterminated quoted string", start))?;
        while self.continues()? {
            self.quoted(b'\'', &mut text).map_err(|()| self.near("unterminated quoted string", start))?;
        }
        Ok(text)
    }

    /// Does the string go on after a line's end? If so reading stands at the quote.
    fn continues(&mut self) -> Result<bool, SqlError> {
        let end = self.at;
        let blanks = self.skip_blanks()?;
        if blanks.is_some_and(|blanks| blanks.newline && !blanks.comment) && self.peek(0) == Some(b'\'') {
            return Ok(true);
        }
        self.at = end;
        Ok(false)
    }

    /// What is between two quotes, which are written twice within.
    fn quoted(&mut self, quote: u8, text: &mut String) -> Result<(), ()> {
        self.at += 1;
        loop {
            let Some(length) = self.rest().iter().position(|byte| *byte == quote) else {
                self.at = self.sql.len();
                return Err(());
            };
            text.push_str(&self.sql[self.at..self.at + length]);
            self.at += length + 1;
            if self.peek(0) != Some(quote) {
                return Ok(());
            }
            text.push(char::from(quote));
            self.at += 1;
        }
    }

    fn escaped_string(&mut self, start: usize) -> Result<(), SqlError> {
        self.at += 1;
        let mut raw = Vec::new();
        loop {
            self.at += 1;
            loop {
                match self.rest() {
                    [] => return Err(self.near("unterminated quoted string", start)),
                    [b'\'', b'\'', ..] => {
                        raw.push(b'\'');
                        self.at += 2;
                    }
                    [b'\'', ..] => {
                        self.at += 1;
                        break;
                    }
                    [b'\\', ..] => match escapes::backslash(self.rest(), &mut raw) {
                        Ok(length) => self.at += length,
                        Err(error) => {
                            let position = self.position(self.at);
                            return Err(error.with_position(position));
                        }
                    },
                    [byte, ..] => {
                        raw.push(*byte);
                        self.at += 1;
                    }
                }
            }
            if !self.continues()? {
                break;
            }
        }
        let text = String::from_utf8(raw).map_err(|error| {
            let bad = error.as_bytes().get(error.utf8_error().valid_up_to()).copied().unwrap_or_default();
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{bad:02x}");
            SqlError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
        })?;
        if text.contains('\0') {
            return Err(SqlError::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ));
        }
        self.push(Token::SingleQuotedString(text), start);
        Ok(())
    }

    fn quoted_identifier(&mut self, start: usize) -> Result<String, SqlError> {
        let mut name = String::new();
        self.quoted(b'"', &mut name).map_err(|()| self.near("unterminated quoted identifier", start))?;
        if name.is_empty() {
            return Err(self.near("zero-length delimited identifier", start));
        }
        Ok(name)
    }

    fn push_identifier(&mut self, name: String, start: usize) {
        let name = self.truncate(name);
        self.push(Token::make_word(&name, Some('"')), start);
    }

    /// Cuts an identifier to the length PostgreSQL keeps, between two characters.
    fn truncate(&mut self, name: String) -> String {
        if name.len() <= MAX_IDENTIFIER_BYTES {
            return name;
        }
        let kept = name.floor_char_boundary(MAX_IDENTIFIER_BYTES);
        let cut = name[..kept].to_owned();
        let message = format!("identifier \"{name}\" will be truncated to \"{cut}\"");
        self.lexed.notices.push((self.lexed.tokens.len(), SqlError::new(SqlState::NAME_TOO_LONG, message)));
        cut
    }

    /// The escapes of `U&'..'`, whose escape character may follow as `UESCAPE 'c'`.
    fn unescape_unicode(&mut self, text: &str, start: usize) -> Result<String, SqlError> {
        let end = self.at;
        let mut escape = '\\';
        let word = self.skip_blanks()?.and_then(|_| self.sql.get(self.at..self.at + 7));
        if word.is_some_and(|word| word.eq_ignore_ascii_case("uescape"))
            && !self.peek(7).is_some_and(continues_identifier)
        {
            let place = self.at;
            self.at += 7;
            let quote = self.skip_blanks()?.and_then(|_| self.peek(0)) == Some(b'\'');
            if !quote {
                return Err(self.near("UESCAPE must be followed by a simple string literal", place));
            }
            let place = self.at;
            let character = self.string(place)?;
            let mut characters = character.chars();
            match (characters.next(), characters.next()) {
                (Some(c), None) if escapes::is_unicode_escape(c) => escape = c,
                _ => return Err(self.near("invalid Unicode escape character", place)),
            }
        } else {
            self.at = end;
        }
        let position = self.position(start);
        escapes::unicode(text, escape).map_err(|error| error.with_position(position))
    }

    /// `$tag$ .. $tag$`, within which nothing is special.
    fn dollar_string(&mut self, start: usize) -> Result<(), SqlError> {
        let tag = self.rest()[1..].iter().position(|byte| *byte == b'$').map(|length| length + 2);
        let tag = tag.map(|length| &self.rest()[..length]).filter(|tag| {
            let inner = &tag[1..tag.len() - 1];
            inner.first().is_none_or(|byte| starts_identifier(*byte))
                && inner.iter().all(|byte| continues_identifier(*byte) && *byte != b'$')
        });
        let Some(tag) = tag.and_then(|tag| std::str::from_utf8(tag).ok()) else {
            self.at += 1;
            return Err(self.near("syntax error", start));
        };
        let body = self.at + tag.len();
        let Some(length) = self.sql[body..].find(tag) else {
            self.at = self.sql.len();
            return Err(self.near("unterminated dollar-quoted string", start));
        };
        self.at = body + length + tag.len();
        self.push(Token::SingleQuotedString(self.sql[body..body + length].to_owned()), start);
        Ok(())
    }

    /// The longest operator, less what a comment takes of it and the signs that belong to what follows.
    fn operator(&mut self, start: usize) {
        let bytes = self.rest();
        let mut length = bytes.iter().take_while(|byte| is_operator_byte(**byte)).count();
        if let Some(comment) = (0..length).find(|i| matches!(bytes[*i..], [b'-', b'-', ..] | [b'/', b'*', ..])) {
            length = comment;
        }
        if length > 1
            && matches!(bytes[length - 1], b'+' | b'-')
            && !bytes[..length].iter().any(|byte| b"~!@#^&|`?%".contains(byte))
        {
            while length > 1 && matches!(bytes[length - 1], b'+' | b'-') {
                length -= 1;
            }
        }
        self.at += length;
        let symbol = &self.sql[start..self.at];
        let after_operand = self.lexed.tokens.last().is_some_and(|last| operators::ends_operand(&last.token));
        self.push(operators::token(symbol, after_operand), start);
    }

    fn punctuation(&mut self, start: usize) -> Result<(), SqlError> {
        let (token, length) = match self.rest() {
            [b':', b':', ..] => (Token::DoubleColon, 2),
            [b':', b'=', ..] => (Token::Assignment, 2),
            [b':', ..] => (Token::Colon, 1),
            [b'(', ..] => (Token::LParen, 1),
            [b')', ..] => (Token::RParen, 1),
            [b'[', ..] => (Token::LBracket, 1),
            [b']', ..] => (Token::RBracket, 1),
            [b',', ..] => (Token::Comma, 1),
            [b';', ..] => (Token::SemiColon, 1),
            [b'.', ..] => (Token::Period, 1),
            _ => {
                self.one_character();
                return Err(self.near("syntax error", start));
            }
        };
        self.at += length;
        self.push(token, start);
        Ok(())
    }
}
