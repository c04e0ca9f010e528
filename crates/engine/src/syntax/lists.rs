//! Lists of expressions whose first element misleads the parser by how it begins.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::patch::keyword;

/// Says them in words that the parser reads.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens[at + 1].token == Token::LParen {
            match keyword(tokens.get(at)) {
                Keyword::ROLLUP | Keyword::CUBE => enclose(tokens, at + 2),
                Keyword::IN => begin_with_value(tokens, at + 2),
                _ => {}
            }
        }
        at += 1;
    }
}

/// `ROLLUP ((a)::int, b)` becomes `ROLLUP (((a)::int), b)`, and so does CUBE: what begins with a parenthesis is taken for a list of
/// columns, and nothing is expected after it.
fn enclose(tokens: &mut Vec<TokenWithSpan>, first: usize) {
    for element in elements(tokens, first).into_iter().rev() {
        if goes_on(&tokens[element.clone()]) {
            let open = TokenWithSpan { token: Token::LParen, span: tokens[element.start].span };
            let close = TokenWithSpan { token: Token::RParen, span: tokens[element.end - 1].span };
            tokens.insert(element.end, close);
            tokens.insert(element.start, open);
        }
    }
}

/// `a IN ((SELECT ..), 1)` becomes `a IN (1, (SELECT ..))`: what begins with a query is taken for `a IN (query)`.
fn begin_with_value(tokens: &mut [TokenWithSpan], first: usize) {
    let elements = elements(tokens, first);
    let is_query = |element: &Range<usize>| {
        let begins = tokens[element.clone()].iter().position(|token| token.token != Token::LParen);
        let word = begins.map(|begins| keyword(tokens.get(element.start + begins)));
        begins != Some(0) && matches!(word, Some(Keyword::SELECT | Keyword::WITH | Keyword::VALUES))
    };
    if !elements.first().is_some_and(is_query) {
        return;
    }
    if let Some(value) = elements.iter().find(|element| !is_query(element)) {
        // The value and the comma before it, to the front; then the comma behind the value.
        tokens[first..value.end].rotate_right(value.len() + 1);
        tokens[first..first + value.len() + 1].rotate_left(1);
    }
}

/// The elements of a list from here to the parenthesis that closes it; none where nothing does.
fn elements(tokens: &[TokenWithSpan], first: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = first;
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(first) {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth > 0 => depth -= 1,
            Token::RParen | Token::Comma if depth == 0 => {
                found.push(begin..at);
                if token.token == Token::RParen {
                    return found;
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    Vec::new()
}

/// Does an element begin with a parenthesis that is closed before its end?
fn goes_on(element: &[TokenWithSpan]) -> bool {
    if element.first().is_none_or(|token| token.token != Token::LParen) {
        return false;
    }
    let mut depth = 0_usize;
    for (at, token) in element.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1 < element.len();
        }
    }
    false
}
