//! How a client reaches the files of a table: with credentials of its own, or with some that come with the table.
//!
//! What always holds: credentials are given to those who ask for them, by `X-Iceberg-Access-Delegation: vended-credentials`, and only
//! such as are short-lived and reach that table alone. The server's own never leave it.

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use wharf_catalog::{State, Table};
use wharf_engine::external;
use wharf_lake::TableCredentials;

use crate::application::Application;
use crate::error::ApiError;

/// The header in which a client says how it wants to reach files: a list, of which one will do.
const HEADER: &str = "x-iceberg-access-delegation";
const VENDED: &str = "vended-credentials";

/// Does the client ask for credentials?
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let ways = headers.get_all(HEADER).iter().filter_map(|value| value.to_str().ok());
    ways.flat_map(|ways| ways.split(',')).any(|way| way.trim().eq_ignore_ascii_case(VENDED))
}

/// What a client is told about reaching the files of a table.
pub(crate) struct Access {
    location: String,
    given: Option<TableCredentials>,
}

impl Access {
    pub(crate) fn new(location: &str, given: Option<TableCredentials>) -> Access {
        Access { location: location.to_owned(), given }
    }

    /// To a table of the catalog, as far as it is asked for.
    pub(crate) async fn to_table(
        application: &Application,
        headers: &HeaderMap,
        state: &State,
        table: &Table,
        location: &str,
    ) -> Result<Access, ApiError> {
        let given = match is_asked_for(headers) {
            true => external::credentials(&application.engine, state, table, location).await?,
            false => None,
        };
        Ok(Access::new(location, given))
    }

    /// The same to a table that has no files but its own.
    pub(crate) async fn to_folder(
        application: &Application,
        headers: &HeaderMap,
        location: &str,
    ) -> Result<Access, ApiError> {
        let given = match is_asked_for(headers) {
            true => external::folder_credentials(&application.engine, location, &[]).await?,
            false => None,
        };
        Ok(Access::new(location, given))
    }

    /// The answer about a table, with what reaches its files: as a configuration for clients that know no better, and by location.
    pub(crate) fn with(&self, mut answer: Value) -> Value {
        answer["config"] = self.config().into();
        if self.given.is_some() {
            answer["storage-credentials"] = self.storage_credentials();
        }
        answer
    }

    /// A list, empty when there are none.
    pub(crate) fn storage_credentials(&self) -> Value {
        match self.given {
            Some(_) => json!([{"prefix": self.location, "config": self.config()}]),
            None => json!([]),
        }
    }

    /// By the names that Iceberg's libraries have for them.
    fn config(&self) -> Map<String, Value> {
        let mut config = Map::new();
        let Some(given) = &self.given else { return config };
        let mut set = |name: &str, value: &str| drop(config.insert(name.to_owned(), value.into()));
        set("s3.access-key-id", &given.access_key_id);
        set("s3.secret-access-key", &given.secret_access_key);
        set("s3.session-token", &given.session_token);
        set("s3.session-token-expires-at-ms", &given.expires_at.timestamp_millis().to_string());
        set("s3.region", &given.region);
        set("client.region", &given.region);
        if let Some(endpoint) = &given.endpoint {
            set("s3.endpoint", endpoint);
        }
        set("s3.path-style-access", if given.path_style { "true" } else { "false" });
        config
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn credentials_are_for_those_who_ask() {
        let asks = |value: &'static str| {
            is_asked_for(&HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(HEADER),
                HeaderValue::from_static(value),
            )]))
        };
        assert!(asks("vended-credentials"));
        assert!(asks("remote-signing, Vended-Credentials"));
        assert!(!asks("remote-signing"));
        assert!(!is_asked_for(&HeaderMap::new()));
    }
}
