//! Clauses of CREATE TABLE and forms of ALTER TABLE that say how rows are laid out in files: partitioning, order, properties.
//!
//! Of CREATE TABLE the clauses are taken out of the tokens before parsing, in whatever order they stand: the parser's grammar has them in
//! another, or not at all.

use sqlparser::ast::Ident;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_lake::partition::{Layout, PartitionChange, PartitionField, PartitionTerm, SortTerm, Term, Transform};
use wharf_values::{SqlError, SqlState};

use super::own::{expect, word, word_is};
use super::{Source, syntax_error};
use crate::bind::names::fold;

/// What CREATE TABLE says of the layout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TableClauses {
    /// PARTITION BY and SORT BY.
    pub(crate) layout: Layout,
    /// WITH, in the order of the text.
    pub(crate) properties: Vec<(String, String)>,
}

/// A form of ALTER TABLE.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LayoutChange {
    /// ADD, DROP, REPLACE PARTITION FIELD.
    Partition(PartitionChange),
    /// SORT BY, CLUSTER BY, WRITE ORDERED BY; without terms WRITE UNORDERED.
    Sort(Vec<SortTerm>),
    /// SET and RESET.
    Properties { set: Vec<(String, String)>, removed: Vec<String> },
}

/// Which clause begins at a token, and how many words it is.
#[derive(Clone, Copy)]
enum Clause {
    Partition,
    Sort,
    Properties,
    Using,
}

/// Takes the clauses out of the tokens of a CREATE TABLE; none in any other statement.
///
/// # Errors
/// `42601`, and `0A000` for PostgreSQL's partitioning by bounds.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>, source: &Source<'_>) -> Result<Option<TableClauses>, SqlError> {
    let Some(mut at) = after_create_table(tokens) else { return Ok(None) };
    let mut clauses = TableClauses::default();
    let mut found = false;
    while at < tokens.len() {
        match tokens[at].token {
            Token::LParen => {
                at = closing(tokens, at);
                continue;
            }
            // What follows is a query, or files and what is said of them.
            _ if is_keyword(&tokens[at], Keyword::AS) || is_keyword(&tokens[at], Keyword::FROM) => break,
            _ => {}
        }
        let Some((clause, words)) = clause_at(tokens, at) else {
            at += 1;
            continue;
        };
        found = true;
        let first = at + words;
        if matches!(clause, Clause::Using) {
            check_using(&tokens[first])?;
            tokens.drain(at..=first);
            continue;
        }
        if let Some(method) = partition_method(tokens, first) {
            return Err(by_bounds(&method));
        }
        if tokens.get(first).is_none_or(|token| token.token != Token::LParen) {
            return Err(source.error_at(tokens.get(first).map(|token| token.span.start.column)));
        }
        let end = closing(tokens, first);
        let taken = tokens[first..end].to_vec();
        let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(taken);
        let read = match clause {
            Clause::Partition => {
                parenthesized(&mut parser, partition_term).map(|terms| clauses.layout.partition = terms)
            }
            Clause::Sort => parenthesized(&mut parser, sort_term).map(|terms| clauses.layout.sort = terms),
            Clause::Properties => parenthesized(&mut parser, property).map(|more| clauses.properties.extend(more)),
            Clause::Using => Ok(()),
        };
        read.map_err(|error| syntax_error(&error, &parser, source))?;
        tokens.drain(at..end);
    }
    Ok(found.then_some(clauses))
}

/// The token after `CREATE TABLE`, with what may stand between.
fn after_create_table(tokens: &[TokenWithSpan]) -> Option<usize> {
    if !word_is(tokens.first(), "create") {
        return None;
    }
    let at = (1..4.min(tokens.len())).find(|at| word_is(tokens.get(*at), "table"))?;
    let between = ["global", "local", "temp", "temporary", "unlogged"];
    let known = |token: &TokenWithSpan| between.iter().any(|word| word_is(Some(token), word));
    tokens[1..at].iter().all(known).then_some(at + 1)
}

fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword)
}

