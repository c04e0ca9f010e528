//! `[NOT] DEFERRABLE` among the modes of a transaction, which the parser does not read.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Takes the mode out of a BEGIN, START TRANSACTION or SET TRANSACTION; the last one counts.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> Option<bool> {
    let first = keyword(tokens.first());
    let sets = first == Keyword::SET && tokens.iter().take(5).any(|token| keyword(Some(token)) == Keyword::TRANSACTION);
    if !sets && !matches!(first, Keyword::BEGIN | Keyword::START) {
        return None;
    }
    let mut found = None;
    while let Some(at) = tokens.iter().position(|token| keyword(Some(token)) == Keyword::DEFERRABLE) {
        let negated = keyword(tokens.get(at.wrapping_sub(1))) == Keyword::NOT;
        found = found.or(Some(true)).map(|_| !negated);
        let start = if negated { at - 1 } else { at };
        tokens.drain(start..=at);
        // A comma stands between modes, or nothing does.
        let comma = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::Comma);
        if comma(start) {
            tokens.remove(start);
        } else if start > 0 && comma(start - 1) {
            tokens.remove(start - 1);
        }
    }
    found
}
