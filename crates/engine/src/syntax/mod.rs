//! SQL text to syntax trees: PostgreSQL's lexical rules and reserved words around sqlparser's grammar.
//!
//! What always holds: the column of a place in a tree is the number of the character in the whole text, from 1, whatever
//! the line: what PostgreSQL calls the position.

mod changes;
mod deferrable;
mod escapes;
mod fetch;
mod files;
mod layout;
mod lexer;
mod like;
mod lists;
mod operators;
mod own;
mod patch;
mod place;
mod reserved;
mod spellings;
mod versions;

use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{self, SetExpr};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_values::{SqlError, SqlState};

use crate::copy::{self, OptionItem};

pub(crate) use changes::{CURRENT_OF, DEFAULTS, NOTHING};
pub(crate) use files::FilesClause;
pub(crate) use layout::{LayoutChange, TableClauses};
pub(crate) use like::LikeOptions;
pub(crate) use own::Own;
pub(crate) use patch::{Clauses, NO_TYPE};
pub(crate) use place::locate;
pub(crate) use spellings::check_collation;

use versions::Versions;

/// How deep expressions and queries may nest.
const MAX_NESTING: usize = 200;

/// One statement of a text.
pub(crate) struct Parsed {
    pub(crate) ast: ast::Statement,
    /// What it says when the parser has no tree for it.
    pub(crate) own: Option<Own>,
    /// What CREATE TABLE says of the layout of its rows.
    pub(crate) layout: Option<TableClauses>,
    pub(crate) clauses: Clauses,
    /// The options of a COPY.
    pub(crate) copy_options: Vec<OptionItem>,
    /// What is to be told before it runs.
    pub(crate) notices: Vec<SqlError>,
}

/// Parses a text into its statements, in order.
///
/// # Errors
/// `42601` and the errors of string escapes, with the position of the offending token.
pub(crate) fn parse(sql: &str) -> Result<Vec<Parsed>, SqlError> {
    let lexed = lexer::lex(sql)?;
    let mut parsed = Vec::new();
    let mut start = 0;
    let count = lexed.tokens.len();
    while start < count {
        let length = lexed.tokens[start..].iter().position(|token| token.token == Token::SemiColon);
        let end = length.map_or(count, |length| start + length);
        if start < end {
            let mut tokens = lexed.tokens[start..end].to_vec();
            let source = Source { sql, lexed: &lexed, end };
            let layout = layout::take(&mut tokens, &source)?;
            spellings::apply(&mut tokens)?;
            check_schema_elements(&tokens)?;
            let clauses = patch::apply(&mut tokens);
            changes::rewrite(&mut tokens);
            lists::rewrite(&mut tokens);
            let versions = versions::take(&mut tokens, &source)?;
            check_strings(&tokens, &source)?;
            check_insert(&tokens, &source)?;
            check_clauses(&tokens, &source)?;
            let (ast, copy_options, own) = statement(tokens, versions, &source)?;
            let notices = lexed.notices.iter().filter(|(token, _)| (start..end).contains(token));
            let notices = notices.map(|(_, notice)| notice.clone()).collect();
            parsed.push(Parsed { ast, own, layout, clauses, copy_options, notices });
        }
        start = end + 1;
    }
    Ok(parsed)
}

/// Where a statement's tokens came from, for errors.
struct Source<'a> {
    sql: &'a str,
    lexed: &'a lexer::Lexed,
    /// The token after its last.
    end: usize,
}

impl Source<'_> {
    /// A syntax error at the token of this place; past the last one when there is none.
    fn error_at(&self, column: Option<u64>) -> SqlError {
        let found = column.and_then(|column| {
            let same = |token: &TokenWithSpan| token.span.start.column == column;
            self.lexed.tokens.iter().position(same)
        });
        match self.lexed.ranges.get(found.unwrap_or(self.end)) {
            Some(range) => {
                let position = self.sql[..range.start].chars().count() + 1;
                let text = &self.sql[range.clone()];
                SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{text}\""))
                    .with_position(position)
            }
            None => SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input")
                .with_position(self.sql.chars().count() + 1),
        }
    }
}

