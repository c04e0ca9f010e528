//! Where in a statement an error is, for errors of binding that know their object and not its place.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, Function, GroupByExpr, Ident, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned,
    Statement, UnaryOperator, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use wharf_values::{SqlError, SqlState};

use crate::bind::names::fold;

/// What an error speaks of.
enum Subject<'a> {
    /// A column, with its table when the message says so.
    Column(Option<&'a str>, &'a str),
    /// A table before a dot.
    Qualifier(&'a str),
    /// A relation, with its schema when the message says so.
    Relation(&'a str),
    /// A function's name.
    Function(&'a str),
    /// A type's name.
    Type(&'a str),
    /// An operator between, or before, operands.
    Operator(&'a str),
    /// A parameter.
    Parameter(&'a str),
    /// A string that is no value of a type.
    Text(&'a str),
    /// A string that is no value of a type and that the message does not show.
    HiddenText(fn(&str) -> bool),
    /// The second of two equal names in the list of an INSERT.
    Repeated(&'a str),
    /// A schema.
    Schema(&'a str),
    /// A condition, by what it belongs to.
    Condition(&'a str),
    /// A number in ORDER BY or GROUP BY.
    Position(&'a str, &'a str),
    /// A branch of a set operation that has more or fewer columns than the one before.
    Branch,
    /// A cast to a type.
    Cast(&'a str),
}

/// The part of a message between its first pair of double quotes.
fn quoted(message: &str) -> Option<&str> {
    let start = message.find('"')? + 1;
    let end = message.rfind('"')?;
    message.get(start..end)
}

fn subject(error: &SqlError) -> Option<Subject<'_>> {
    let message = error.message.as_str();
    Some(match error.code {
        SqlState::UNDEFINED_COLUMN if message.contains("\" of relation \"") => {
            Subject::Column(None, message.split_once("\" of relation \"")?.0.strip_prefix("column \"")?)
        }
        SqlState::DUPLICATE_COLUMN => Subject::Repeated(quoted(message)?),
        SqlState::UNDEFINED_SCHEMA => Subject::Schema(quoted(message)?),
        SqlState::DATATYPE_MISMATCH => {
            let (clause, _) = message.strip_prefix("argument of ")?.split_once(" must be type boolean")?;
            Subject::Condition(clause)
        }
        SqlState::INVALID_COLUMN_REFERENCE => {
            let (clause, rest) = message.split_once(" position ")?;
            Subject::Position(clause, rest.strip_suffix(" is not in select list")?)
        }
        SqlState::SYNTAX_ERROR if is_branch(message) => Subject::Branch,
        SqlState::CANNOT_COERCE => Subject::Cast(message.strip_prefix("cannot cast type ")?.split_once(" to ")?.1),
        SqlState::INVALID_TEXT_REPRESENTATION if message == "invalid input syntax for type json" => {
            Subject::HiddenText(|_| true)
        }
        SqlState::INVALID_PARAMETER_VALUE if message.starts_with("invalid hexadecimal d") => {
            Subject::HiddenText(|text| text.starts_with("\\x"))
        }
        SqlState::UNDEFINED_COLUMN | SqlState::AMBIGUOUS_COLUMN | SqlState::GROUPING_ERROR => match quoted(message) {
            Some(name) => match name.split_once('.') {
                Some((table, column)) => Subject::Column(Some(table), column),
                None => Subject::Column(None, name),
            },
            None => {
                let (table, column) = message.strip_prefix("column ")?.split(' ').next()?.split_once('.')?;
                Subject::Column(Some(table), column)
            }
        },
        SqlState::UNDEFINED_TABLE if message.contains("FROM-clause") => Subject::Qualifier(quoted(message)?),
        SqlState::UNDEFINED_TABLE => Subject::Relation(quoted(message)?),
        SqlState::UNDEFINED_FUNCTION | SqlState::AMBIGUOUS_FUNCTION if message.starts_with("operator") => {
            let operands = message.split_once(": ")?.1;
            Subject::Operator(operands.split(' ').find(|word| !word.contains(char::is_alphanumeric))?)
        }
        SqlState::UNDEFINED_FUNCTION | SqlState::AMBIGUOUS_FUNCTION | SqlState::WRONG_OBJECT_TYPE => {
            let name = message.strip_prefix("function ")?;
            let name = name.split(['(', ' ']).next()?;
            Subject::Function(name.rsplit('.').next()?)
        }
        SqlState::UNDEFINED_OBJECT if message.starts_with("type ") => Subject::Type(quoted(message)?),
        SqlState::UNDEFINED_PARAMETER => Subject::Parameter(message.rsplit(' ').next()?),
        SqlState::INVALID_TEXT_REPRESENTATION
        | SqlState::INVALID_DATETIME_FORMAT
        | SqlState::DATETIME_FIELD_OVERFLOW
        | SqlState::NUMERIC_VALUE_OUT_OF_RANGE => Subject::Text(quoted(message)?),
        _ => return None,
    })
}

/// Is this about the branches of a set operation? The planner knows a place, and it is that of the first one.
fn is_branch(message: &str) -> bool {
    message.starts_with("each ") && message.ends_with(" query must have the same number of columns")
}

/// Gives an error of binding its position: that of the one place in the statement that can be meant.
pub(crate) fn locate(mut error: SqlError, statement: &Statement, text: &str) -> SqlError {
    if is_branch(&error.message) {
        error.position = None;
    }
    if error.position.is_some() {
        return error;
    }
    let position = subject(&error).and_then(|subject| match subject {
        Subject::Operator(symbol) => operator_place(symbol, text),
        Subject::Cast(to) => cast_place(to, text),
        subject => {
            let places = |subject| {
                let mut finder = Finder { subject, places: Vec::new() };
                let _ = statement.visit(&mut finder);
                finder
            };
            let mut finder = places(subject);
            if finder.places.is_empty()
                && let Subject::Text(_) = finder.subject
            {
                // What the message shows is a part of it: an element of an array.
                finder = places(Subject::HiddenText(|text| text.starts_with(['{', '[', '('])));
            }
            match (&finder.subject, finder.places.as_slice()) {
                // A name that is wrong is wrong everywhere; of strings and conditions, only one can be meant.
                (Subject::Text(_) | Subject::HiddenText(_) | Subject::Condition(_), [place]) => Some(*place),
                (Subject::Text(_) | Subject::HiddenText(_) | Subject::Condition(_), _) => None,
                (_, places) => places.iter().min().copied(),
            }
        }
    });
    let position = position.and_then(|place| usize::try_from(place).ok()).filter(|place| *place > 0);
    error.or_position(position)
}

/// An operator that the text has once; the tree does not keep where its operators are.
fn operator_place(symbol: &str, text: &str) -> Option<u64> {
    let lexed = super::lexer::lex(text).ok()?;
    let mut places = lexed
        .tokens
        .iter()
        .zip(&lexed.ranges)
        .filter(|(_, range)| &text[(*range).clone()] == symbol || (symbol == "<>" && &text[(*range).clone()] == "!="))
        .map(|(token, _)| token.span.start.column);
    match (places.next(), places.next()) {
        (Some(place), None) => Some(place),
        _ => None,
    }
}

/// The one cast to a type in a text: the place of `::` or of the word CAST.
fn cast_place(to: &str, text: &str) -> Option<u64> {
    let tokens = super::lexer::lex(text).ok()?.tokens;
    let is_type = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) => {
            let name = word.value.to_lowercase();
            let (first, plain) = (to.split(['(', ' ', '[']).next(), to.split(['(', '[']).next());
            let other = match name.as_str() {
                "int" | "int4" => "integer",
                "int2" => "smallint",
                "int8" => "bigint",
                "bool" => "boolean",
                "float8" | "float" => "double precision",
                "float4" => "real",
                "decimal" => "numeric",
                "varchar" => "character varying",
                "char" => "character",
                "timestamptz" => "timestamp with time zone",
                name => name,
            };
            Some(name.as_str()) == first || Some(other) == plain || to.starts_with(&format!("{other} "))
        }
        _ => false,
    };
    let mut places = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::DoubleColon if is_type(at + 1) => places.push(token.span.start.column),
            Token::Word(word)
                if word.keyword == Keyword::CAST
                    && tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen)
                    && cast_type(&tokens, at + 2).is_some_and(is_type) =>
            {
                places.push(token.span.start.column);
            }
            _ => {}
        }
    }
    match places.as_slice() {
        [place] => Some(*place),
        _ => None,
    }
}

/// Where the type of `CAST(.. AS type)` begins whose value begins here.
fn cast_type(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            Token::Word(word) if depth == 0 && word.keyword == Keyword::AS => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The columns of a branch of a set operation, where its text tells them all: how many, and where they begin.
fn branch(body: &SetExpr) -> Option<(usize, u64)> {
    match body {
        SetExpr::Select(select) => {
            let plain =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            let first = select.projection.first()?;
            select.projection.iter().all(plain).then(|| (select.projection.len(), first.span().start.column))
        }
        SetExpr::Values(values) => {
            let first = values.rows.first()?.content.first()?;
            Some((values.rows.first()?.content.len(), first.span().start.column))
        }
        SetExpr::Query(query) => branch(&query.body),
        SetExpr::SetOperation { left, .. } => branch(left),
        _ => None,
    }
}

struct Finder<'a> {
    subject: Subject<'a>,
    places: Vec<u64>,
}

impl Finder<'_> {
    fn found(&mut self, ident: &Ident) {
        self.places.push(ident.span.start.column);
    }

    /// The places where the columns of a branch begin that has another number of them.
    fn branches(&mut self, body: &SetExpr) {
        let SetExpr::SetOperation { left, right, .. } = body else { return };
        self.branches(left);
        self.branches(right);
        if let (Some((before, _)), Some((after, place))) = (branch(left), branch(right))
            && before != after
        {
            self.places.push(place);
        }
    }

    fn condition(&mut self, clause: &str, condition: &Expr) {
        if matches!(self.subject, Subject::Condition(wanted) if wanted == clause) {
            self.places.push(condition.span().start.column);
        }
    }

    fn position(&mut self, clause: &str, key: &Expr) {
        if let Subject::Position(wanted, number) = self.subject
            && wanted == clause
            && let Expr::Value(ValueWithSpan { value: Value::Number(text, _), span }) = key
            && text == number
        {
            self.places.push(span.start.column);
        }
    }

    fn function(&mut self, function: &Function) {
        let Subject::Function(wanted) = self.subject else { return };
        let last = function.name.0.last().and_then(|part| part.as_ident());
        if last.is_some_and(|ident| fold(ident) == wanted)
            && let Some(first) = function.name.0.first().and_then(|part| part.as_ident())
        {
            self.found(first);
        }
    }

    fn data_type(&mut self, data_type: &DataType) {
        let Subject::Type(wanted) = self.subject else { return };
        if let DataType::Custom(name, _) = data_type
            && let Some(first) = name.0.first().and_then(|part| part.as_ident())
            && name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| fold(ident) == wanted)
        {
            self.found(first);
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if matches!(self.subject, Subject::Branch) {
            self.branches(&query.body);
        }
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order_by| &order_by.kind) {
            keys.iter().for_each(|key| self.position("ORDER BY", &key.expr));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        select.selection.iter().for_each(|condition| self.condition("WHERE", condition));
        select.having.iter().for_each(|condition| self.condition("HAVING", condition));
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            keys.iter().for_each(|key| self.position("GROUP BY", key));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let (Subject::Schema(wanted), [schema, _]) = (&self.subject, relation.0.as_slice())
            && let Some(ident) = schema.as_ident()
            && fold(ident) == *wanted
        {
            self.found(ident);
        }
        if let Subject::Relation(wanted) = self.subject {
            let parts: Vec<String> = relation.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
            if parts.join(".") == wanted || parts.last().is_some_and(|last| last == wanted) {
                self.places.push(relation.span().start.column);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Insert(insert) => {
                if let Subject::Repeated(wanted) = self.subject {
                    let idents = insert.columns.iter().filter_map(|name| name.0.last()?.as_ident());
                    // The first of them is right.
                    for ident in idents.filter(|ident| fold(ident) == wanted).skip(1) {
                        self.found(ident);
                    }
                }
                if let Subject::Column(None, wanted) = self.subject {
                    let idents = insert.columns.iter().filter_map(|name| name.0.last()?.as_ident());
                    for ident in idents.filter(|ident| fold(ident) == wanted) {
                        self.found(ident);
                    }
                }
                if let (Subject::Relation(_), sqlparser::ast::TableObject::TableName(name)) =
                    (&self.subject, &insert.table)
                {
                    return self.pre_visit_relation(name);
                }
            }
            Statement::CreateTable(create) => {
                create.columns.iter().for_each(|column| self.data_type(&column.data_type));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.condition("NOT", expr),
            Expr::Case { operand: None, conditions, .. } => {
                conditions.iter().for_each(|when| self.condition("CASE/WHEN", &when.condition));
            }
            _ => {}
        }
        match (expr, &self.subject) {
            (Expr::Identifier(ident), Subject::Column(_, column)) if fold(ident) == *column => self.found(ident),
            (Expr::CompoundIdentifier(parts), Subject::Column(table, column)) => {
                if let [.., qualifier, last] = parts.as_slice()
                    && fold(last) == *column
                    && table.is_none_or(|table| fold(qualifier) == table)
                    && let Some(first) = parts.first()
                {
                    self.found(first);
                }
            }
            (Expr::CompoundIdentifier(parts), Subject::Qualifier(table)) => {
                if let [.., qualifier, _] = parts.as_slice()
                    && fold(qualifier) == *table
                {
                    self.found(qualifier);
                }
            }
            (Expr::Function(function), _) => self.function(function),
            (Expr::Cast { data_type, .. }, _) => self.data_type(data_type),
            (Expr::TypedString(typed), _) => self.data_type(&typed.data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        let found = match (&self.subject, &value.value) {
            (Subject::Text(wanted), Value::SingleQuotedString(text)) => text == wanted,
            (Subject::HiddenText(can_be), Value::SingleQuotedString(text)) => can_be(text),
            (Subject::Parameter(wanted), Value::Placeholder(name)) => name == wanted,
            _ => false,
        };
        if found {
            self.places.push(value.span.start.column);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Where an error is, as PostgreSQL 15 has it.
    fn place(code: SqlState, message: &str, sql: &str) -> Option<usize> {
        let statement = crate::statement::split(sql).unwrap().remove(0);
        locate(SqlError::new(code, message), &statement.ast, sql).position
    }

    #[test]
    fn columns_of_an_insert() {
        let missing = "column \"nope\" of relation \"t\" does not exist";
        assert_eq!(place(SqlState::UNDEFINED_COLUMN, missing, "insert into s.t(nope) values (1)"), Some(17));
        let twice = "column \"a\" specified more than once";
        assert_eq!(place(SqlState::DUPLICATE_COLUMN, twice, "insert into s.t(a,a) values (1,2)"), Some(19));
    }

    #[test]
    fn casts() {
        let at = |message: &str, sql: &str| place(SqlState::CANNOT_COERCE, message, sql);
        assert_eq!(at("cannot cast type boolean to date", "select cast(true as date)"), Some(8));
        assert_eq!(at("cannot cast type integer to date", "select a::date from s.t"), Some(9));
        assert_eq!(at("cannot cast type date to integer", "select '1'::date, date '2020-01-01'::int"), Some(36));
        assert_eq!(at("cannot cast type integer to date", "select a::date, b::date from s.t"), None);
    }

    #[test]
    fn conditions_and_positions() {
        let not_boolean = |clause: &str| format!("argument of {clause} must be type boolean, not type integer");
        let at = |clause: &str, sql: &str| place(SqlState::DATATYPE_MISMATCH, &not_boolean(clause), sql);
        assert_eq!(at("WHERE", "select * from s.t where a"), Some(25));
        assert_eq!(at("NOT", "select not a from s.t"), Some(12));
        assert_eq!(at("CASE/WHEN", "select case when a then 1 end from s.t"), Some(18));
        let outside = "ORDER BY position 5 is not in select list";
        assert_eq!(place(SqlState::INVALID_COLUMN_REFERENCE, outside, "select a from s.t order by 5"), Some(28));
    }

    #[test]
    fn schemas_and_branches() {
        let missing = "schema \"nosch\" does not exist";
        assert_eq!(place(SqlState::UNDEFINED_SCHEMA, missing, "create table nosch.t (a int)"), Some(14));
        let uneven = "each UNION query must have the same number of columns";
        assert_eq!(place(SqlState::SYNTAX_ERROR, uneven, "select 1,2 union select 1"), Some(25));
    }

    #[test]
    fn strings_that_the_message_does_not_show() {
        let wrong = SqlState::INVALID_TEXT_REPRESENTATION;
        assert_eq!(place(wrong, "invalid input syntax for type integer: \"x\"", "select '{1,x}'::int[]"), Some(8));
        assert_eq!(place(wrong, "invalid input syntax for type json", "select '{1'::json"), Some(8));
        let digit = "invalid hexadecimal digit: \"z\"";
        assert_eq!(place(SqlState::INVALID_PARAMETER_VALUE, digit, "select 'a', '\\xzz'::bytea"), Some(13));
    }
}
