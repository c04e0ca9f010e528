//! Elements of ROLLUP and CUBE that begin with a parenthesis and go on after it: the parser takes what begins so for a list of columns.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::patch::keyword;

/// `ROLLUP ((a)::int, b)` becomes `ROLLUP (((a)::int), b)`, and so does CUBE.
pub(super) fn enclose(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let names = matches!(keyword(tokens.get(at)), Keyword::ROLLUP | Keyword::CUBE);
        if names && tokens[at + 1].token == Token::LParen {
            enclose_elements(tokens, at + 2);
        }
        at += 1;
    }
}

/// The elements from here to the parenthesis that closes them.
fn enclose_elements(tokens: &mut Vec<TokenWithSpan>, first: usize) {
    let mut begin = first;
    let mut depth = 0_usize;
    let mut at = first;
    while at < tokens.len() {
        match tokens[at].token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth > 0 => depth -= 1,
            Token::RParen | Token::Comma if depth == 0 => {
                let last = tokens[at].token == Token::RParen;
                if goes_on(&tokens[begin..at]) {
                    let open = TokenWithSpan { token: Token::LParen, span: tokens[begin].span };
                    let close = TokenWithSpan { token: Token::RParen, span: tokens[at - 1].span };
                    tokens.insert(at, close);
                    tokens.insert(begin, open);
                    at += 2;
                }
                if last {
                    return;
                }
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
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
