//! FETCH and MOVE in the one form the parser reads: `FETCH direction FROM cursor`, with a count where one can stand.

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Rewrites the statement; true for MOVE. What is not well formed stays as it is, for the parser to complain about.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let is_move = is_word(tokens.first(), "move");
    if !is_move && !is_word(tokens.first(), "fetch") {
        return false;
    }
    let Some((direction, cursor)) = parts(&tokens[1..]) else { return false };
    let span = tokens[0].span;
    let word = |text: &str| Token::make_word(text, None);
    let mut rewritten = vec![TokenWithSpan { token: word("FETCH"), span }];
    rewritten.extend(direction.into_iter().map(|token| TokenWithSpan { token, span }));
    rewritten.push(TokenWithSpan { token: word("FROM"), span });
    rewritten.push(cursor);
    *tokens = rewritten;
    is_move
}

fn is_word(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(found))
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// The direction and the cursor's name.
fn parts(rest: &[TokenWithSpan]) -> Option<(Vec<Token>, TokenWithSpan)> {
    let (direction, after) = direction(rest);
    // A word that can be a direction is a name when nothing follows it.
    let (direction, after) = if after.is_empty() { (vec![word("NEXT")], rest) } else { (direction, after) };
    let after = if is_word(after.first(), "from") || is_word(after.first(), "in") { &after[1..] } else { after };
    match after {
        [cursor] if matches!(cursor.token, Token::Word(_)) => Some((direction, cursor.clone())),
        _ => None,
    }
}

fn word(text: &str) -> Token {
    Token::make_word(text, None)
}

/// The direction that stands first, `NEXT` when there is none, and what follows it.
fn direction(rest: &[TokenWithSpan]) -> (Vec<Token>, &[TokenWithSpan]) {
    for name in ["next", "prior", "first", "last", "all"] {
        if is_word(rest.first(), name) {
            return (vec![word(&name.to_uppercase())], &rest[1..]);
        }
    }
    for name in ["forward", "backward", "absolute", "relative"] {
        if !is_word(rest.first(), name) {
            continue;
        }
        let (first, after) = (word(&name.to_uppercase()), &rest[1..]);
        if is_word(after.first(), "all") {
            return (vec![first, word("ALL")], &after[1..]);
        }
        return match number(after) {
            Some((number, after)) => (vec![first, number], after),
            None => (vec![first, Token::Number("1".to_owned(), false)], after),
        };
    }
    match number(rest) {
        Some((number, after)) => (vec![number], after),
        None => (vec![word("NEXT")], rest),
    }
}

/// A number with or without a sign.
fn number(rest: &[TokenWithSpan]) -> Option<(Token, &[TokenWithSpan])> {
    let (sign, rest) = match rest.first().map(|token| &token.token) {
        Some(Token::Minus) => ("-", &rest[1..]),
        Some(Token::Plus) => ("", &rest[1..]),
        _ => ("", rest),
    };
    match rest.first().map(|token| &token.token) {
        Some(Token::Number(digits, long)) => Some((Token::Number(format!("{sign}{digits}"), *long), &rest[1..])),
        _ => None,
    }
}
