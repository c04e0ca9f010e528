//! SQL text to statements: parsing, and what a parser's complaint becomes.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use wharf_values::{SqlError, SqlState};

use crate::copy::{self, OptionItem};

/// How deep expressions and queries may nest.
const MAX_NESTING: usize = 200;

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(crate) ast: Arc<ast::Statement>,
    /// The options of a COPY, for which the syntax tree has no room.
    pub(crate) copy_options: Arc<[OptionItem]>,
    /// What it was parsed from, for the plan cache; statements cut out of a longer text have none.
    pub(crate) text: Option<Arc<str>>,
}

/// Parses a text into its statements, in order.
///
/// # Errors
/// `42601` with the position of the offending token.
pub(crate) fn parse(sql: &str) -> Result<Vec<ast::Statement>, SqlError> {
    Ok(parse_with_options(sql)?.into_iter().map(|(statement, _)| statement).collect())
}

/// Parses a text into its statements, and the options of those that are COPY.
fn parse_with_options(sql: &str) -> Result<Vec<Parsed>, SqlError> {
    let dialect = PostgreSqlDialect {};
    crate::tokens::tokens(&dialect, sql)
        .and_then(|tokens| {
            let parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING);
            parse_statements(&mut parser.with_tokens_with_locations(tokens))
        })
        .map(|parsed| parsed.into_iter().map(|(statement, options)| (with_before_insert(statement), options)).collect())
        .map_err(|error| syntax_error(sql, &error))
}

/// `WITH q AS (..) INSERT INTO t SELECT ..` is an INSERT whose query has the WITH.
fn with_before_insert(statement: ast::Statement) -> ast::Statement {
    let ast::Statement::Query(mut query) = statement else { return statement };
    let simple = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    match (*query.body, query.with.take()) {
        (ast::SetExpr::Insert(ast::Statement::Insert(mut insert)), Some(with)) if simple && insert.source.is_some() => {
            if let Some(source) = &mut insert.source {
                match &mut source.with {
                    Some(own) => {
                        own.recursive |= with.recursive;
                        own.cte_tables.splice(0..0, with.cte_tables);
                    }
                    None => source.with = Some(with),
                }
            }
            ast::Statement::Insert(insert)
        }
        (body, with) => {
            query.body = Box::new(body);
            query.with = with;
            ast::Statement::Query(query)
        }
    }
}

/// A statement and, when it is COPY, its options.
type Parsed = (ast::Statement, Vec<OptionItem>);

fn parse_statements(parser: &mut Parser<'_>) -> Result<Vec<Parsed>, ParserError> {
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        statements.push(if parser.parse_keyword(Keyword::COPY) {
            copy::parse_statement(parser)?
        } else {
            (parser.parse_statement()?, Vec::new())
        });
        if !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
            return parser.expected_ref("end of statement", parser.peek_token_ref());
        }
    }
}

/// Parses a text for a session.
pub(crate) fn split(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let parsed = parse_with_options(sql)?;
    let text = (parsed.len() == 1).then(|| Arc::from(sql));
    let statement =
        |(ast, options): Parsed| Statement { ast: Arc::new(ast), copy_options: Arc::from(options), text: text.clone() };
    Ok(parsed.into_iter().map(statement).collect())
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
