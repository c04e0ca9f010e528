//! Where in a statement an error is, for errors of binding that know their object and not its place.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, Function, Ident, ObjectName, Spanned, Statement, Value, ValueWithSpan, Visit, Visitor,
};
use wharf_values::{SqlError, SqlState};

use crate::bind::names::fold;

/// What an error speaks of.
#[derive(PartialEq)]
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

/// Gives an error of binding its position: that of the one place in the statement that can be meant.
pub(crate) fn locate(error: SqlError, statement: &Statement, text: &str) -> SqlError {
    if error.position.is_some() {
        return error;
    }
    let position = subject(&error).and_then(|subject| match subject {
        Subject::Operator(symbol) => operator_place(symbol, text),
        subject => {
            let mut finder = Finder { subject, places: Vec::new() };
            let _ = statement.visit(&mut finder);
            match (&finder.subject, finder.places.as_slice()) {
                // A name that is wrong is wrong everywhere; of strings, only one can be meant.
                (Subject::Text(_), [place]) => Some(*place),
                (Subject::Text(_), _) => None,
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

struct Finder<'a> {
    subject: Subject<'a>,
    places: Vec<u64>,
}

impl Finder<'_> {
    fn found(&mut self, ident: &Ident) {
        self.places.push(ident.span.start.column);
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

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
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
            (Subject::Parameter(wanted), Value::Placeholder(name)) => name == wanted,
            _ => false,
        };
        if found {
            self.places.push(value.span.start.column);
        }
        ControlFlow::Continue(())
    }
}
