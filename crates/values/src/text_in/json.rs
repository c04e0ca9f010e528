//! JSON: checking text as PostgreSQL's parser does, and telling a listener what is in it.
//!
//! What always holds: nothing is accepted that PostgreSQL refuses, and the detail and context of an error are worded as
//! there. Nesting costs one byte per level, not stack, so it has no limit here. Nothing is built: [`crate::jsonb`] is a
//! listener that does.

use crate::error::{SqlError, SqlState};

/// What is told about a document, in order.
pub(crate) trait Listener {
    /// Whether escapes of characters are checked to be text (`jsonb`), or left as they are (`json`).
    const TEXT_NEEDED: bool;

    fn begin(&mut self, object: bool);
    fn end(&mut self);
    /// A key with its quotes and escapes.
    fn key(&mut self, quoted: &[u8]);
    /// A string with its quotes and escapes.
    fn string(&mut self, quoted: &[u8]);
    fn number(&mut self, digits: &[u8]) -> Result<(), SqlError>;
    /// `true`, `false` or `null`.
    fn word(&mut self, word: &[u8]);
}

/// Checks the text of a `json` value.
///
/// # Errors
/// `22P02` for what is no JSON.
pub fn validate(text: &str) -> Result<(), SqlError> {
    struct Nobody;
    impl Listener for Nobody {
        const TEXT_NEEDED: bool = false;
        fn begin(&mut self, _object: bool) {}
        fn end(&mut self) {}
        fn key(&mut self, _quoted: &[u8]) {}
        fn string(&mut self, _quoted: &[u8]) {}
        fn number(&mut self, _digits: &[u8]) -> Result<(), SqlError> {
            Ok(())
        }
        fn word(&mut self, _word: &[u8]) {}
    }
    parse(text, &mut Nobody)
}

/// What may come next.
enum Expected {
    Value,
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    /// A value, or the end of an empty array.
    FirstItem,
    /// What may follow a value where it stands.
    AfterValue,
}

/// Reads a whole document. `22P02` for bad syntax, `22P05` for escapes that are not text where text is needed.
pub(crate) fn parse<L: Listener>(text: &str, listener: &mut L) -> Result<(), SqlError> {
    let mut lexer =
        Lexer { text: text.as_bytes(), start: 0, end: 0, line_start: 0, line: 1, check_text: L::TEXT_NEEDED };
    // True for objects.
    let mut open: Vec<bool> = Vec::new();
    let mut expected = Expected::Value;
    loop {
        let token = lexer.next()?;
        expected = match expected {
            Expected::FirstItem if token == Token::Punctuation(b']') => {
                open.pop();
                listener.end();
                Expected::AfterValue
            }
            Expected::Value | Expected::FirstItem => match token {
                Token::Punctuation(bracket @ (b'{' | b'[')) => {
                    let object = bracket == b'{';
                    open.push(object);
                    listener.begin(object);
                    if object { Expected::FirstKey } else { Expected::FirstItem }
                }
                Token::String => {
                    listener.string(lexer.token());
                    Expected::AfterValue
                }
                Token::Number => {
                    listener.number(lexer.token())?;
                    Expected::AfterValue
                }
                Token::Word => {
                    listener.word(lexer.token());
                    Expected::AfterValue
                }
                _ => return Err(lexer.unexpected(token, "JSON value")),
            },
            Expected::FirstKey if token == Token::Punctuation(b'}') => {
                open.pop();
                listener.end();
                Expected::AfterValue
            }
            Expected::FirstKey | Expected::Key => {
                if token != Token::String {
                    let wanted = if matches!(expected, Expected::Key) { "string" } else { "string or \"}\"" };
                    return Err(lexer.unexpected(token, wanted));
                }
                listener.key(lexer.token());
                let colon = lexer.next()?;
                if colon != Token::Punctuation(b':') {
                    return Err(lexer.unexpected(colon, "\":\""));
                }
                Expected::Value
            }
            Expected::AfterValue => match (open.last(), token) {
                (None, Token::End) => return Ok(()),
                (None, _) => return Err(lexer.unexpected(token, "end of input")),
                (Some(true), Token::Punctuation(b',')) => Expected::Key,
                (Some(false), Token::Punctuation(b',')) => Expected::Value,
                (Some(true), Token::Punctuation(b'}')) | (Some(false), Token::Punctuation(b']')) => {
                    open.pop();
                    listener.end();
                    Expected::AfterValue
                }
                (Some(true), _) => return Err(lexer.unexpected(token, "\",\" or \"}\"")),
                (Some(false), _) => return Err(lexer.unexpected(token, "\",\" or \"]\"")),
            },
        };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Punctuation(u8),
    String,
    Number,
    Word,
    End,
}

struct Lexer<'a> {
    text: &'a [u8],
    /// Where the token begins and ends.
    start: usize,
    end: usize,
    line_start: usize,
    line: usize,
    check_text: bool,
}

