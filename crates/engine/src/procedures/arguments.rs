//! The arguments of a CALL: brought to the parameters' types, by position or by name.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use sqlparser::ast;
use wharf_catalog::{Relation, Table};
use wharf_values::{SqlError, SqlState};

use super::Procedure;
use crate::bind::BindContext;
use crate::bind::names::fold;
use crate::dml::constants;
use crate::names::{find_relation, refused_of_foreign};
use crate::session::Session;

/// The values of a call, one for each parameter; NULL stands for one that was left out.
pub(super) struct Arguments {
    procedure: &'static Procedure,
    values: RecordBatch,
    /// None when the procedure is not about a table.
    table: Option<Arc<Table>>,
}

impl Arguments {
    /// Evaluates the arguments.
    ///
    /// # Errors
    /// `42883` for arguments that the procedure does not take, `22004` for one that is missing, and what evaluating them raises.
    pub(super) async fn new(
        session: &mut Session,
        procedure: &'static Procedure,
        call: &ast::Function,
    ) -> Result<Arguments, SqlError> {
        let list = match &call.args {
            ast::FunctionArguments::List(list) if list.clauses.is_empty() => list.args.as_slice(),
            ast::FunctionArguments::None => &[],
            _ => return Err(procedure.mismatch()),
        };
        let null = || ast::Expr::Value(ast::Value::Null.with_empty_span());
        let mut given: Vec<Option<ast::Expr>> = procedure.parameters.iter().map(|_| None).collect();
        for (position, argument) in list.iter().enumerate() {
            let (index, value) = match argument {
                ast::FunctionArg::Unnamed(value) => (Some(position), value),
                ast::FunctionArg::Named { name, arg, .. } => (procedure.position(&fold(name)), arg),
                ast::FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg, .. } => {
                    (procedure.position(&fold(name)), arg)
                }
                ast::FunctionArg::ExprNamed { .. } => (None, &ast::FunctionArgExpr::Wildcard),
            };
            let slot = index.and_then(|index| given.get_mut(index)).ok_or_else(|| procedure.mismatch())?;
            let ast::FunctionArgExpr::Expr(value) = value else { return Err(procedure.mismatch()) };
            if slot.replace(value.clone()).is_some() {
                return Err(procedure.mismatch());
            }
        }
        let missing =
            procedure.parameters.iter().zip(&given).find(|(parameter, given)| parameter.required && given.is_none());
        if let Some((parameter, _)) = missing {
            let message = format!("procedure wharf.{} needs its argument \"{}\"", procedure.name, parameter.name);
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(procedure.usage()));
        }
        let values: Vec<_> = given.into_iter().map(|value| value.unwrap_or_else(null)).collect();
        let types: Vec<_> = procedure.parameters.iter().map(|parameter| parameter.ty.clone()).collect();
        let catalog = session.catalog().await?;
        let context = session.bind_context(catalog);
        let values = constants::evaluate(session, values, &types, &context).await?;
        let table = match procedure.position("table") {
            Some(_) => Some(table_of(procedure, &values, &context)?),
            None => None,
        };
        // The instant of the catalog is let go of here: while it is held, no file goes that the table has at it.
        Ok(Arguments { procedure, values, table })
    }

    /// The table that the parameter `table` names.
    pub(super) fn table(&self) -> Result<&Table, SqlError> {
        self.table.as_deref().ok_or_else(|| SqlError::internal("the procedure is not about a table"))
    }

    fn column(&self, name: &str) -> Result<&Arc<dyn Array>, SqlError> {
        column(self.procedure, &self.values, name)
    }

    /// An integer, none for NULL.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, SqlError> {
        let column = self.column(name)?;
        if column.is_null(0) {
            return Ok(None);
        }
        let small = column.as_primitive_opt::<Int32Type>().map(|values| i64::from(values.value(0)));
        let value = small.or_else(|| column.as_primitive_opt::<Int64Type>().map(|values| values.value(0)));
        value.map(Some).ok_or_else(|| SqlError::internal(format!("{name} is no integer")))
    }

    /// A boolean, none for NULL.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, SqlError> {
        let values = self.column(name)?.as_boolean_opt();
        let values = values.ok_or_else(|| SqlError::internal(format!("{name} is no boolean")))?;
        Ok((!values.is_null(0)).then(|| values.value(0)))
    }

    /// A text, none for NULL.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, SqlError> {
        let values = self.column(name)?.as_string_view_opt();
        let values = values.ok_or_else(|| SqlError::internal(format!("{name} is no text")))?;
        Ok((!values.is_null(0)).then(|| values.value(0)))
    }

    /// A moment in milliseconds since 1970, none for NULL.
    pub(super) fn moment_ms(&self, name: &str) -> Result<Option<i64>, SqlError> {
        let values = self.column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        let values = values.ok_or_else(|| SqlError::internal(format!("{name} is no timestamp")))?;
        Ok((!values.is_null(0)).then(|| values.value(0).div_euclid(1000)))
    }
}

fn column<'a>(procedure: &Procedure, values: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>, SqlError> {
    let index = procedure.position(name);
    index.map(|index| values.column(index)).ok_or_else(|| SqlError::internal(format!("no parameter {name}")))
}

/// The table that the parameter `table` names, as a query would name it.
fn table_of(procedure: &Procedure, values: &RecordBatch, context: &BindContext) -> Result<Arc<Table>, SqlError> {
    let names = column(procedure, values, "table")?;
    let names = names.as_string_view_opt().ok_or_else(|| SqlError::internal("the table's name is no text"))?;
    if names.is_null(0) {
        let message = "the name of the table must not be null";
        return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
    }
    match find_relation(&parse_name(names.value(0))?, context)? {
        Relation::Table(table) => Ok(table),
        Relation::View(view) => {
            Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", view.name)))
        }
        Relation::Foreign(table) => {
            Err(refused_of_foreign(format!("foreign table \"{}\" has nothing to maintain", table.name)))
        }
    }
}

/// A name that came as a text.
fn parse_name(text: &str) -> Result<ast::ObjectName, SqlError> {
    let invalid =
        || SqlError::new(SqlState::INVALID_NAME, "invalid name syntax").with_detail(format!("It is \"{text}\"."));
    match crate::statement::parse(&format!("TABLE {text}")).map_err(|_| invalid())?.pop() {
        Some(ast::Statement::Query(query)) => match *query.body {
            ast::SetExpr::Table(table) => {
                let part = |name: &Option<String>| name.as_deref().map(crate::names::quoted);
                let parts = [part(&table.schema_name), part(&table.table_name)];
                Ok(ast::ObjectName(parts.into_iter().flatten().map(ast::ObjectNamePart::Identifier).collect()))
            }
            ast::SetExpr::Select(select) => match select.from.as_slice() {
                [ast::TableWithJoins { relation: ast::TableFactor::Table { name, .. }, joins }] if joins.is_empty() => {
                    Ok(name.clone())
                }
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}

impl Procedure {
    fn position(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }

    fn mismatch(&self) -> SqlError {
        let message = format!("the arguments of procedure wharf.{} do not match its parameters", self.name);
        SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(self.usage())
    }

    fn usage(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| match parameter.required {
            true => format!("{} => {}", parameter.name, parameter.ty),
            false => format!("[{} => {}]", parameter.name, parameter.ty),
        });
        format!("It is called as wharf.{}({}).", self.name, parameters.collect::<Vec<_>>().join(", "))
    }
}
