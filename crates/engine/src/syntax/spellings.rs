//! Expressions that PostgreSQL spells in a way the parser does not read, spelled in one that it does.
//!
//! What always holds: a token that comes in for another has the place of that one, so that errors point at what was written.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_values::SqlError;

use super::operators::ends_operand;
use super::own::word_is;
use super::patch::keyword;

/// Respells a statement.
///
/// # Errors
/// `0A000` for a collation that Wharf lacks.
pub(super) fn apply(tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    named_arguments(tokens);
    is_null(tokens);
    trim(tokens);
    substring(tokens);
    collate(tokens)
}

/// Refuses a collation other than those that compare text by its bytes, as Wharf does.
///
/// # Errors
/// `0A000`.
pub(crate) fn check_collation(name: &str) -> Result<(), SqlError> {
    match name {
        "C" | "POSIX" | "default" | "ucs_basic" => Ok(()),
        other => Err(SqlError::unsupported(format!("collation \"{other}\" is not supported"))
            .with_hint("Wharf compares text by its bytes, as collation \"C\" does.")),
    }
}

/// `f(name := value)`, as it was written before PostgreSQL 9.5, is `f(name => value)`.
fn named_arguments(tokens: &mut [TokenWithSpan]) {
    for at in 2..tokens.len() {
        if tokens[at].token == Token::Assignment
            && matches!(tokens[at - 1].token, Token::Word(_))
            && matches!(tokens[at - 2].token, Token::LParen | Token::Comma)
        {
            tokens[at].token = Token::RArrow;
        }
    }
}

/// `a ISNULL` is `a IS NULL`: after a value it is never a name.
fn is_null(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        if word_is(tokens.get(at), "isnull") && ends_value(tokens, at - 1) {
            let span = tokens[at].span;
            let words = ["IS", "NULL"].map(|word| TokenWithSpan { token: Token::make_word(word, None), span });
            tokens.splice(at..=at, words);
        }
        at += 1;
    }
}

/// Can a value end with this token? Unlike an operand's end, the reserved words that are values count.
fn ends_value(tokens: &[TokenWithSpan], at: usize) -> bool {
    let word = keyword(tokens.get(at));
    let is_name = at > 0 && tokens[at - 1].token == Token::Period;
    is_name
        || (ends_operand(&tokens[at].token) && word != Keyword::BY)
        || matches!(
            word,
            Keyword::NULL
                | Keyword::TRUE
                | Keyword::FALSE
                | Keyword::END
                | Keyword::CURRENT_DATE
                | Keyword::CURRENT_TIME
                | Keyword::CURRENT_TIMESTAMP
                | Keyword::LOCALTIME
                | Keyword::LOCALTIMESTAMP
                | Keyword::CURRENT_CATALOG
                | Keyword::CURRENT_ROLE
                | Keyword::CURRENT_USER
                | Keyword::SESSION_USER
                | Keyword::USER
        )
}

/// `trim(LEADING FROM a)` and `trim(FROM a)` name no characters: FROM goes.
fn trim(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 2;
    while at < tokens.len() {
        let is_trim = |paren: usize| {
            paren > 0 && tokens[paren].token == Token::LParen && keyword(tokens.get(paren - 1)) == Keyword::TRIM
        };
        let side = matches!(keyword(tokens.get(at - 1)), Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH);
        if keyword(tokens.get(at)) == Keyword::FROM && (is_trim(at - 1) || (side && is_trim(at - 2))) {
            tokens.remove(at);
        }
        at += 1;
    }
}

/// `substring(a SIMILAR b ESCAPE c)` is `substring(a FROM b FOR c)`.
fn substring(tokens: &mut [TokenWithSpan]) {
    for at in 1..tokens.len() {
        if tokens[at].token != Token::LParen || keyword(tokens.get(at - 1)) != Keyword::SUBSTRING {
            continue;
        }
        let mut depth = 0usize;
        let mut pattern = None;
        for inner in at + 1..tokens.len() {
            match tokens[inner].token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth == 0 => break,
                Token::RParen | Token::RBracket => depth -= 1,
                _ if depth > 0 => {}
                _ => match (keyword(tokens.get(inner)), pattern) {
                    (Keyword::SIMILAR, None) if keyword(tokens.get(inner + 1)) != Keyword::TO => pattern = Some(inner),
                    (Keyword::ESCAPE, Some(similar)) => {
                        tokens[similar].token = Token::make_word("FROM", None);
                        tokens[inner].token = Token::make_word("FOR", None);
                        break;
                    }
                    _ => {}
                },
            }
        }
    }
}

/// `a::text COLLATE "C"`: the parser reads COLLATE after a value and not after a cast. It changes nothing, so it goes.
fn collate(tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    let mut at = 2;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Keyword::COLLATE && follows_cast(&tokens[..at]) {
            let mut end = at + 1;
            while tokens.get(end + 1).is_some_and(|token| token.token == Token::Period) {
                end += 2;
            }
            let Some(Token::Word(name)) = tokens.get(end).map(|token| &token.token) else { return Ok(()) };
            let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            check_collation(&name)?;
            tokens.drain(at..=end);
        } else {
            at += 1;
        }
    }
    Ok(())
}

/// Do these tokens end with `::` and a type?
fn follows_cast(tokens: &[TokenWithSpan]) -> bool {
    let mut words = 0;
    for token in tokens.iter().rev() {
        match &token.token {
            Token::DoubleColon => return words > 0,
            Token::Word(word) if word.quote_style.is_some() || !super::reserved::is_reserved(&word.value) => words += 1,
            Token::Period | Token::LParen | Token::RParen | Token::LBracket | Token::RBracket => {}
            // numeric(10, 2)
            Token::Number(..) | Token::Comma if words == 0 => {}
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    fn respelled(sql: &str) -> String {
        crate::statement::split(sql).unwrap().remove(0).ast.to_string()
    }

    #[test]
    fn isnull_follows_a_value() {
        assert_eq!(respelled("SELECT a ISNULL FROM t WHERE (b isnull)"), "SELECT a IS NULL FROM t WHERE (b IS NULL)");
        assert_eq!(respelled("SELECT NULL ISNULL, f(x) ISNULL"), "SELECT NULL IS NULL, f(x) IS NULL");
        assert_eq!(respelled("SELECT a AS isnull, t.isnull FROM t"), "SELECT a AS isnull, t.isnull FROM t");
    }

    #[test]
    fn trim_and_substring_without_the_usual_words() {
        assert_eq!(respelled("SELECT trim(LEADING FROM a)"), "SELECT TRIM(LEADING a)");
        assert_eq!(respelled("SELECT trim(FROM a)"), "SELECT TRIM(a)");
        assert_eq!(respelled("SELECT substring(a SIMILAR b ESCAPE '#')"), "SELECT SUBSTRING(a FROM b FOR '#')");
    }

    #[test]
    fn collations_after_casts() {
        assert_eq!(respelled("SELECT a::varchar(3) COLLATE \"C\" < b"), "SELECT a::VARCHAR(3) < b");
        let error = crate::statement::split("SELECT a::text COLLATE \"de_DE\"").unwrap_err();
        assert_eq!(error.code.as_str(), "0A000");
    }
}