impl<'a> Lexer<'a> {
    fn token(&self) -> &'a [u8] {
        &self.text[self.start..self.end]
    }

    fn at(&self, position: usize) -> Option<u8> {
        self.text.get(position).copied()
    }

    fn next(&mut self) -> Result<Token, SqlError> {
        let mut at = self.end;
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.at(at) {
            at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = at;
            }
        }
        self.start = at;
        match self.at(at) {
            None => {
                self.end = at;
                Ok(Token::End)
            }
            Some(byte @ (b'{' | b'}' | b'[' | b']' | b',' | b':')) => {
                self.end = at + 1;
                Ok(Token::Punctuation(byte))
            }
            Some(b'"') => self.string(),
            Some(b'-') => self.number(at + 1),
            Some(b'0'..=b'9') => self.number(at),
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Result<Token, SqlError> {
        let length = self.text[self.start..].iter().take_while(|byte| is_word_byte(**byte)).count();
        self.end = self.start + length.max(1);
        match self.token() {
            b"true" | b"false" | b"null" => Ok(Token::Word),
            _ => Err(self.invalid_token()),
        }
    }

    fn number(&mut self, digits: usize) -> Result<Token, SqlError> {
        let skip_digits = |from: usize| from + self.text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut bad = false;
        let mut at = match self.at(digits) {
            Some(b'0') => digits + 1,
            _ => skip_digits(digits),
        };
        bad |= at == digits;
        if self.at(at) == Some(b'.') {
            let end = skip_digits(at + 1);
            bad |= end == at + 1;
            at = end;
        }
        if matches!(self.at(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.at(at), Some(b'+' | b'-')) {
                at += 1;
            }
            let end = skip_digits(at);
            bad |= end == at;
            at = end;
        }
        let junk = self.text[at..].iter().take_while(|byte| is_word_byte(**byte)).count();
        self.end = at + junk;
        if bad || junk > 0 { Err(self.invalid_token()) } else { Ok(Token::Number) }
    }

    fn string(&mut self) -> Result<Token, SqlError> {
        let mut at = self.start + 1;
        let mut high_surrogate = false;
        loop {
            // The usual characters, in one go.
            let plain = self.text[at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            at += plain;
            if high_surrogate && plain > 0 {
                at -= plain;
                self.end = at + character_length(&self.text[at..]);
                return Err(self.bad_surrogate(LOW_SURROGATE));
            }
            match self.at(at) {
                None => {
                    self.end = at;
                    return Err(self.invalid_token());
                }
                Some(b'"') => {
                    self.end = at + 1;
                    return if high_surrogate { Err(self.bad_surrogate(LOW_SURROGATE)) } else { Ok(Token::String) };
                }
                Some(b'\\') => {
                    let escape = self.at(at + 1);
                    match escape {
                        None => {
                            self.end = at + 1;
                            return Err(self.invalid_token());
                        }
                        Some(b'u') => {
                            let code = self.code_unit(at + 2)?;
                            if self.check_text {
                                self.end = at + 6;
                                high_surrogate = self.check_code_unit(code, high_surrogate)?;
                            }
                            at += 6;
                        }
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                            at += 2;
                            if high_surrogate {
                                self.end = at;
                                return Err(self.bad_surrogate(LOW_SURROGATE));
                            }
                        }
                        Some(_) => {
                            self.start = at + 1;
                            self.end = at + 1 + character_length(&self.text[at + 1..]);
                            let detail = format!("Escape sequence \"\\{}\" is invalid.", self.token_text());
                            return Err(self.error(detail, false));
                        }
                    }
                }
                Some(control) => {
                    self.end = at;
                    return Err(self.error(format!("Character with value 0x{control:02x} must be escaped."), false));
                }
            }
        }
    }

    /// The four digits of `\u0000`.
    fn code_unit(&mut self, from: usize) -> Result<u32, SqlError> {
        let mut code = 0;
        for at in from..from + 4 {
            match self.at(at).map(|byte| char::from(byte).to_digit(16)) {
                Some(Some(digit)) => code = code * 16 + digit,
                Some(None) => {
                    self.end = at + character_length(&self.text[at..]);
                    let detail = "\"\\u\" must be followed by four hexadecimal digits.".to_owned();
                    return Err(self.error(detail, false));
                }
                None => {
                    self.end = at;
                    return Err(self.invalid_token());
                }
            }
        }
        Ok(code)
    }

    /// Whether the code unit leaves half of a pair open.
    fn check_code_unit(&mut self, code: u32, high_surrogate: bool) -> Result<bool, SqlError> {
        match (code, high_surrogate) {
            (0xd800..=0xdbff, true) => Err(self.bad_surrogate(HIGH_SURROGATE)),
            (0xd800..=0xdbff, false) => Ok(true),
            (0xdc00..=0xdfff, true) => Ok(false),
            (0xdc00..=0xdfff, false) | (_, true) => Err(self.bad_surrogate(LOW_SURROGATE)),
            (0, false) => {
                let mut error = self.error("\\u0000 cannot be converted to text.".to_owned(), false);
                error.code = SqlState::UNTRANSLATABLE_CHARACTER;
                "unsupported Unicode escape sequence".clone_into(&mut error.message);
                Err(error)
            }
            _ => Ok(false),
        }
    }

    fn token_text(&self) -> String {
        super::shown(self.token()).into_owned()
    }

    fn bad_surrogate(&self, detail: &str) -> SqlError {
        self.error(detail.to_owned(), false)
    }

    #[cold]
    fn invalid_token(&self) -> SqlError {
        self.error(format!("Token \"{}\" is invalid.", self.token_text()), false)
    }

    #[cold]
    fn unexpected(&self, token: Token, wanted: &str) -> SqlError {
        match token {
            Token::End => self.error("The input string ended unexpectedly.".to_owned(), true),
            _ => self.error(format!("Expected {wanted}, but found \"{}\".", self.token_text()), false),
        }
    }

    /// The error, with the part of the line that was read as its context.
    #[cold]
    fn error(&self, detail: String, at_end: bool) -> SqlError {
        const SHOWN: usize = 50;
        let mut from = self.line_start;
        while self.end - from >= SHOWN {
            from += character_length(&self.text[from..]);
        }
        if from - self.line_start <= 3 {
            from = self.line_start;
        }
        let before = if from > self.line_start { "..." } else { "" };
        let cut = !at_end && self.at(self.end).is_some_and(|next| !matches!(next, b'\n' | b'\r'));
        let after = if cut { "..." } else { "" };
        let part = super::shown(&self.text[from..self.end]);
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
            .with_context(format!("JSON data, line {}: {before}{part}{after}", self.line))
    }
}

const HIGH_SURROGATE: &str = "Unicode high surrogate must not follow a high surrogate.";
const LOW_SURROGATE: &str = "Unicode low surrogate must follow a high surrogate.";

/// Bytes that belong to a word or number for the sake of an error message.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of the character a text begins with.
fn character_length(text: &[u8]) -> usize {
    1 + text[1..].iter().take_while(|byte| (**byte as i8) < -0x40).count()
}
