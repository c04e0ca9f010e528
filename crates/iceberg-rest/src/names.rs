//! Names as the specification writes them, and as the catalog does: a namespace is a schema.

use serde::{Deserialize, Serialize};
use wharf_catalog::{Namespace, RelationName, State};

use crate::error::ApiError;

/// What parts the levels of a namespace in a path.
const SEPARATOR: char = '\u{1f}';

/// A table or view in a body.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Identifier {
    pub(crate) namespace: Vec<String>,
    pub(crate) name: String,
}

impl Identifier {
    /// The name in the catalog; none below the first level of namespaces, where there is nothing.
    pub(crate) fn relation(&self) -> Option<RelationName> {
        match self.namespace.as_slice() {
            [schema] => Some(RelationName::new(schema, &self.name)),
            _ => None,
        }
    }

    pub(crate) fn display(&self) -> String {
        format!("{}.{}", self.namespace.join("."), self.name)
    }
}

/// The schema of a namespace in a path.
///
/// # Errors
/// 404: there is none. The system's own are no namespaces: they hold no Iceberg tables.
pub(crate) fn schema<'a>(state: &'a State, database: u32, namespace: &str) -> Result<&'a Namespace, ApiError> {
    let found = state.namespace_by_name(database, namespace).filter(|schema| schema.database == database);
    found.map(AsRef::as_ref).ok_or_else(|| ApiError::no_namespace(&namespace.replace(SEPARATOR, ".")))
}
