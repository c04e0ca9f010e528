//! Clauses of statements that change rows, in words that the parser reads: `ONLY`, `WHERE CURRENT OF`, and what MERGE can do
//! beside changing rows.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Stands for the row of a cursor: `WHERE CURRENT OF c` is `WHERE "\0current of" = c`.
pub(crate) const CURRENT_OF: &str = "\0current of";
/// Stands in the place of what MERGE does when it does nothing.
pub(crate) const NOTHING: &str = "\0nothing";
/// Stands in the place of the values in `INSERT DEFAULT VALUES`.
pub(crate) const DEFAULTS: &str = "\0defaults";

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn is_word(token: Option<&TokenWithSpan>, expected: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

/// Rewrites a statement's tokens.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    only(tokens);
    current_of(tokens);
    if tokens.iter().any(|token| keyword(Some(token)) == Keyword::MERGE) {
        merge_actions(tokens);
    }
}

/// `FROM ONLY t` is `FROM t`: no table inherits from another.
fn only(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let names_table = matches!(
            keyword(tokens.get(at - 1)),
            Keyword::FROM | Keyword::UPDATE | Keyword::INTO | Keyword::JOIN | Keyword::USING
        );
        let name_follows = matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_)));
        if names_table && name_follows && keyword(tokens.get(at)) == Keyword::ONLY {
            tokens.remove(at);
        }
        at += 1;
    }
}

fn current_of(tokens: &mut [TokenWithSpan]) {
    let count = tokens.len();
    let found = (1..count).find(|at| {
        keyword(tokens.get(at - 1)) == Keyword::WHERE
            && is_word(tokens.get(*at), "current")
            && is_word(tokens.get(at + 1), "of")
    });
    if let Some(at) = found
        && at + 2 < count
    {
        tokens[at].token = Token::make_word(CURRENT_OF, Some('"'));
        tokens[at + 1].token = Token::Eq;
    }
}

/// `THEN DO NOTHING` and `THEN INSERT DEFAULT VALUES`.
fn merge_actions(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    let mut inserts = false;
    while at < tokens.len() {
        let previous = keyword(tokens.get(at - 1));
        if previous == Keyword::WHEN {
            // WHEN NOT MATCHED [BY TARGET] inserts, all others update and delete.
            let by_source =
                keyword(tokens.get(at + 2)) == Keyword::BY && keyword(tokens.get(at + 3)) == Keyword::SOURCE;
            inserts = keyword(tokens.get(at)) == Keyword::NOT && !by_source;
        }
        let is_nothing = previous == Keyword::THEN
            && keyword(tokens.get(at)) == Keyword::DO
            && keyword(tokens.get(at + 1)) == Keyword::NOTHING;
        let is_default = previous == Keyword::INSERT
            && keyword(tokens.get(at)) == Keyword::DEFAULT
            && keyword(tokens.get(at + 1)) == Keyword::VALUES;
        let word = |text: &str| Token::make_word(text, None);
        let marked = |mark: &str| [word("VALUES"), Token::LParen, Token::make_word(mark, Some('"')), Token::RParen];
        let replacement = match (is_nothing, is_default) {
            (true, _) if inserts => [vec![word("INSERT")], marked(NOTHING).to_vec()].concat(),
            (true, _) => vec![
                word("UPDATE"),
                word("SET"),
                Token::make_word(NOTHING, Some('"')),
                Token::Eq,
                Token::Number("0".to_owned(), false),
            ],
            (_, true) => marked(DEFAULTS).to_vec(),
            _ => Vec::new(),
        };
        if !replacement.is_empty() {
            let span = tokens[at].span;
            tokens.splice(at..at + 2, replacement.into_iter().map(|token| TokenWithSpan { token, span }));
        }
        at += 1;
    }
}
