//! Versions of tables: `t FOR SYSTEM_TIME AS OF ..`, `t FOR VERSION AS OF ..`, and what other engines write for them.
//!
//! The parser's grammar for PostgreSQL has no room for the clause, while its tree has. So the clause is taken out of the tokens
//! before parsing and put into the tree after it, at the table that stands before it.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Statement, TableFactor, TableVersion, VisitMut, VisitorMut};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_values::SqlError;

use super::{MAX_NESTING, Source, syntax_error};

/// The clauses of one statement that have no place in its tree yet.
#[derive(Default)]
pub(super) struct Versions {
    clauses: Vec<Clause>,
}

struct Clause {
    /// The place of the name before it: of a table, or of its alias.
    name: u64,
    /// Its own place.
    start: u64,
    version: TableVersion,
}

/// What a clause counts by.
#[derive(Clone, Copy)]
enum By {
    /// `FOR SYSTEM_TIME`: printed again as it was.
    SystemTime,
    Time,
    Version,
}

/// Takes the clauses out of a statement's tokens.
///
/// # Errors
/// `42601` for what comes after AS OF.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>, source: &Source<'_>) -> Result<Versions, SqlError> {
    let mut versions = Versions::default();
    // From the end: what stands in a version may itself ask for one.
    for start in (1..tokens.len()).rev() {
        let Some(name) = name_before(tokens, start) else { continue };
        let place = tokens[start].span.start.column;
        let (version, end) = if let Some((by, length)) = as_of(tokens, start) {
            let (expr, used) = expression(&tokens[start + length..], by, source)?;
            let version = match by {
                By::SystemTime => TableVersion::ForSystemTimeAsOf(expr),
                By::Time => TableVersion::TimestampAsOf(expr),
                By::Version => TableVersion::VersionAsOf(expr),
            };
            (version, start + length + used)
        } else if let Some(found) = at(tokens, start, source)? {
            found
        } else {
            continue;
        };
        tokens.drain(start..end);
        versions.clauses.push(Clause { name, start: place, version });
    }
    Ok(versions)
}

/// `AS OF` in its spellings: what it counts by, and how many tokens that takes.
fn as_of(tokens: &[TokenWithSpan], start: usize) -> Option<(By, usize)> {
    let is = |at: usize, words: &[&str]| words.iter().any(|known| is_word(tokens.get(start + at), known));
    let by = |at: usize| match () {
        () if is(at, &["system_time"]) => Some(By::SystemTime),
        () if is(at, &["timestamp"]) => Some(By::Time),
        () if is(at, &["version", "system_version"]) => Some(By::Version),
        () => None,
    };
    if is(0, &["for"]) && is(2, &["as"]) && is(3, &["of"]) {
        return by(1).map(|by| (by, 4));
    }
    if is(0, &["as"]) && is(1, &["of"]) && is(2, &["version", "timestamp"]) {
        return by(2).map(|by| (by, 3));
    }
    let bare = is(0, &["version", "timestamp"]) && is(1, &["as"]) && is(2, &["of"]);
    by(0).filter(|_| bare).map(|by| (by, 3))
}

/// `AT (TIMESTAMP => ..)` and its kin: the version, and the token after it.
fn at(tokens: &[TokenWithSpan], start: usize, source: &Source<'_>) -> Result<Option<(TableVersion, usize)>, SqlError> {
    let before = is_word(tokens.get(start), "before");
    let is = |at: usize, token: &Token| tokens.get(start + at).is_some_and(|found| found.token == *token);
    if !(before || is_word(tokens.get(start), "at")) || !is(1, &Token::LParen) || !is(3, &Token::RArrow) {
        return Ok(None);
    }
    let kind = ["timestamp", "offset", "version", "snapshot", "branch", "tag"]
        .into_iter()
        .find(|kind| is_word(tokens.get(start + 2), kind));
    let by = match kind {
        Some("timestamp" | "offset") => By::Time,
        Some(_) if !before => By::Version,
        _ => return Ok(None),
    };
    let (mut expr, used) = expression(&tokens[start + 4..], By::Time, source)?;
    let end = start + 4 + used;
    if tokens.get(end).is_none_or(|token| token.token != Token::RParen) {
        return Err(source.error_at(tokens.get(end).map(|token| token.span.start.column)));
    }
    if kind == Some("offset") {
        expr = around("now() + (x) * INTERVAL '1 second'", &expr)?;
    }
    if before {
        expr = around("(x)::timestamptz - INTERVAL '1 microsecond'", &expr)?;
    }
    let version = match by {
        By::Version => TableVersion::VersionAsOf(expr),
        _ => TableVersion::TimestampAsOf(expr),
    };
    Ok(Some((version, end + 1)))
}

/// An expression with another in the place of `x`.
fn around(template: &str, inner: &Expr) -> Result<Expr, SqlError> {
    struct Place<'a>(&'a Expr);
    impl VisitorMut for Place<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Nested(nested) if matches!(&**nested, Expr::Identifier(name) if name.value == "x") => {
                    **nested = self.0.clone();
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(template).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.map_err(|error| SqlError::internal(error.to_string()))?;
    let _ = expr.visit(&mut Place(inner));
    Ok(expr)
}

/// The expression that the tokens begin with, and how many it takes. A snapshot's id or name is one value.
fn expression(tokens: &[TokenWithSpan], by: By, source: &Source<'_>) -> Result<(Expr, usize), SqlError> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_NESTING)
        .with_tokens_with_locations(tokens.to_vec());
    let parsed: Result<Expr, ParserError> = match by {
        By::Version => parser.parse_prefix(),
        By::SystemTime | By::Time => parser.parse_expr(),
    };
    match parsed {
        Ok(expr) => Ok((expr, parser.index().min(tokens.len()))),
        Err(error) => Err(syntax_error(&error, &parser, source)),
    }
}

