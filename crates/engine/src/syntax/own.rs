//! Statements that the parser has no tree for: branches and tags, rollback, UNDROP, tables of files.
//!
//! Beside what is read here there is always a tree, an ALTER TABLE that names the table and changes nothing, or a CREATE TABLE, so
//! that everything that looks at statements finds one.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{self, Ident, ObjectName, TableVersion};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_lake::commit::{RefKind, RefRetention};

use super::files::{self, FilesClause};
use super::layout::{self, LayoutChange};
use super::versions::Versions;
use crate::bind::names::fold;

/// A statement of Wharf's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Own {
    /// ALTER TABLE .. CREATE BRANCH or TAG, or REPLACE.
    CreateRef {
        kind: RefKind,
        name: String,
        /// It may be there already, and is made anew.
        or_replace: bool,
        /// It must be there already.
        replace: bool,
        if_not_exists: bool,
        /// Of which version; none: the current one.
        version: Option<TableVersion>,
        retention: RefRetention,
    },
    /// ALTER TABLE .. DROP BRANCH or TAG.
    DropRef { kind: RefKind, name: String, if_exists: bool },
    /// ALTER TABLE .. EXECUTE fast_forward(branch, to).
    FastForward { branch: String, to: String },
    /// ALTER TABLE .. ROLLBACK TO, SET CURRENT VERSION.
    Rollback {
        version: TableVersion,
        /// Only to what has been current before.
        to_ancestor: bool,
    },
    /// UNDROP TABLE.
    Undrop,
    /// ALTER TABLE .. PARTITION FIELD, SORT BY, SET, RESET.
    Layout(LayoutChange),
    /// CREATE TABLE .. FROM files.
    FromFiles(FilesClause),
    /// CREATE EXTERNAL TABLE.
    External(FilesClause),
}

pub(super) fn word_is(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(found))
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Is this a statement of Wharf's own?
pub(super) fn begins(tokens: &[TokenWithSpan]) -> bool {
    let is = |at: usize, word: &str| word_is(tokens.get(at), word);
    if is(0, "undrop") {
        return is(1, "table");
    }
    if files::begins(tokens) {
        return true;
    }
    if !(is(0, "alter") && is(1, "table")) {
        return false;
    }
    let mut at = if is(2, "if") { 5 } else { 3 };
    if is(at - 1, "only") && tokens.get(at).is_some_and(|token| matches!(token.token, Token::Word(_))) {
        at += 1;
    }
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    let is_ref = |at: usize| is(at, "branch") || is(at, "tag");
    let is_name = |at: usize| {
        let name = tokens.get(at).map(|token| &token.token);
        matches!(name, Some(Token::Word(_) | Token::SingleQuotedString(_))) && !is(at, "cascade") && !is(at, "restrict")
    };
    layout::begins(tokens, at)
        || (is(at, "create") && (is_ref(at + 1) || (is(at + 1, "or") && is_ref(at + 3))))
        || (is(at, "replace") && is_ref(at + 1))
        // Of a column called so, nothing but CASCADE or RESTRICT follows.
        || (is(at, "drop") && is_ref(at + 1) && is_name(at + 2))
        || (is(at, "rollback") && is(at + 1, "to"))
        || (is(at, "set") && is(at + 1, "current") && is(at + 2, "version"))
        || is(at, "execute")
}

/// Reads a statement that [`begins`] so.
pub(super) fn parse(parser: &mut Parser<'_>, versions: &mut Versions) -> Result<(ast::Statement, Own), ParserError> {
    if word_is(Some(&parser.peek_token()), "create") {
        return files::parse(parser);
    }
    let undrop = word(parser, "undrop");
    if !undrop {
        parser.expect_keyword(Keyword::ALTER)?;
    }
    parser.expect_keyword(Keyword::TABLE)?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    if word_is(Some(&parser.peek_token()), "only") && matches!(parser.peek_nth_token(1).token, Token::Word(_)) {
        // A table has no others that inherit from it.
        parser.next_token();
    }
    let at_layout = |parser: &Parser<'_>| {
        let ahead: Vec<_> = (0..3).map(|ahead| parser.peek_nth_token(ahead)).collect();
        layout::begins(&ahead, 0)
    };
    let name = parser.parse_object_name(false)?;
    if !undrop && at_layout(parser) {
        return Ok((alter(name, if_exists), Own::Layout(layout::parse(parser)?)));
    }
    let own = if undrop { Own::Undrop } else { action(parser, versions)? };
    Ok((alter(name, if_exists), own))
}

