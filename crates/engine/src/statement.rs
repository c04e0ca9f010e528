//! SQL text to statements: parsing, and what a parser's complaint becomes.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use wharf_values::{SqlError, SqlState};

/// How deep expressions and queries may nest.
const MAX_NESTING: usize = 200;

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(crate) ast: Arc<ast::Statement>,
    /// What it was parsed from, for the plan cache; statements cut out of a longer text have none.
    pub(crate) text: Option<Arc<str>>,
}

/// Parses a text into its statements, in order.
///
/// # Errors
/// `42601` with the position of the offending token.
pub(crate) fn parse(sql: &str) -> Result<Vec<ast::Statement>, SqlError> {
    Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_NESTING)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax_error(sql, &error))
}

/// Parses a text for a session.
pub(crate) fn split(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let parsed = parse(sql)?;
    let text = (parsed.len() == 1).then(|| Arc::from(sql));
    Ok(parsed.into_iter().map(|ast| Statement { ast: Arc::new(ast), text: text.clone() }).collect())
}

fn syntax_error(sql: &str, error: &ParserError) -> SqlError {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                .with_hint(format!("Expressions and queries may nest {MAX_NESTING} deep."));
        }
    };
    let (text, place) = match message.split_once(" at Line: ") {
        Some((text, place)) => (text, Some(place)),
        None => (message.as_str(), None),
    };
    let position = place.and_then(|place| {
        let (line, column) = place.split_once(", Column: ")?;
        character_position(sql, line.trim().parse().ok()?, column.trim().parse().ok()?)
    });
    let found = text.rsplit_once("found: ").map(|(_, token)| token.trim());
    let words = match found {
        Some("EOF") => "syntax error at end of input".to_owned(),
        Some(token) => format!("syntax error at or near \"{token}\""),
        None => format!("syntax error: {}", lower_first(text)),
    };
    SqlError::new(SqlState::SYNTAX_ERROR, words).or_position(position)
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Line and column, both from 1, as the character's number in the whole text.
fn character_position(sql: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = sql.split('\n').take(line.checked_sub(1)?).map(|line| line.chars().count() + 1).sum();
    Some(before + column)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_syntax_error_names_the_token_and_its_place() {
        let error = split("select 1\nfrom where").unwrap_err();
        assert_eq!(error.code, SqlState::SYNTAX_ERROR);
        assert_eq!(error.message, "syntax error at or near \"where\"");
        assert_eq!(error.position, Some(15));
    }

    #[test]
    fn comments_and_blanks_are_no_statements() {
        assert!(split(" ; -- nothing\n;").unwrap().is_empty());
        assert_eq!(split("select 1; select 2;").unwrap().len(), 2);
    }
}
