//! PostgreSQL's syntax that the parser does not read, said in words that it does.
//!
//! Tokens are replaced before parsing; what cannot be said otherwise is kept beside the syntax tree in [`Clauses`].

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What a statement says that its syntax tree cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clauses {
    /// ALTER VIEW, as against ALTER TABLE.
    pub(crate) alter_view: bool,
    /// ALTER .. SET SCHEMA, said as RENAME TO.
    pub(crate) set_schema: bool,
    /// FOREIGN TABLE or EXTERNAL TABLE in DROP, ALTER and COMMENT, said as TABLE.
    pub(crate) foreign: bool,
    /// CREATE TABLE .. AS .. WITH NO DATA.
    pub(crate) no_data: bool,
    /// MOVE, as against FETCH.
    pub(crate) only_move: bool,
    /// What LIKE takes over beside columns.
    pub(crate) like: super::like::LikeOptions,
    /// [NOT] DEFERRABLE of a transaction.
    pub(crate) deferrable: Option<bool>,
}

/// The type of a column in `CREATE TABLE t (a, b) AS ..`, which has none.
pub(crate) const NO_TYPE: &str = "without type";

/// The keyword that a token is, unless it is a quoted name.
pub(super) fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Replaces what the parser does not read.
pub(super) fn apply(tokens: &mut Vec<TokenWithSpan>) -> Clauses {
    let mut clauses = Clauses { foreign: foreign(tokens), ..Clauses::default() };
    match (keyword(tokens.first()), keyword(tokens.get(1))) {
        (Keyword::ABORT, _) => replace(tokens, 0, "ROLLBACK"),
        (Keyword::ALTER, Keyword::VIEW) if !tokens.iter().any(|token| keyword(Some(token)) == Keyword::AS) => {
            clauses.alter_view = true;
            replace(tokens, 1, "TABLE");
        }
        (Keyword::CALL, _) => argument_names(tokens),
        (Keyword::CREATE, Keyword::TABLE) => {
            clauses.no_data = create_table_as(tokens);
            clauses.like = super::like::take(tokens);
        }
        _ => {}
    }
    if keyword(tokens.first()) == Keyword::ALTER && keyword(tokens.get(1)) == Keyword::TABLE {
        clauses.set_schema = set_schema(tokens);
    }
    clauses.only_move = super::fetch::rewrite(tokens);
    clauses.deferrable = super::deferrable::take(tokens);
    table_queries(tokens);
    symmetric(tokens);
    clauses
}

/// `DROP FOREIGN TABLE t` becomes `DROP TABLE t`, and so do ALTER and COMMENT ON; EXTERNAL is another word for it.
fn foreign(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let at = match (keyword(tokens.first()), keyword(tokens.get(1))) {
        (Keyword::COMMENT, Keyword::ON) => 2,
        (Keyword::DROP | Keyword::ALTER, _) => 1,
        _ => return false,
    };
    let named = matches!(keyword(tokens.get(at)), Keyword::FOREIGN | Keyword::EXTERNAL);
    let found = named && keyword(tokens.get(at + 1)) == Keyword::TABLE;
    if found {
        tokens.remove(at);
    }
    found
}

/// `BETWEEN SYMMETRIC a` becomes `BETWEEN !! a`, by an operator that PostgreSQL no longer has, which the binder reads
/// (`crate::bind::normalize`).
fn symmetric(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let after_between = keyword(tokens.get(at - 1)) == Keyword::BETWEEN;
        match keyword(tokens.get(at)) {
            Keyword::SYMMETRIC if after_between => tokens[at].token = Token::DoubleExclamationMark,
            Keyword::ASYMMETRIC if after_between => drop(tokens.remove(at)),
            _ => {}
        }
        at += 1;
    }
}