fn alter(name: ObjectName, if_exists: bool) -> ast::Statement {
    ast::Statement::AlterTable(ast::AlterTable {
        name,
        if_exists,
        only: false,
        operations: Vec::new(),
        location: None,
        on_cluster: None,
        table_type: None,
        end_token: AttachedToken::empty(),
    })
}

fn action(parser: &mut Parser<'_>, versions: &mut Versions) -> Result<Own, ParserError> {
    if parser.parse_keyword(Keyword::DROP) {
        let kind = kind(parser)?;
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        return Ok(Own::DropRef { kind, name: ref_name(parser)?.0, if_exists });
    }
    if parser.parse_keyword(Keyword::ROLLBACK) {
        parser.expect_keyword(Keyword::TO)?;
        // What is no word can only be a version.
        let version = match parser.peek_token().token {
            Token::Word(_) => version(parser)?,
            _ => parser.parse_prefix().map(TableVersion::VersionAsOf)?,
        };
        return Ok(Own::Rollback { version, to_ancestor: true });
    }
    if parser.parse_keyword(Keyword::SET) {
        expect(parser, "current")?;
        return Ok(Own::Rollback { version: version(parser)?, to_ancestor: false });
    }
    if parser.parse_keyword(Keyword::EXECUTE) {
        return fast_forward(parser);
    }
    let replace = parser.parse_keyword(Keyword::REPLACE);
    let mut or_replace = false;
    if !replace {
        parser.expect_keyword(Keyword::CREATE)?;
        or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    }
    let kind = kind(parser)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let (name, place) = ref_name(parser)?;
    let version = versions.claim(place);
    let retention = retention(parser, kind)?;
    Ok(Own::CreateRef { kind, name, or_replace, replace, if_not_exists, version, retention })
}

fn kind(parser: &mut Parser<'_>) -> Result<RefKind, ParserError> {
    if word(parser, "branch") {
        return Ok(RefKind::Branch);
    }
    expect(parser, "tag").map(|()| RefKind::Tag)
}

/// The name of a branch or tag, as a name or a string, and its place.
fn ref_name(parser: &mut Parser<'_>) -> Result<(String, u64), ParserError> {
    let token = parser.next_token();
    let place = token.span.start.column;
    match token.token {
        Token::SingleQuotedString(text) => Ok((text, place)),
        Token::Word(found) => {
            Ok((fold(&Ident { value: found.value, quote_style: found.quote_style, span: token.span }), place))
        }
        _ => parser.expected("a name", token),
    }
}

/// `VERSION n`, `VERSION 'name'`, `TIMESTAMP ..`.
fn version(parser: &mut Parser<'_>) -> Result<TableVersion, ParserError> {
    if word(parser, "timestamp") {
        return parser.parse_expr().map(TableVersion::TimestampAsOf);
    }
    expect(parser, "version")?;
    parser.parse_prefix().map(TableVersion::VersionAsOf)
}

fn fast_forward(parser: &mut Parser<'_>) -> Result<Own, ParserError> {
    expect(parser, "fast_forward")?;
    parser.expect_token(&Token::LParen)?;
    let (branch, _) = ref_name(parser)?;
    parser.expect_token(&Token::Comma)?;
    let (to, _) = ref_name(parser)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Own::FastForward { branch, to })
}