/// The token after the parenthesis that closes the one here; the end where none does.
fn closing(tokens: &[TokenWithSpan], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn clause_at(tokens: &[TokenWithSpan], at: usize) -> Option<(Clause, usize)> {
    // Before it stands the table's name, a list or a clause, never a dot.
    if at > 0 && tokens[at - 1].token == Token::Period {
        return None;
    }
    let is = |at: usize, word: &str| word_is(tokens.get(at), word);
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    if is(at + 1, "by") {
        if is(at, "partition") || is(at, "partitioned") {
            return Some((Clause::Partition, 2));
        }
        if ["sort", "sorted", "cluster", "clustered"].iter().any(|word| is(at, word)) {
            return Some((Clause::Sort, 2));
        }
    }
    if (is(at, "with") || is(at, "tblproperties")) && opens(at + 1) {
        return Some((Clause::Properties, 1));
    }
    let named = |at: usize| tokens.get(at).is_some_and(|token| matches!(token.token, Token::Word(_)));
    (is(at, "using") && named(at + 1)).then_some((Clause::Using, 1))
}

fn check_using(method: &TokenWithSpan) -> Result<(), SqlError> {
    if ["iceberg", "heap"].iter().any(|known| word_is(Some(method), known)) {
        return Ok(());
    }
    let message = format!("access method \"{}\" does not exist", method.token);
    Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message)
        .with_hint("Every table is an Iceberg table; leave the clause out."))
}

/// RANGE, LIST or HASH before a parenthesis: PostgreSQL's own.
fn partition_method(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    let opens = tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen);
    let methods = ["RANGE", "LIST", "HASH"];
    let found = methods.iter().find(|method| word_is(tokens.get(at), method))?;
    opens.then(|| (*found).to_owned())
}

fn by_bounds(method: &str) -> SqlError {
    let hint = match method {
        "HASH" => "Write PARTITION BY (bucket(16, column)): rows find their partition by themselves.",
        "LIST" => "Write PARTITION BY (column): every value is a partition, and rows find it by themselves.",
        _ => {
            "Write PARTITION BY (days(column)), or hours, months, years, truncate(width, column): rows find their partition by themselves."
        }
    };
    SqlError::unsupported(format!("PARTITION BY {method} is not supported")).with_hint(hint)
}

