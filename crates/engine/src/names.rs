//! Names in statements, resolved to objects of the catalog.

use sqlparser::ast::{Ident, ObjectName};
use wharf_catalog::{Relation, RelationName};
use wharf_values::{SqlError, SqlState};

use crate::bind::BindContext;
use crate::bind::names::fold;

/// The hint for a name of another database.
pub(crate) const ONE_DATABASE: &str = "Leave the database out of the name, or connect to it.";

/// A name's parts, folded: schema if there is one, and the last part.
///
/// # Errors
/// `0A000` for another database's name, `42601` for too many parts.
pub(crate) fn split_name(name: &ObjectName, context: &BindContext) -> Result<(Option<String>, String), SqlError> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        [database, schema, name] => {
            let current = context.catalog.database(context.database).map(|database| database.name.as_str());
            if current == Some(database.as_str()) {
                Ok((Some(schema.clone()), name.clone()))
            } else {
                Err(SqlError::unsupported(format!(
                    "cross-database references are not implemented: \"{database}.{schema}.{name}\""
                ))
                .with_hint(ONE_DATABASE))
            }
        }
        _ => Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("improper qualified name (too many dotted names): {name}"),
        )),
    }
}

/// The relation of a name, along the search path when it has no schema.
///
/// # Errors
/// `42P01`.
pub(crate) fn find_relation(name: &ObjectName, context: &BindContext) -> Result<Relation, SqlError> {
    let (schema, name) = split_name(name, context)?;
    let found = match &schema {
        Some(schema) => context
            .catalog
            .namespace_by_name(context.database, schema)
            .and_then(|namespace| context.catalog.relation(namespace.oid, &name).cloned()),
        None => context.search_path.find(&context.catalog, context.database, &name),
    };
    found.ok_or_else(|| {
        let written = schema.map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"));
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{written}\" does not exist"))
    })
}

/// What cannot be done with an external table.
pub(crate) fn refused_of_foreign(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint(
        "An external table only reads its files. CREATE TABLE .. AS SELECT .. makes a table of what they hold.",
    )
}

/// Where a new relation of that name goes.
///
/// # Errors
/// `3F000` when there is no schema to put it in.
pub(crate) fn new_relation_name(name: &ObjectName, context: &BindContext) -> Result<RelationName, SqlError> {
    let (schema, name) = split_name(name, context)?;
    let schema = match schema {
        Some(schema) => schema,
        None => context
            .search_path
            .current(&context.catalog, context.database)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_SCHEMA, "no schema has been selected to create in"))?
            .to_owned(),
    };
    Ok(RelationName { schema, name })
}

/// The full name of a relation that may exist; without a schema the first one along the path that has it, else the
/// first one there is.
pub(crate) fn existing_relation_name(name: &ObjectName, context: &BindContext) -> Result<RelationName, SqlError> {
    let (schema, bare) = split_name(name, context)?;
    if let Some(schema) = schema {
        return Ok(RelationName { schema, name: bare });
    }
    if let Some(relation) = context.search_path.find(&context.catalog, context.database, &bare)
        && let Some(namespace) = context.catalog.namespace(relation.namespace())
    {
        return Ok(RelationName { schema: namespace.name.clone(), name: bare });
    }
    let schema = context.search_path.current(&context.catalog, context.database).unwrap_or("public");
    Ok(RelationName { schema: schema.to_owned(), name: bare })
}

/// An identifier as it must be written to mean exactly this name.
pub(crate) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
