//! Names with several parts, of which the first ones must be there: schemas of functions, the database of columns.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Query, Visit, Visitor};
use wharf_values::{SqlError, SqlState};

use super::context::BindContext;
use super::names::fold;
use crate::names::ONE_DATABASE;

/// Schemas that no statement can make or drop.
const SYSTEM_SCHEMAS: &[&str] = &["pg_catalog", "information_schema", "wharf"];

/// Refuses a function of a schema that does not exist, and a column of another database.
///
/// # Errors
/// `3F000`, `0A000`.
pub(super) fn check(query: &Query, context: &BindContext) -> Result<(), SqlError> {
    match query.visit(&mut Checker { context }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Checker<'a> {
    context: &'a BindContext,
}

fn at(error: SqlError, ident: &Ident) -> ControlFlow<Box<SqlError>> {
    let position = usize::try_from(ident.span.start.column).ok().filter(|place| *place > 0);
    ControlFlow::Break(Box::new(error.or_position(position)))
}

impl Visitor for Checker<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let context = self.context;
        match expr {
            Expr::Function(function) => {
                if let [schema, _] = function.name.0.as_slice()
                    && let Some(ident) = schema.as_ident()
                    && let schema = fold(ident)
                    && !SYSTEM_SCHEMAS.contains(&schema.as_str())
                    && context.catalog.namespace_by_name(context.database, &schema).is_none()
                {
                    let message = format!("schema \"{schema}\" does not exist");
                    return at(SqlError::new(SqlState::UNDEFINED_SCHEMA, message), ident);
                }
            }
            Expr::CompoundIdentifier(parts) => {
                if let [database, _, _, _] = parts.as_slice() {
                    let current = context.catalog.database(context.database).map(|database| database.name.as_str());
                    if current != Some(fold(database).as_str()) {
                        let name = parts.iter().map(fold).collect::<Vec<_>>().join(".");
                        let message = format!("cross-database references are not implemented: {name}");
                        return at(SqlError::unsupported(message).with_hint(ONE_DATABASE), database);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