/// `RETAIN 7 DAYS`, and of a branch `WITH SNAPSHOT RETENTION 3 SNAPSHOTS 2 DAYS` with either or both.
fn retention(parser: &mut Parser<'_>, kind: RefKind) -> Result<RefRetention, ParserError> {
    let mut retention = RefRetention::default();
    if word(parser, "retain") {
        retention.max_ref_age_ms = Some(age(parser)?);
    }
    if kind == RefKind::Branch && parser.parse_keyword(Keyword::WITH) {
        expect(parser, "snapshot")?;
        expect(parser, "retention")?;
        let snapshots = matches!(&parser.peek_nth_token(1).token, Token::Word(found)
            if found.value.eq_ignore_ascii_case("snapshots") || found.value.eq_ignore_ascii_case("snapshot"));
        if snapshots {
            let count = positive(parser)?;
            parser.next_token();
            retention.min_snapshots_to_keep = Some(i32::try_from(count).unwrap_or(i32::MAX));
        }
        if !snapshots || matches!(parser.peek_token().token, Token::Number(..)) {
            retention.max_snapshot_age_ms = Some(age(parser)?);
        }
    }
    Ok(retention)
}

/// A number of days, hours or minutes, in milliseconds.
fn age(parser: &mut Parser<'_>) -> Result<i64, ParserError> {
    let count = positive(parser)?;
    for (unit, minutes) in [("day", 24 * 60), ("hour", 60), ("minute", 1)] {
        if word(parser, unit) || word(parser, &format!("{unit}s")) {
            return Ok(count.saturating_mul(minutes * 60_000));
        }
    }
    let found = parser.peek_token();
    parser.expected("DAYS, HOURS or MINUTES", found)
}

fn positive(parser: &mut Parser<'_>) -> Result<i64, ParserError> {
    let found = parser.peek_token();
    match i64::try_from(parser.parse_literal_uint()?) {
        Ok(count) if count > 0 => Ok(count),
        _ => parser.expected("a positive number", found),
    }
}

/// Takes the next token if it is this word.
pub(super) fn word(parser: &mut Parser<'_>, word: &str) -> bool {
    let is = word_is(Some(&parser.peek_token()), word);
    if is {
        parser.next_token();
    }
    is
}

pub(super) fn expect(parser: &mut Parser<'_>, expected: &str) -> Result<(), ParserError> {
    if word(parser, expected) {
        return Ok(());
    }
    let found = parser.peek_token();
    parser.expected(expected, found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn own(sql: &str) -> Own {
        crate::statement::split(sql).unwrap().remove(0).own.unwrap().as_ref().clone()
    }

    #[test]
    fn branches_and_tags() {
        let Own::CreateRef { kind, name, version, retention, .. } =
            own("ALTER TABLE s.t CREATE BRANCH IF NOT EXISTS Audit AS OF VERSION 5 RETAIN 7 DAYS \
             WITH SNAPSHOT RETENTION 3 SNAPSHOTS 2 HOURS")
        else {
            panic!("not CREATE BRANCH")
        };
        assert_eq!((kind, name.as_str()), (RefKind::Branch, "audit"));
        assert_eq!(version.unwrap().to_string(), "VERSION AS OF 5");
        let expected = RefRetention {
            max_ref_age_ms: Some(7 * 86_400_000),
            min_snapshots_to_keep: Some(3),
            max_snapshot_age_ms: Some(2 * 3_600_000),
        };
        assert_eq!(retention, expected);
        let drop = own("ALTER TABLE t DROP TAG IF EXISTS \"End of Year\"");
        assert_eq!(drop, Own::DropRef { kind: RefKind::Tag, name: "End of Year".to_owned(), if_exists: true });
        assert!(matches!(
            own("ALTER TABLE t ROLLBACK TO TIMESTAMP '2024-01-01'"),
            Own::Rollback { to_ancestor: true, .. }
        ));
        for sql in ["ALTER TABLE t ROLLBACK TO 't0'", "ALTER TABLE t ROLLBACK TO VERSION 't0'"] {
            let Own::Rollback { version: TableVersion::VersionAsOf(version), to_ancestor: true } = own(sql) else {
                panic!("{sql}")
            };
            assert_eq!(version.to_string(), "'t0'");
        }
        assert!(crate::statement::split("ALTER TABLE t ROLLBACK TO t0").is_err());
        assert!(matches!(own("UNDROP TABLE s.t"), Own::Undrop));
    }

    #[test]
    fn columns_may_be_called_so() {
        for sql in ["ALTER TABLE t DROP branch", "ALTER TABLE t DROP tag CASCADE", "ALTER TABLE t DROP COLUMN branch"] {
            assert!(crate::statement::split(sql).unwrap().remove(0).own.is_none(), "{sql}");
        }
    }
}
