//! A view of the catalog as Iceberg's view metadata, which it is not stored as.
//!
//! What always holds: the same view has the same ids each time, and another query is another version. The location is where
//! its metadata would be; there is no such file.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wharf_catalog::View;
use wharf_engine::external::Caller;
use wharf_lake::Warehouse;

use crate::error::ApiError;

/// The dialect of the queries of views. Others are refused when a view is made.
const DIALECT: &str = "postgresql";
/// What Wharf's dialect may be called in a request.
const DIALECTS: [&str; 3] = [DIALECT, "postgres", "wharf"];

/// The part of a view's version that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Version {
    representations: Vec<Representation>,
    #[serde(default)]
    default_namespace: Vec<String>,
}

#[derive(Deserialize)]
struct Representation {
    sql: Option<String>,
    dialect: Option<String>,
}

impl Version {
    /// The query in a dialect that is read here.
    ///
    /// # Errors
    /// 406 when there is none.
    pub(crate) fn query(&self) -> Result<&str, ApiError> {
        let known = |dialect: &str| DIALECTS.iter().any(|known| known.eq_ignore_ascii_case(dialect));
        let mut fitting = self.representations.iter().filter(|one| one.dialect.as_deref().is_some_and(known));
        let sql = fitting.find_map(|one| one.sql.as_deref());
        sql.ok_or_else(|| ApiError::unsupported("a view needs a representation in the dialect postgresql"))
    }

    /// Where names without a schema are looked up.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.default_namespace.first().map(String::as_str)
    }
}

/// The uuid of a view.
pub(crate) fn uuid(caller: &Caller, view: &View) -> Uuid {
    let digest = Sha256::digest(format!("wharf view {} {}", caller.database_name, view.oid));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Where its metadata would be, and the metadata.
pub(crate) fn metadata(
    warehouse: &Warehouse,
    caller: &Caller,
    schema: &str,
    view: &View,
) -> Result<(String, Value), ApiError> {
    let id = uuid(caller, view);
    let digest = Sha256::digest(&view.definition);
    let version_id = i32::from_be_bytes([digest[0] & 0x3f, digest[1], digest[2], digest[3]]).max(1);
    let location = format!("{}/views/{id}", warehouse.url());
    let columns = wharf_lake::schema::json(&view.columns).map_err(|error| ApiError::unsupported(error.to_string()))?;
    let mut properties = HashMap::new();
    if let Some(comment) = &view.comment {
        properties.insert("comment", comment.as_str());
    }
    let metadata = json!({
        "view-uuid": id,
        "format-version": 1,
        "location": location,
        "current-version-id": version_id,
        "versions": [{
            "version-id": version_id,
            "timestamp-ms": view.created_ms,
            "schema-id": 0,
            "summary": {"engine-name": "wharf"},
            "representations": [{"type": "sql", "sql": view.definition, "dialect": DIALECT}],
            "default-catalog": null,
            "default-namespace": [schema],
        }],
        "version-log": [{"timestamp-ms": view.created_ms, "version-id": version_id}],
        "schemas": [columns],
        "properties": properties,
    });
    Ok((format!("{location}/metadata/{version_id}.metadata.json"), metadata))
}
