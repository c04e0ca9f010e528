//! Statements that make a table of files: `CREATE TABLE t FROM 'files'` and `CREATE EXTERNAL TABLE t LOCATION 'files'`.

use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{self, ColumnDef, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::own::{Own, expect, word, word_is};
use crate::copy::{self, OptionItem, OptionValue};

/// The files of a statement, and what it says of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FilesClause {
    /// Their names; at least one.
    pub(crate) locations: Vec<String>,
    /// The options, FORMAT among them.
    pub(crate) options: Vec<OptionItem>,
    /// WITH NO DATA.
    pub(crate) no_data: bool,
}

/// Is this one of these statements?
pub(super) fn begins(tokens: &[TokenWithSpan]) -> bool {
    let is = |at: usize, word: &str| word_is(tokens.get(at), word);
    if !is(0, "create") {
        return false;
    }
    if is(1, "external") {
        return is(2, "table");
    }
    let mut at = if is(2, "if") && is(3, "not") { 5 } else { 2 };
    at += 1;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    is(1, "table") && is(at, "from")
}

/// Reads a statement that [`begins`] so.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<(ast::Statement, Own), ParserError> {
    parser.expect_keyword(Keyword::CREATE)?;
    let external = word(parser, "external");
    parser.expect_keyword(Keyword::TABLE)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    if !external {
        parser.expect_keyword(Keyword::FROM)?;
        let files = from_files(parser)?;
        return Ok((tree(name, if_not_exists, Vec::new()), Own::FromFiles(files)));
    }
    let (columns, constraints) = parser.parse_columns()?;
    if !constraints.is_empty() {
        return parser.expected("columns without constraints", parser.peek_token());
    }
    let files = clauses(parser)?;
    Ok((tree(name, if_not_exists, columns), Own::External(files)))
}

fn tree(name: ObjectName, if_not_exists: bool, columns: Vec<ColumnDef>) -> ast::Statement {
    CreateTableBuilder::new(name).if_not_exists(if_not_exists).columns(columns).build().into()
}

/// `'a'`, `('a', 'b')`
fn locations(parser: &mut Parser<'_>) -> Result<Vec<String>, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(vec![parser.parse_literal_string()?]);
    }
    let names = parser.parse_comma_separated(Parser::parse_literal_string)?;
    parser.expect_token(&Token::RParen)?;
    Ok(names)
}

/// What follows FROM: files, `WITH (options)`, `WITH [NO] DATA`.
fn from_files(parser: &mut Parser<'_>) -> Result<FilesClause, ParserError> {
    let mut files = FilesClause { locations: locations(parser)?, ..FilesClause::default() };
    while parser.parse_keyword(Keyword::WITH) {
        if parser.peek_token().token == Token::LParen && files.options.is_empty() {
            files.options = copy::parse_options(parser)?;
            continue;
        }
        files.no_data = parser.parse_keyword(Keyword::NO);
        expect(parser, "data")?;
        break;
    }
    Ok(files)
}

/// `LOCATION 'files' FORMAT csv OPTIONS (..)`, in any order; WITH is another word for OPTIONS.
fn clauses(parser: &mut Parser<'_>) -> Result<FilesClause, ParserError> {
    let mut files = FilesClause::default();
    loop {
        if files.locations.is_empty() && word(parser, "location") {
            files.locations = locations(parser)?;
        } else if word(parser, "format") {
            let format = parser.parse_identifier()?.value.to_lowercase();
            files.options.push(OptionItem { name: "format".to_owned(), value: OptionValue::Text(format) });
        } else if word(parser, "options") || parser.parse_keyword(Keyword::WITH) {
            files.options.extend(copy::parse_options(parser)?);
        } else if files.locations.is_empty() {
            let found = parser.peek_token();
            return parser.expected("LOCATION", found);
        } else {
            return Ok(files);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn own(sql: &str) -> (String, Own) {
        let statement = crate::statement::split(sql).unwrap().remove(0);
        (statement.ast.to_string(), statement.own.unwrap().as_ref().clone())
    }

    #[test]
    fn tables_of_files() {
        let (tree, own) =
            own("CREATE TABLE IF NOT EXISTS s.t FROM ('a.csv', 'b.csv') WITH (HEADER, DELIMITER ';') WITH NO DATA");
        let Own::FromFiles(files) = own else { panic!("not FROM") };
        assert!(tree.starts_with("CREATE TABLE IF NOT EXISTS s.t"), "{tree}");
        assert_eq!((files.locations, files.no_data), (vec!["a.csv".to_owned(), "b.csv".to_owned()], true));
        let names: Vec<_> = files.options.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["header", "delimiter"]);
    }

    #[test]
    fn external_tables() {
        let (tree, own) =
            own("create external table t (a int, b text) format CSV location 's3://b/*.csv' options (header)");
        let Own::External(files) = own else { panic!("not EXTERNAL") };
        assert!(tree.contains("a INT, b TEXT"), "{tree}");
        assert_eq!(files.locations, ["s3://b/*.csv"]);
        assert_eq!(files.options[0].value, OptionValue::Text("csv".to_owned()));
        assert!(crate::statement::split("CREATE EXTERNAL TABLE t (a int)").is_err());
    }

    #[test]
    fn other_tables_are_left_alone() {
        for sql in ["CREATE TABLE t AS SELECT 1 FROM t", "CREATE TABLE \"from\" (a int)", "CREATE TABLE t (a int)"] {
            assert!(crate::statement::split(sql).unwrap().remove(0).own.is_none(), "{sql}");
        }
        assert!(crate::statement::split("DROP EXTERNAL TABLE t").unwrap().remove(0).clauses.foreign);
    }
}
