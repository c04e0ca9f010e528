//! Where unqualified names are looked up: `pg_catalog` first, then the schemas of `search_path` that exist.

use wharf_catalog::{Relation, State};

/// The schemas of the session's `search_path`, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// Names as they were set, `"$user"` replaced by the user's name.
    schemas: Vec<String>,
}

impl SearchPath {
    /// From the value of the setting: names separated by commas, quoted or not.
    pub(crate) fn parse(value: &str, user: &str) -> Self {
        let schemas = value
            .split(',')
            .map(|part| {
                let part = part.trim();
                match part.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
                    Some("$user") => user.to_owned(),
                    Some(quoted) => quoted.replace("\"\"", "\""),
                    None if part == "$user" => user.to_owned(),
                    None => part.trim_matches('\'').to_ascii_lowercase(),
                }
            })
            .filter(|name| !name.is_empty())
            .collect();
        SearchPath { schemas }
    }

    /// The names, in order.
    pub(crate) fn schemas(&self) -> &[String] {
        &self.schemas
    }

    /// The first schema that exists: where new objects go.
    pub(crate) fn current<'a>(&'a self, state: &State, database: u32) -> Option<&'a str> {
        self.schemas.iter().map(String::as_str).find(|name| state.namespace_by_name(database, name).is_some())
    }

    /// The first relation of that name along the path.
    pub(crate) fn find(&self, state: &State, database: u32, name: &str) -> Option<Relation> {
        self.schemas
            .iter()
            .filter_map(|schema| state.namespace_by_name(database, schema))
            .find_map(|namespace| state.relation(namespace.oid, name).cloned())
    }
}