fn parenthesized<T>(
    parser: &mut Parser<'_>,
    item: impl Fn(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut items = vec![item(parser)?];
    while parser.consume_token(&Token::Comma) {
        items.push(item(parser)?);
    }
    parser.expect_token(&Token::RParen)?;
    Ok(items)
}

fn name(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    parser.parse_identifier().map(|ident| fold(&ident))
}

/// `column` or `transform(column)`, with the width of the transform before or after the column.
fn term(parser: &mut Parser<'_>) -> Result<Term, ParserError> {
    let first: Ident = parser.parse_identifier()?;
    if parser.peek_token().token != Token::LParen {
        return Ok(Term { column: fold(&first), transform: Transform::Identity });
    }
    let place = parser.get_current_token().clone();
    parser.expect_token(&Token::LParen)?;
    let mut width = None;
    if matches!(parser.peek_token().token, Token::Number(..)) {
        width = Some(number(parser)?);
        parser.expect_token(&Token::Comma)?;
    }
    let column = name(parser)?;
    if width.is_none() && parser.consume_token(&Token::Comma) {
        width = Some(number(parser)?);
    }
    let transform = match (fold(&first).as_str(), width) {
        ("years" | "year", None) => Transform::Year,
        ("months" | "month", None) => Transform::Month,
        ("days" | "day" | "date", None) => Transform::Day,
        ("hours" | "hour" | "date_hour", None) => Transform::Hour,
        ("identity", None) => Transform::Identity,
        ("bucket", Some(count)) => Transform::Bucket(count),
        ("truncate" | "trunc", Some(width)) => Transform::Truncate(width),
        _ => return parser.expected("a partition transform", place),
    };
    parser.expect_token(&Token::RParen)?;
    Ok(Term { column, transform })
}

fn number(parser: &mut Parser<'_>) -> Result<u32, ParserError> {
    let found = parser.peek_token();
    match u32::try_from(parser.parse_literal_uint()?) {
        Ok(number) => Ok(number),
        Err(_) => parser.expected("a smaller number", found),
    }
}

fn partition_term(parser: &mut Parser<'_>) -> Result<PartitionTerm, ParserError> {
    let term = term(parser)?;
    let name = match parser.parse_keyword(Keyword::AS) {
        true => Some(name(parser)?),
        false => None,
    };
    Ok(PartitionTerm { term, name })
}

fn sort_term(parser: &mut Parser<'_>) -> Result<SortTerm, ParserError> {
    let term = term(parser)?;
    let descending = parser.parse_keyword(Keyword::DESC);
    if !descending {
        let _ascending = parser.parse_keyword(Keyword::ASC);
    }
    // As in ORDER BY, NULL is above everything.
    let mut nulls_first = descending;
    if parser.parse_keyword(Keyword::NULLS) {
        nulls_first = parser.parse_keyword(Keyword::FIRST);
        if !nulls_first {
            parser.expect_keyword(Keyword::LAST)?;
        }
    }
    Ok(SortTerm { term, descending, nulls_first })
}

/// The name of a property: a string, or words with dots and hyphens between.
fn property_name(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut text = String::new();
    loop {
        let token = parser.next_token();
        match token.token {
            Token::SingleQuotedString(part) if text.is_empty() => return Ok(part),
            Token::Word(found) => {
                text.push_str(&fold(&Ident { value: found.value, quote_style: found.quote_style, span: token.span }))
            }
            _ => return parser.expected("the name of a parameter", token),
        }
        if parser.consume_token(&Token::Period) {
            text.push('.');
        } else if parser.consume_token(&Token::Minus) {
            text.push('-');
        } else {
            return Ok(text);
        }
    }
}

/// `name = value`, or the name alone for `true`.
fn property(parser: &mut Parser<'_>) -> Result<(String, String), ParserError> {
    let name = property_name(parser)?;
    if !parser.consume_token(&Token::Eq) {
        return Ok((name, "true".to_owned()));
    }
    let minus = parser.consume_token(&Token::Minus);
    let token = parser.next_token();
    let value = match token.token {
        Token::Number(digits, _) if minus => format!("-{digits}"),
        Token::Number(digits, _) => digits,
        Token::SingleQuotedString(text) if !minus => text,
        Token::Word(word) if !minus => word.value,
        _ => return parser.expected("a value", token),
    };
    Ok((name, value))
}

/// Whether the form of ALTER TABLE after the table's name is one of these.
pub(super) fn begins(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is = |at: usize, word: &str| word_is(tokens.get(at), word);
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    let field = |at: usize| is(at, "partition") && is(at + 1, "field");
    ((is(at, "add") || is(at, "drop") || is(at, "replace")) && field(at + 1))
        || ((is(at, "set") || is(at, "reset")) && opens(at + 1))
        || ((is(at, "set") || is(at, "unset")) && is(at + 1, "tblproperties"))
        || ((is(at, "sort") || is(at, "cluster")) && is(at + 1, "by"))
        || (is(at, "write") && ["ordered", "unordered", "locally"].iter().any(|word| is(at + 1, word)))
}

/// Reads a form that [`begins`] so.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<LayoutChange, ParserError> {
    if word(parser, "set") {
        word(parser, "tblproperties");
        let set = parenthesized(parser, property)?;
        return Ok(LayoutChange::Properties { set, removed: Vec::new() });
    }
    if word(parser, "reset") || word(parser, "unset") {
        if word(parser, "tblproperties") {
            let _if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        }
        let removed = parenthesized(parser, property_name)?;
        return Ok(LayoutChange::Properties { set: Vec::new(), removed });
    }
    if word(parser, "sort") || word(parser, "cluster") {
        expect(parser, "by")?;
        return parenthesized(parser, sort_term).map(LayoutChange::Sort);
    }
    if word(parser, "write") {
        if word(parser, "unordered") {
            return Ok(LayoutChange::Sort(Vec::new()));
        }
        word(parser, "locally");
        expect(parser, "ordered")?;
        expect(parser, "by")?;
        let mut terms = vec![sort_term(parser)?];
        while parser.consume_token(&Token::Comma) {
            terms.push(sort_term(parser)?);
        }
        return Ok(LayoutChange::Sort(terms));
    }
    let change = if word(parser, "add") {
        field_words(parser)?;
        PartitionChange::Add(partition_term(parser)?)
    } else if word(parser, "drop") {
        field_words(parser)?;
        PartitionChange::Drop(partition_field(parser)?)
    } else {
        expect(parser, "replace")?;
        field_words(parser)?;
        let field = partition_field(parser)?;
        parser.expect_keyword(Keyword::WITH)?;
        PartitionChange::Replace(field, partition_term(parser)?)
    };
    Ok(LayoutChange::Partition(change))
}

fn field_words(parser: &mut Parser<'_>) -> Result<(), ParserError> {
    expect(parser, "partition")?;
    expect(parser, "field")
}

