//! The SQL of what the catalog has: views, constraints, and the indexes that PostgreSQL would have behind keys.

use wharf_catalog::{Relation, Table};
use wharf_values::SqlError;

use super::functions::{Row, Value, number, text};
use super::{SystemContext, constraints};
use crate::constraint_text::definition_where;

/// `pg_get_viewdef(oid)`
pub(super) fn view(row: &Row<'_>) -> Result<Value, SqlError> {
    Ok(match number(row, 0).and_then(|oid| row.context.catalog.relation_by_oid(oid)) {
        Some(Relation::View(view)) => Value::Text(format!("{};", view.definition)),
        _ => Value::Null,
    })
}

/// `pg_get_constraintdef(oid)`
pub(super) fn constraint(row: &Row<'_>) -> Result<Value, SqlError> {
    let Some(oid) = number(row, 0) else { return Ok(Value::Null) };
    let state = &row.context.catalog;
    for table in state.relations().filter_map(Relation::as_table) {
        if let Some(constraint) = table.constraints.iter().find(|constraint| constraint.oid == oid) {
            return text(definition_where(constraint, table, state, |target| is_visible(target, row.context)));
        }
    }
    Ok(Value::Null)
}

/// Does the search path find a table by its bare name?
fn is_visible(table: &Table, context: &SystemContext) -> bool {
    let found = context.search_path.find(&context.catalog, context.identity.database, &table.name);
    found.is_some_and(|found| found.oid() == table.oid)
}

/// `pg_get_indexdef(oid)`, or `(oid, column, pretty)`: column 0 is the whole index, a column that it does not have is
/// empty. A pretty one leaves out the schema of a table that is found without it.
pub(super) fn index(row: &Row<'_>) -> Result<Value, SqlError> {
    let Some(oid) = number(row, 0) else { return Ok(Value::Null) };
    let context = row.context;
    let state = &context.catalog;
    let Some((table, key)) = constraints::index_by_oid(state, oid) else { return Ok(Value::Null) };
    let (column, pretty) = match (row.numbers, row.texts) {
        ([_], _) => (0, false),
        ([_, Some(column), _], [_, _, Some(pretty)]) => (*column, matches!(pretty.as_str(), "true" | "t")),
        _ => return Ok(Value::Null),
    };
    if column == 0 {
        let schema = state.namespace(table.namespace).filter(|_| !(pretty && is_visible(table, context)));
        return text(constraints::index_definition(schema.map(|schema| schema.name.as_str()), table, key));
    }
    let id = usize::try_from(column - 1).ok().and_then(|column| key.columns().get(column));
    text(id.map_or_else(String::new, |id| crate::constraint_text::names(&[*id], &table.columns)))
}
