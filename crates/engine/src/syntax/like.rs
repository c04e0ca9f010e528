//! `CREATE TABLE t (LIKE other INCLUDING ALL, ..)`: the options, and columns behind, which the parser does not read.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What of another table comes with its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LikeOptions {
    /// INCLUDING DEFAULTS
    pub(crate) defaults: bool,
    /// INCLUDING CONSTRAINTS: checks
    pub(crate) constraints: bool,
    /// INCLUDING INDEXES: keys
    pub(crate) indexes: bool,
    /// INCLUDING COMMENTS
    pub(crate) comments: bool,
}

impl LikeOptions {
    /// Sets an option; false for a word that is none. What there is not is accepted, since nothing of it could come.
    fn set(&mut self, name: &str, included: bool) -> bool {
        match name {
            "all" => {
                *self = LikeOptions { defaults: included, constraints: included, indexes: included, comments: included }
            }
            "defaults" => self.defaults = included,
            "constraints" => self.constraints = included,
            "indexes" => self.indexes = included,
            "comments" => self.comments = included,
            "compression" | "generated" | "identity" | "statistics" | "storage" => {}
            _ => return false,
        }
        true
    }
}

/// Takes the options out of a CREATE TABLE whose list begins with LIKE; columns behind become a list of their own, which is how the
/// parser reads them.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> LikeOptions {
    let mut options = LikeOptions::default();
    let Some(open) = tokens.iter().position(|token| token.token == Token::LParen) else { return options };
    if word(tokens.get(open + 1)).as_deref() != Some("like") {
        return options;
    }
    // The name of the other table.
    let mut at = open + 3;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    while let Some(included) = match keyword(tokens.get(at)) {
        Keyword::INCLUDING => Some(true),
        Keyword::EXCLUDING => Some(false),
        _ => None,
    } {
        let known = word(tokens.get(at + 1)).is_some_and(|name| options.set(&name, included));
        if !known {
            // The parser says where the mistake is.
            return options;
        }
        tokens.drain(at..at + 2);
    }
    if let Some(comma) = tokens.get(at).filter(|token| token.token == Token::Comma) {
        let span = comma.span;
        let brackets = [Token::RParen, Token::LParen].map(|token| TokenWithSpan { token, span });
        tokens.splice(at..=at, brackets);
    }
    options
}

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn word(token: Option<&TokenWithSpan>) -> Option<String> {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}
