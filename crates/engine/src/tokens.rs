//! PostgreSQL's syntax that the parser lacks, said in tokens that it knows.
//!
//! `TABLE t` becomes `SELECT * FROM t`; `BETWEEN SYMMETRIC a` becomes `BETWEEN !! a`, by an operator that PostgreSQL no
//! longer has, which the binder reads (`crate::bind::normalize`).

use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// The tokens of a text, ready for the parser.
///
/// # Errors
/// What the tokenizer says.
pub(crate) fn tokens(dialect: &dyn Dialect, sql: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
    let read = Tokenizer::new(dialect, sql).tokenize_with_location()?;
    let mut written: Vec<TokenWithSpan> = Vec::with_capacity(read.len());
    let mut before: Option<Token> = None;
    for (index, token) in read.iter().enumerate() {
        if matches!(token.token, Token::Whitespace(_)) {
            written.push(token.clone());
            continue;
        }
        let mut push = |token_: Token| written.push(TokenWithSpan { token: token_, span: token.span });
        match keyword(&token.token) {
            Some(Keyword::TABLE) if begins_query(before.as_ref()) && names_follow(&read[index + 1..]) => {
                push(Token::make_keyword("SELECT"));
                push(Token::Mul);
                push(Token::make_keyword("FROM"));
            }
            Some(Keyword::SYMMETRIC) if before.as_ref().and_then(keyword) == Some(Keyword::BETWEEN) => {
                push(Token::DoubleExclamationMark);
            }
            Some(Keyword::ASYMMETRIC) if before.as_ref().and_then(keyword) == Some(Keyword::BETWEEN) => {}
            _ => written.push(token.clone()),
        }
        before = Some(token.token.clone());
    }
    Ok(written)
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// Can a query begin after this token?
fn begins_query(before: Option<&Token>) -> bool {
    match before {
        None | Some(Token::SemiColon | Token::LParen) => true,
        Some(token) => matches!(
            keyword(token),
            Some(Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::ALL | Keyword::AS | Keyword::EXPLAIN)
        ),
    }
}

fn names_follow(after: &[TokenWithSpan]) -> bool {
    let next = after.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    matches!(next.map(|token| &token.token), Some(Token::Word(_)))
}