/// No two strings stand side by side; the parser would take the second for a name.
fn check_strings(tokens: &[TokenWithSpan], source: &Source<'_>) -> Result<(), SqlError> {
    let is_string = |token: &TokenWithSpan| matches!(token.token, Token::SingleQuotedString(_));
    match tokens.windows(2).find(|pair| pair.iter().all(is_string)) {
        Some(pair) => Err(source.error_at(Some(pair[1].span.start.column))),
        None => Ok(()),
    }
}

/// Words that begin a clause and never an expression or a table.
const CLAUSES: &[Keyword] = &[
    Keyword::EXCEPT,
    Keyword::FROM,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::INTERSECT,
    Keyword::LIMIT,
    Keyword::OFFSET,
    Keyword::ORDER,
    Keyword::UNION,
    Keyword::WHERE,
    Keyword::WINDOW,
];

/// A clause is not empty: the parser would take the word of the next one for a name.
fn check_clauses(tokens: &[TokenWithSpan], source: &Source<'_>) -> Result<(), SqlError> {
    let keyword = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let needs_more = |word| matches!(word, Keyword::FROM | Keyword::JOIN | Keyword::WHERE | Keyword::HAVING);
    // After a dot and after AS every word is a name.
    let is_name = |at: usize| {
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        before.is_some_and(|before| before.token == Token::Period || keyword(before) == Keyword::AS)
    };
    let empty = (1..tokens.len()).find(|at| {
        CLAUSES.contains(&keyword(&tokens[*at])) && needs_more(keyword(&tokens[at - 1])) && !is_name(at - 1)
    });
    match empty {
        Some(at) => Err(source.error_at(Some(tokens[at].span.start.column))),
        None => Ok(()),
    }
}

/// INTO cannot be left out, as in other databases it can.
fn check_insert(tokens: &[TokenWithSpan], source: &Source<'_>) -> Result<(), SqlError> {
    let keyword = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if keyword(0) == Keyword::INSERT && keyword(1) != Keyword::INTO {
        return Err(source.error_at(tokens.get(1).map(|token| token.span.start.column)));
    }
    Ok(())
}

/// CREATE SCHEMA makes the schema alone.
fn check_schema_elements(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let keyword = |at: usize| patch::keyword(tokens.get(at));
    if keyword(0) != Keyword::CREATE || keyword(1) != Keyword::SCHEMA {
        return Ok(());
    }
    let element = |at: usize| {
        keyword(at) == Keyword::CREATE
            && matches!(
                keyword(at + 1),
                Keyword::TABLE
                    | Keyword::VIEW
                    | Keyword::INDEX
                    | Keyword::SEQUENCE
                    | Keyword::TEMP
                    | Keyword::TEMPORARY
            )
            || keyword(at) == Keyword::GRANT
    };
    match (3..tokens.len()).find(|at| element(*at)) {
        Some(at) => Err(SqlError::unsupported("CREATE SCHEMA with elements is not supported")
            .with_hint("Create the schema first, then what is in it, if need be in one transaction.")
            .or_position(usize::try_from(tokens[at].span.start.column).ok())),
        None => Ok(()),
    }
}

fn statement(
    tokens: Vec<TokenWithSpan>,
    mut versions: Versions,
    source: &Source<'_>,
) -> Result<(ast::Statement, Vec<OptionItem>, Option<Own>), SqlError> {
    let is_own = own::begins(&tokens);
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    let parsed = if is_own {
        own::parse(&mut parser, &mut versions).map(|(statement, own)| (statement, Vec::new(), Some(own)))
    } else if parser.parse_keyword(Keyword::COPY) {
        copy::parse_statement(&mut parser).map(|(statement, options)| (statement, options, None))
    } else {
        parser.parse_statement().map(|statement| (statement, Vec::new(), None))
    };
    let (mut statement, copy_options, own) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Err(syntax_error(&error, &parser, source)),
    };
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(source.error_at(Some(rest.span.start.column)));
    }
    versions.put(&mut statement, source)?;
    let statement = select_into(insert_of_with(statement)?);
    reserved::check(&statement, &source.lexed.tokens)?;
    Ok((statement, copy_options, own))
}

