//! COPY statements with every option PostgreSQL knows.
//!
//! sqlparser's own statement has no room for `HEADER MATCH`, `FORCE_QUOTE *`, numbers and words as booleans, or options in
//! the older spelling with `FORCE NULL`; and it refuses a wrong delimiter with a message of its own. [`parse_statement`]
//! reads the options as a plain list, to be checked by [`super::CopyOptions::of_items`].

use serde::{Deserialize, Serialize};
use sqlparser::ast::{self, CopySource, CopyTarget};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum OptionValue {
    /// `HEADER`
    None,
    /// A string, a word (folded) or a number.
    Text(String),
    /// `(a, b)`, folded.
    List(Vec<String>),
    /// `*`
    Star,
}

/// An option by its name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct OptionItem {
    /// The name, with underscores in place of the older spelling's spaces.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: OptionValue,
}

/// Reads a statement whose COPY has been read: the statement without its options, and the options.
///
/// # Errors
/// What is not COPY's syntax.
pub(crate) fn parse_statement(parser: &mut Parser<'_>) -> Result<(ast::Statement, Vec<OptionItem>), ParserError> {
    let mut items = Vec::new();
    if parser.parse_keyword(Keyword::BINARY) {
        items.push(item("format", OptionValue::Text("binary".to_owned())));
    }
    let source = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        CopySource::Query(query)
    } else {
        let table_name = parser.parse_object_name(false)?;
        let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false)?;
        CopySource::Table { table_name, columns }
    };
    let to = match parser.expect_one_of_keywords(&[Keyword::FROM, Keyword::TO])? {
        Keyword::TO => true,
        _ if matches!(source, CopySource::Query(_)) => {
            return parser.expected("TO", parser.peek_token());
        }
        _ => false,
    };
    let target = match parser.parse_one_of_keywords(&[Keyword::STDIN, Keyword::STDOUT, Keyword::PROGRAM]) {
        // Either name is taken for the client.
        Some(Keyword::STDIN | Keyword::STDOUT) if to => CopyTarget::Stdout,
        Some(Keyword::STDIN | Keyword::STDOUT) => CopyTarget::Stdin,
        Some(_) => CopyTarget::Program { command: parser.parse_literal_string()? },
        // Several files, of which the tree has room for one.
        None if !to && parser.consume_token(&Token::LParen) => {
            let mut names = parser.parse_comma_separated(Parser::parse_literal_string)?;
            parser.expect_token(&Token::RParen)?;
            let filename = names.remove(0);
            items.push(item("\0files", OptionValue::List(names)));
            CopyTarget::File { filename }
        }
        None => CopyTarget::File { filename: parser.parse_literal_string()? },
    };
    if word(parser).as_deref() == Some("delimiters") {
        parser.next_token();
        items.push(item("delimiter", OptionValue::Text(parser.parse_literal_string()?)));
    }
    let _ = parser.parse_keyword(Keyword::WITH);
    if parser.peek_token().token == Token::LParen {
        items.extend(parse_options(parser)?);
    } else {
        while let Some(option) = older_option(parser)? {
            items.push(option);
        }
    }
    let statement = ast::Statement::Copy {
        source,
        to,
        target,
        options: Vec::new(),
        legacy_options: Vec::new(),
        values: Vec::new(),
    };
    Ok((statement, items))
}

fn item(name: &str, value: OptionValue) -> OptionItem {
    OptionItem { name: name.to_owned(), value }
}

/// The next token, if it is a word without quotes, folded.
fn word(parser: &Parser<'_>) -> Option<String> {
    match parser.peek_token().token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}

fn fold(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// `(name [value], ..)`
///
/// # Errors
/// What is not COPY's syntax.
pub(crate) fn parse_options(parser: &mut Parser<'_>) -> Result<Vec<OptionItem>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let items = parser.parse_comma_separated(generic_option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(items)
}

/// `name [value]`
fn generic_option(parser: &mut Parser<'_>) -> Result<OptionItem, ParserError> {
    let name = fold(&parser.parse_identifier()?);
    let value = match parser.peek_token().token {
        Token::Comma | Token::RParen => OptionValue::None,
        Token::Mul => {
            parser.next_token();
            OptionValue::Star
        }
        Token::LParen => {
            parser.next_token();
            let names = parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
            OptionValue::List(names.iter().map(fold).collect())
        }
        Token::Number(digits, _) => {
            parser.next_token();
            OptionValue::Text(digits)
        }
        Token::Word(_) => OptionValue::Text(fold(&parser.parse_identifier()?)),
        _ => OptionValue::Text(parser.parse_literal_string()?),
    };
    Ok(OptionItem { name, value })
}

/// An option as it was written before PostgreSQL 9.0.
fn older_option(parser: &mut Parser<'_>) -> Result<Option<OptionItem>, ParserError> {
    let Some(name) = word(parser) else { return Ok(None) };
    let text = |parser: &mut Parser<'_>| {
        let _ = parser.parse_keyword(Keyword::AS);
        parser.parse_literal_string().map(OptionValue::Text)
    };
    Ok(Some(match name.as_str() {
        "binary" | "csv" => {
            parser.next_token();
            item("format", OptionValue::Text(name))
        }
        "freeze" | "header" => {
            parser.next_token();
            item(&name, OptionValue::None)
        }
        "delimiter" | "null" | "quote" | "escape" => {
            parser.next_token();
            let value = text(parser)?;
            item(&name, value)
        }
        "encoding" => {
            parser.next_token();
            item(&name, OptionValue::Text(parser.parse_literal_string()?))
        }
        "force" => {
            parser.next_token();
            let name = match word(parser).as_deref() {
                Some("quote") => "force_quote",
                Some("null") => "force_null",
                Some("not") => {
                    parser.next_token();
                    "force_not_null"
                }
                _ => return parser.expected("QUOTE, NULL or NOT NULL", parser.peek_token()),
            };
            parser.next_token();
            let value = if name == "force_quote" && parser.consume_token(&Token::Mul) {
                OptionValue::Star
            } else {
                let names = parser.parse_comma_separated(Parser::parse_identifier)?;
                OptionValue::List(names.iter().map(fold).collect())
            };
            item(name, value)
        }
        _ => return Ok(None),
    }))
}
