//! How a client reaches the files of a table: with credentials of its own, or with some that come with the table.
//!
//! What always holds: credentials are given to those who ask for them, by `X-Iceberg-Access-Delegation: vended-credentials`, and only
//! such as are short-lived and reach that table alone: a table whose folder is, or is in, one with other things in it gets none. The
//! server's own never leave it.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wharf_catalog::{State, Table};
use wharf_engine::external;
use wharf_lake::TableCredentials;

use crate::application::Application;
use crate::error::ApiError;

/// The header in which a client says how it wants to reach files: a list, of which one will do.
const HEADER: &str = "x-iceberg-access-delegation";
const VENDED: &str = "vended-credentials";
/// What the server keeps for itself in the folder of the warehouse: backups of the catalog.
const OWN_FOLDER: &str = ".wharf";

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
    fn new(location: &str, given: Option<TableCredentials>) -> Access {
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
        match is_asked_for(headers) {
            true => Access::given(application, state, table, location).await,
            false => Ok(Access::new(location, None)),
        }
    }

    /// The same, whether it is asked for or not.
    pub(crate) async fn given(
        application: &Application,
        state: &State,
        table: &Table,
        location: &str,
    ) -> Result<Access, ApiError> {
        let given = external::credentials(&application.engine, state, table, location).await?;
        if given.is_some() {
            check_alone(state, &application.engine.warehouse().url(), location, Some(table.id))?;
        }
        Ok(Access::new(location, given))
    }

    /// As far as it is asked for, to a table that `state` does not know yet, and that has no files but its own.
    pub(crate) async fn to_folder(
        application: &Application,
        headers: &HeaderMap,
        state: &State,
        location: &str,
    ) -> Result<Access, ApiError> {
        let given = match is_asked_for(headers) {
            true => external::folder_credentials(&application.engine, location, &[]).await?,
            false => None,
        };
        if given.is_some() {
            check_alone(state, &application.engine.warehouse().url(), location, None)?;
        }
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

/// Refuses a folder in which there is more than the files of one table, or which is in such a one.
///
/// # Errors
/// 403: credentials for it would reach what they are not for.
fn check_alone(state: &State, warehouse: &str, location: &str, own: Option<Uuid>) -> Result<(), ApiError> {
    let (folder, root) = (place(location), place(warehouse));
    let is_shared = within(root, folder) || within(folder, &format!("{root}/{OWN_FOLDER}")) || {
        let live = state.relations().filter_map(|relation| relation.as_table().map(AsRef::as_ref));
        let dropped = state.dropped().map(|dropped| &dropped.table);
        live.chain(dropped).filter(|table| Some(table.id) != own).any(|table| {
            let head = place(&table.metadata_location);
            within(head, folder) || home(head).is_some_and(|home| within(folder, home))
        })
    };
    if !is_shared {
        return Ok(());
    }
    let message = "no credentials are given for this table, since there are other tables in its folder, or it is in the folder of \
                   another: make it anew in a folder of its own";
    Err(ApiError::new(StatusCode::FORBIDDEN, "ForbiddenException", message))
}

/// A location without what differs between engines.
fn place(location: &str) -> &str {
    let rest = ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| location.strip_prefix(scheme));
    rest.unwrap_or(location).trim_end_matches('/')
}

/// The folder of a table whose head this is: that which `metadata/` is in.
fn home(head: &str) -> Option<&str> {
    Some(head.rsplit_once('/')?.0.rsplit_once('/')?.0)
}

/// Is it the folder, or in it?
fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn folders_are_compared_as_folders() {
        assert!(within("lake/wharf/a", "lake/wharf/a") && within("lake/wharf/a/b", "lake/wharf/a"));
        assert!(!within("lake/wharf/ab", "lake/wharf/a") && !within("lake/wharf", "lake/wharf/a"));
        assert_eq!(place("s3a://lake/wharf/a/"), place("s3://lake/wharf/a"));
        assert_eq!(home("lake/wharf/a/metadata/1.json"), Some("lake/wharf/a"));
    }

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