/// `SELECT .. INTO t ..` is `CREATE TABLE t AS SELECT ..`.
fn select_into(statement: ast::Statement) -> ast::Statement {
    let ast::Statement::Query(mut query) = statement else { return statement };
    // In a set operation the clause stands in the first query.
    let mut body = query.body.as_mut();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left.as_mut();
    }
    let into = match body {
        SetExpr::Select(select) => select.into.take(),
        _ => None,
    };
    match into {
        Some(into) => CreateTableBuilder::new(into.name).temporary(into.temporary).query(Some(query)).build().into(),
        None => ast::Statement::Query(query),
    }
}

/// `WITH c AS (..) INSERT INTO t SELECT .. FROM c` is `INSERT INTO t WITH c AS (..) SELECT .. FROM c`.
pub(crate) fn insert_of_with(statement: ast::Statement) -> Result<ast::Statement, SqlError> {
    if let ast::Statement::Prepare { name, data_types, statement } = statement {
        let statement = Box::new(insert_of_with(*statement)?);
        return Ok(ast::Statement::Prepare { name, data_types, statement });
    }
    let ast::Statement::Query(mut query) = statement else { return Ok(statement) };
    if !matches!(*query.body, SetExpr::Insert(_)) {
        return Ok(ast::Statement::Query(query));
    }
    let Some(outer) = query.with.take() else { return Ok(ast::Statement::Query(query)) };
    let SetExpr::Insert(mut statement) = *query.body else {
        return Err(SqlError::internal("an INSERT that is none"));
    };
    if let ast::Statement::Insert(insert) = &mut statement
        && let Some(source) = &mut insert.source
    {
        source.with = Some(match source.with.take() {
            None => outer,
            Some(inner) => {
                let repeated = |cte: &ast::Cte| {
                    outer.cte_tables.iter().any(|other| other.alias.name.value == cte.alias.name.value)
                };
                if inner.cte_tables.iter().any(repeated) {
                    return Err(SqlError::unsupported("a WITH query of INSERT and one of its source have one name")
                        .with_hint("Give one of them another name."));
                }
                ast::With {
                    with_token: outer.with_token,
                    recursive: outer.recursive || inner.recursive,
                    cte_tables: outer.cte_tables.into_iter().chain(inner.cte_tables).collect(),
                }
            }
        });
    }
    Ok(statement)
}

fn syntax_error(error: &ParserError, parser: &Parser<'_>, source: &Source<'_>) -> SqlError {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                .with_hint(format!("Expressions and queries may nest {MAX_NESTING} deep."));
        }
    };
    if let Some((_, place)) = message.rsplit_once(" at Line: 1, Column: ") {
        return source.error_at(place.trim().parse().ok());
    }
    if message.trim_end().ends_with("found: EOF") {
        return source.error_at(None);
    }
    // The parser says what, and stands where.
    let place = parser.get_current_token().span.start.column;
    source.error_at((place > 0).then_some(place))
}

/// Rewrites strings so that the tree's text reads back as the tree: the parser's own printing takes two quotes in a
/// row, and a quote after a backslash, for escapes that were there already.
pub(crate) fn make_printable<T: ast::VisitMut>(tree: &mut T) {
    struct Strings;
    impl ast::VisitorMut for Strings {
        type Break = ();
        fn post_visit_value(&mut self, value: &mut ast::ValueWithSpan) -> std::ops::ControlFlow<()> {
            if let ast::Value::SingleQuotedString(text) = &value.value
                && (text.contains("''") || text.contains("\\'"))
            {
                value.value = ast::Value::EscapedStringLiteral(text.clone());
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Strings);
}
