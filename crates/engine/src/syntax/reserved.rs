//! PostgreSQL's reserved words (`src/include/parser/kwlist.h`), and the refusal of names that are among them.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArguments, Ident, ObjectName, Query, Spanned, Statement, TableFactor,
    Visit, Visitor,
};
use sqlparser::tokenizer::TokenWithSpan;
use wharf_values::{SqlError, SqlState};

/// Words that are no names unless they are quoted.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Words that may name functions and types, but no tables and columns.
const NO_RELATION: &[&str] = &[
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

/// Words that are values where they stand alone.
const VALUES: &[&str] = &["current_catalog", "current_role", "current_schema", "current_user", "session_user"];

fn among(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Is this word never a name?
pub(super) fn is_reserved(word: &str) -> bool {
    among(RESERVED, word)
}

/// Refuses names and operators that the parser accepts and PostgreSQL does not.
///
/// # Errors
/// `42601` at the offending word.
pub(super) fn check(statement: &Statement, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    if matches!(statement, Statement::Set(_)) {
        // `SET x = on`: a setting's value is a word.
        return Ok(());
    }
    match statement.visit(&mut Checker { tokens }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Checker<'a> {
    /// What the statement was parsed from.
    tokens: &'a [TokenWithSpan],
}

fn refuse(word: &str, place: u64) -> ControlFlow<Box<SqlError>> {
    let error = SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{word}\""));
    let position = usize::try_from(place).ok().filter(|place| *place > 0);
    ControlFlow::Break(Box::new(error.or_position(position)))
}

fn name(ident: &Ident) -> ControlFlow<Box<SqlError>> {
    if ident.quote_style.is_none()
        && (among(RESERVED, &ident.value) || among(NO_RELATION, &ident.value))
        && !among(VALUES, &ident.value)
    {
        return refuse(&ident.value, ident.span.start.column);
    }
    ControlFlow::Continue(())
}

/// The first part of a name; after a dot every word is one.
fn first(object: &ObjectName) -> ControlFlow<Box<SqlError>> {
    match object.0.first().and_then(|part| part.as_ident()) {
        Some(ident) => name(ident),
        None => ControlFlow::Continue(()),
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::Gt
            | BinaryOperator::LtEq
            | BinaryOperator::GtEq
    )
}

impl Visitor for Checker<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        match statement {
            Statement::CreateTable(create) => {
                first(&create.name)?;
                create.columns.iter().try_for_each(|column| name(&column.name))
            }
            Statement::CreateView(create) => {
                first(&create.name)?;
                create.columns.iter().try_for_each(|column| name(&column.name))
            }
            Statement::Insert(insert) => insert.columns.iter().try_for_each(first),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        tables.into_iter().try_for_each(|table| name(&table.alias.name))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        first(relation)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. } => name(&alias.name),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            // DEFAULT is a word of VALUES lists, which only INSERT knows to be in one.
            Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case("default") => ControlFlow::Continue(()),
            Expr::Identifier(ident) => name(ident),
            // `user.a`: a value that is written as a word has no fields.
            Expr::CompoundFieldAccess { root, access_chain } => match (root.as_ref(), access_chain.first()) {
                (Expr::Function(function), Some(AccessExpr::Dot(_))) if function.args == FunctionArguments::None => {
                    refuse(".", function.name.span().end.column)
                }
                _ => ControlFlow::Continue(()),
            },
            Expr::CompoundIdentifier(parts) => parts.first().map_or(ControlFlow::Continue(()), name),
            Expr::BinaryOp { left, op, right } if is_comparison(op) => match left.as_ref() {
                // Comparisons do not associate: `a < b < c` is an error.
                Expr::BinaryOp { op: inner, .. } if is_comparison(inner) => {
                    let operand = right.span().start.column;
                    let symbol = op.to_string();
                    let before = self.tokens.iter().take_while(|token| token.span.start.column < operand);
                    let place = before.filter(|token| token.token.to_string() == symbol).last();
                    refuse(&symbol, place.map_or(0, |token| token.span.start.column))
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