fn partition_field(parser: &mut Parser<'_>) -> Result<PartitionField, ParserError> {
    let term = term(parser)?;
    Ok(match term.transform {
        Transform::Identity => PartitionField::Named(term.column),
        _ => PartitionField::Made(term),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::syntax::Own;

    fn clauses(sql: &str) -> TableClauses {
        crate::statement::split(sql).unwrap().remove(0).layout.unwrap().as_ref().clone()
    }

    fn change(sql: &str) -> LayoutChange {
        let own = crate::statement::split(sql).unwrap().remove(0).own.unwrap();
        match own.as_ref() {
            Own::Layout(change) => change.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn part(column: &str, transform: Transform) -> PartitionTerm {
        PartitionTerm { term: Term { column: column.to_owned(), transform }, name: None }
    }

    #[test]
    fn clauses_stand_in_any_order() {
        let expected = TableClauses {
            layout: Layout {
                partition: vec![
                    part("ts", Transform::Day),
                    part("id", Transform::Bucket(16)),
                    part("Name", Transform::Identity),
                ],
                sort: vec![SortTerm {
                    term: Term { column: "id".to_owned(), transform: Transform::Identity },
                    descending: true,
                    nulls_first: false,
                }],
            },
            properties: vec![
                ("write.target-file-size-bytes".to_owned(), "1000".to_owned()),
                ("fillfactor".to_owned(), "70".to_owned()),
            ],
        };
        for sql in [
            "CREATE TABLE t (ts timestamp, id int) PARTITION BY (days(ts), bucket(16, id), \"Name\") \
             SORT BY (id DESC NULLS LAST) WITH ('write.target-file-size-bytes' = 1000, fillfactor = 70)",
            "CREATE TABLE IF NOT EXISTS t (ts timestamp, id int) USING iceberg CLUSTERED BY (id DESC NULLS LAST) \
             TBLPROPERTIES (write.target-file-size-bytes = '1000', fillfactor = 70) PARTITIONED BY (day(ts), bucket(id, 16), \"Name\")",
            "CREATE TABLE t (a, b) PARTITION BY (days(ts), bucket(16, id), \"Name\") SORT BY (id DESC NULLS LAST) \
             WITH ('write.target-file-size-bytes' = '1000', fillfactor = 70) AS SELECT 1, sum(2) OVER (PARTITION BY 3) WITH NO DATA",
        ] {
            assert_eq!(clauses(sql), expected, "{sql}");
        }
        assert!(crate::statement::split("CREATE TABLE t (partition int)").unwrap()[0].layout.is_none());
        assert!(crate::statement::split("CREATE TABLE t AS SELECT 1 WITH NO DATA").unwrap()[0].layout.is_none());
    }

    #[test]
    fn errors_name_their_place() {
        let error = |sql: &str| {
            let error = crate::statement::split(sql).unwrap_err();
            (error.message, error.position)
        };
        let near = |word: &str, at| (format!("syntax error at or near \"{word}\""), Some(at));
        assert_eq!(error("CREATE TABLE t (a int) PARTITION BY a"), near("a", 37));
        assert_eq!(error("CREATE TABLE t (a int) PARTITION BY (weeks(a))"), near("weeks", 38));
        assert_eq!(error("CREATE TABLE t (a int) PARTITION BY RANGE (a)").0, "PARTITION BY RANGE is not supported");
    }

    #[test]
    fn changes_of_the_layout() {
        let day = part("ts", Transform::Day);
        assert_eq!(
            change("ALTER TABLE s.t ADD PARTITION FIELD days(ts) AS d"),
            LayoutChange::Partition(PartitionChange::Add(PartitionTerm { name: Some("d".to_owned()), ..day.clone() }))
        );
        assert_eq!(
            change("ALTER TABLE t REPLACE PARTITION FIELD ts_day WITH days(ts)"),
            LayoutChange::Partition(PartitionChange::Replace(PartitionField::Named("ts_day".to_owned()), day.clone()))
        );
        assert_eq!(
            change("ALTER TABLE t DROP PARTITION FIELD days(ts)"),
            LayoutChange::Partition(PartitionChange::Drop(PartitionField::Made(day.term)))
        );
        assert_eq!(change("ALTER TABLE t WRITE UNORDERED"), LayoutChange::Sort(Vec::new()));
        let removed = LayoutChange::Properties {
            set: Vec::new(),
            removed: vec!["write.format.default".to_owned(), "x.y".to_owned()],
        };
        assert_eq!(change("ALTER TABLE t RESET (write.format.default, 'x.y')"), removed);
        assert!(crate::statement::split("ALTER TABLE t DROP COLUMN partition").unwrap()[0].own.is_none());
    }
}