/// The place of the name that ends before a token: a table's, or that of an alias, which can have columns.
fn name_before(tokens: &[TokenWithSpan], at: usize) -> Option<u64> {
    let mut last = at.checked_sub(1)?;
    if tokens[last].token == Token::RParen {
        last = tokens[..last].iter().rposition(|token| token.token == Token::LParen)?.checked_sub(1)?;
    }
    match &tokens[last].token {
        Token::Word(word) if word.quote_style.is_some() || !super::reserved::is_reserved(&word.value) => {
            Some(tokens[last].span.start.column)
        }
        Token::SingleQuotedString(_) => Some(tokens[last].span.start.column),
        _ => None,
    }
}

fn is_word(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(found))
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

impl Versions {
    /// The clause after the name at this place.
    pub(super) fn claim(&mut self, name: u64) -> Option<TableVersion> {
        let found = self.clauses.iter().position(|clause| clause.name == name)?;
        Some(self.clauses.swap_remove(found).version)
    }

    /// Puts the clauses into the tree.
    ///
    /// # Errors
    /// `42601` at a clause that does not follow a table to be read.
    pub(super) fn put(mut self, statement: &mut Statement, source: &Source<'_>) -> Result<(), SqlError> {
        if self.clauses.is_empty() {
            return Ok(());
        }
        let _ = statement.visit(&mut self);
        let target = match statement {
            Statement::Update(update) => is_versioned(&update.table.relation),
            Statement::Merge(merge) => is_versioned(&merge.table),
            Statement::Delete(delete) => {
                let (sqlparser::ast::FromTable::WithFromKeyword(from)
                | sqlparser::ast::FromTable::WithoutKeyword(from)) = &delete.from;
                from.iter().any(|table| is_versioned(&table.relation))
            }
            _ => false,
        };
        if target {
            return Err(SqlError::unsupported("an old version of a table cannot be changed")
                .with_hint("Make a branch of it with ALTER TABLE .. CREATE BRANCH and set wharf.write_branch."));
        }
        match self.clauses.iter().map(|clause| clause.start).min() {
            Some(start) => Err(source.error_at(Some(start))),
            None => Ok(()),
        }
    }
}

fn is_versioned(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { version: Some(_), .. })
}

impl VisitorMut for Versions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, version, args: None, .. } = factor {
            let last = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.span.start.column);
            let alias = alias.as_ref().map(|alias| alias.name.span.start.column);
            if let Some(found) = [last, alias].into_iter().flatten().find_map(|place| self.claim(place)) {
                *version = Some(found);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        if let Statement::CreateTable(create) = statement
            && let Some(clone) = &create.clone
            && let Some(last) = clone.0.last().and_then(|part| part.as_ident())
        {
            create.version = self.claim(last.span.start.column);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    fn printed(sql: &str) -> String {
        crate::statement::parse(sql).unwrap().remove(0).to_string()
    }

    #[test]
    fn versions_are_read_in_all_spellings() {
        for (sql, expected) in [
            ("SELECT * FROM t FOR VERSION AS OF 5", "SELECT * FROM t VERSION AS OF 5"),
            ("SELECT * FROM s.t FOR VERSION AS OF 'x' AS a", "SELECT * FROM s.t AS a VERSION AS OF 'x'"),
            (
                "SELECT * FROM t VERSION AS OF (1) a JOIN u USING (b)",
                "SELECT * FROM t a VERSION AS OF (1) JOIN u USING(b)",
            ),
            (
                "SELECT 1 FROM t FOR SYSTEM_TIME AS OF now() - INTERVAL '1 hour' WHERE a = 1",
                "SELECT 1 FROM t FOR SYSTEM_TIME AS OF now() - INTERVAL '1 hour' WHERE a = 1",
            ),
            ("SELECT 1 FROM t FOR TIMESTAMP AS OF '2024-01-01', u", "SELECT 1 FROM t TIMESTAMP AS OF '2024-01-01', u"),
            ("SELECT 1 FROM t AT (TAG => 'x') AS a", "SELECT 1 FROM t AS a VERSION AS OF 'x'"),
            (
                "SELECT 1 FROM t AT (OFFSET => -60 * 5)",
                "SELECT 1 FROM t TIMESTAMP AS OF now() + (-60 * 5) * INTERVAL '1 second'",
            ),
            (
                "SELECT 1 FROM t VERSION AS OF (SELECT max(id) FROM u FOR VERSION AS OF 3)",
                "SELECT 1 FROM t VERSION AS OF (SELECT max(id) FROM u VERSION AS OF 3)",
            ),
            ("SELECT timestamp AS of FROM t", "SELECT timestamp AS of FROM t"),
            ("SELECT 1 FROM t at (a, b)", "SELECT 1 FROM t at (a, b)"),
        ] {
            let once = printed(sql);
            assert_eq!(once, expected, "{sql}");
            assert_eq!(printed(&once), once, "printed text reads back");
        }
    }

    #[test]
    fn a_version_belongs_to_a_table_that_is_read() {
        for sql in [
            "SELECT 1 FROM f(1) x FOR VERSION AS OF",
            "INSERT INTO t FOR VERSION AS OF 5 VALUES (1)",
            "SELECT 1 FROM (SELECT 2) q FOR VERSION AS OF 1",
            "UPDATE t FOR VERSION AS OF 5 SET a = 1",
        ] {
            crate::statement::parse(sql).unwrap_err();
        }
    }
}