/// `CALL p(table => 't')`: a word before an arrow is a name, reserved or not, since procedures that other engines have with Iceberg
/// are called so.
fn argument_names(tokens: &mut [TokenWithSpan]) {
    for at in 1..tokens.len() {
        if matches!(tokens[at].token, Token::RArrow)
            && let Token::Word(word) = &mut tokens[at - 1].token
            && word.quote_style.is_none()
        {
            let name = word.value.to_lowercase();
            tokens[at - 1].token = Token::make_word(&name, Some('"'));
        }
    }
}

/// `ALTER TABLE t SET SCHEMA s` becomes `ALTER TABLE t RENAME TO s`.
fn set_schema(tokens: &mut [TokenWithSpan]) -> bool {
    let Some(at) = tokens.len().checked_sub(3) else { return false };
    let found = keyword(tokens.get(at)) == Keyword::SET && keyword(tokens.get(at + 1)) == Keyword::SCHEMA;
    if found {
        replace(tokens, at, "RENAME");
        replace(tokens, at + 1, "TO");
    }
    found
}

fn replace(tokens: &mut [TokenWithSpan], at: usize, word: &str) {
    tokens[at].token = Token::make_word(word, None);
}

/// `CREATE TABLE t (a, b) AS query WITH NO DATA`: columns without types, and the clause at the end.
fn create_table_as(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let mut at = 2;
    if keyword(tokens.get(at)) == Keyword::IF {
        at += 3;
    }
    at += 1;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    let mut names = Vec::new();
    if tokens.get(at).is_some_and(|token| token.token == Token::LParen) {
        loop {
            at += 1;
            let name = tokens.get(at).is_some_and(|token| matches!(token.token, Token::Word(_)));
            match tokens.get(at + 1).map(|token| &token.token) {
                Some(Token::Comma) if name => names.push(at),
                Some(Token::RParen) if name => {
                    names.push(at);
                    break;
                }
                _ => return false,
            }
            at += 1;
        }
        at += 2;
    }
    if keyword(tokens.get(at)) != Keyword::AS {
        return false;
    }
    let words: Vec<Keyword> = tokens.iter().rev().take(3).map(|token| keyword(Some(token))).collect();
    let (drop, no_data) = match words.as_slice() {
        [Keyword::DATA, Keyword::NO, Keyword::WITH] => (3, true),
        [Keyword::DATA, Keyword::WITH, _] => (2, false),
        _ => (0, false),
    };
    tokens.truncate(tokens.len() - drop);
    for name in names.into_iter().rev() {
        let span = tokens[name].span;
        tokens.insert(name + 1, TokenWithSpan { token: Token::make_word(NO_TYPE, Some('"')), span });
    }
    no_data
}

/// `TABLE t` where a query can stand is `SELECT * FROM t`.
fn table_queries(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| keyword(Some(token)) == Keyword::TABLE) {
        return;
    }
    let begins_query = |tokens: &[TokenWithSpan], at: usize| {
        let named = match tokens.get(at + 1).map(|token| &token.token) {
            Some(Token::Word(word)) => word.quote_style.is_some() || !super::reserved::is_reserved(&word.value),
            _ => false,
        };
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let first = keyword(tokens.first());
        named
            && match before.map(|token| &token.token) {
                None => true,
                Some(Token::LParen) => true,
                Some(Token::RParen) => first == Keyword::INSERT || first == Keyword::WITH,
                Some(Token::Word(_)) => match keyword(before) {
                    Keyword::AS | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::ALL => true,
                    Keyword::EXPLAIN | Keyword::VERBOSE | Keyword::ANALYZE => at <= 3,
                    Keyword::NoKeyword => first == Keyword::INSERT,
                    _ => first == Keyword::INSERT && keyword(before) != Keyword::INTO,
                },
                _ => false,
            }
    };
    let mut at = 0;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Keyword::TABLE && begins_query(tokens, at) {
            let span = tokens[at].span;
            let words = [Token::make_word("SELECT", None), Token::Mul, Token::make_word("FROM", None)];
            tokens.splice(at..=at, words.map(|token| TokenWithSpan { token, span }));
        }
        at += 1;
    }
}
