//! Tables: made, loaded, taken over, renamed and dropped. Commits are in `commits`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use wharf_catalog::{Command, RelationKind, RelationName};
use wharf_engine::external;
use wharf_lake::LakeTable;
use wharf_lake::commit::{NewRequestedTable, requested_table};

use crate::application::{Shared, Who};
use crate::delegation::{self, Access};
use crate::error::ApiError;
use crate::names::{Identifier, schema};
use crate::pages::Page;
use crate::requests::Body;
use crate::sql;

/// Prefix, namespace, table.
pub(crate) type TablePath = Path<(String, String, String)>;

pub(crate) async fn list(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    let tables = state.relations_in(schema.oid).filter(|relation| relation.as_table().is_some());
    let (tables, next) = page.cut(tables, |table| table.name())?;
    let identifiers: Vec<Value> =
        tables.iter().map(|table| json!({"namespace": [schema.name], "name": table.name()})).collect();
    Ok(Json(json!({"identifiers": identifiers, "next-page-token": next})))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Create {
    name: String,
    location: Option<String>,
    schema: Value,
    partition_spec: Option<Value>,
    write_order: Option<Value>,
    #[serde(default)]
    stage_create: Option<bool>,
    #[serde(default)]
    properties: Option<HashMap<String, String>>,
}

pub(crate) async fn create(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    headers: HeaderMap,
    Body(request): Body<Create>,
) -> Result<Response, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    let name = RelationName::new(&schema.name, &request.name);
    let table = NewRequestedTable {
        namespace: &caller.database_name,
        schema: request.schema,
        partition_spec: request.partition_spec,
        sort_order: request.write_order,
        location: request.location,
        properties: request.properties.unwrap_or_default(),
        may_leave_warehouse: caller.superuser,
    };
    let staged = requested_table(application.engine.warehouse(), table).map_err(external::ExternalError::from)?;
    // Before there is a table that its client cannot write.
    let access = Access::to_folder(&application, &headers, &state, staged.location()).await?;
    if request.stage_create == Some(true) {
        if state.relation(schema.oid, &name.name).is_some() {
            return Err(ApiError::already_exists(format!("Table or view already exists: {namespace}.{}", name.name)));
        }
        let metadata = staged.metadata_json().map_err(external::ExternalError::from)?;
        return Ok(Json(access.with(json!({"metadata": metadata}))).into_response());
    }
    let table = external::create(&application.engine, &caller, &name, &staged).await?;
    loaded(&table, false, &access)
}

#[derive(Deserialize)]
pub(crate) struct Snapshots {
    snapshots: Option<String>,
}

pub(crate) async fn load(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
    Query(Snapshots { snapshots }): Query<Snapshots>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let only_referenced = match snapshots.as_deref() {
        None | Some("" | "all") => false,
        Some("refs") => true,
        Some(other) => return Err(ApiError::bad_request(format!("snapshots are all or refs, not {other}"))),
    };
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let found = external::find(&state, caller.database, &RelationName::new(namespace, table))?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|known| known.trim() == tag(&found.metadata_location, only_referenced));
    // Credentials expire, whether the table changes or not.
    if is_known && !delegation::is_asked_for(&headers) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let table = external::load(&application.engine, found).await?;
    let access = Access::to_table(&application, &headers, &state, found, table.location()).await?;
    loaded(&table, only_referenced, &access)
}

/// A table as all answers have it.
fn loaded(table: &LakeTable, only_referenced: bool, access: &Access) -> Result<Response, ApiError> {
    let location = table.metadata_location();
    let body = json!({"metadata-location": location, "metadata": metadata(table, only_referenced)?});
    let mut response = Json(access.with(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&tag(location, only_referenced)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

pub(crate) fn metadata(table: &LakeTable, only_referenced: bool) -> Result<Value, ApiError> {
    let failed = |error: wharf_lake::LakeError| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", error.to_string())
    };
    table.metadata_json(only_referenced).map_err(failed)
}

/// A metadata file is written once, so its name stands for its content.
fn tag(metadata_location: &str, only_referenced: bool) -> String {
    let file = metadata_location.rsplit('/').next().unwrap_or_default();
    format!("\"{file}{}\"", if only_referenced { "-refs" } else { "" })
}

pub(crate) async fn exists(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    external::find(&state, caller.database, &RelationName::new(namespace, table))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Drops a table. Its files stay until maintenance finds that nothing needs them, whether a purge is requested or not:
/// clones, old snapshots and running queries may.
pub(crate) async fn drop(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let name = RelationName::new(namespace, table);
    external::find(&state, caller.database, &name)?;
    let command = Command::DropRelations {
        database: caller.database,
        kind: RelationKind::Table,
        names: vec![name],
        if_exists: false,
        cascade: false,
        search_path: Vec::new(),
        purge: false,
    };
    application.engine.propose(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(crate) struct Rename {
    source: Identifier,
    destination: Identifier,
}

pub(crate) async fn rename(
    application: Shared,
    who: Who,
    Path(prefix): Path<String>,
    Body(request): Body<Rename>,
) -> Result<StatusCode, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let source = request.source.relation().ok_or_else(|| ApiError::no_table(&request.source.display()))?;
    external::find(&state, caller.database, &source)?;
    let new_name = new_name(&state, caller.database, &request)?;
    sql::run(&application, &who, &caller, &sql::rename("TABLE", &source, &new_name), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The name after a rename, which stays in its schema.
pub(crate) fn new_name(state: &wharf_catalog::State, database: u32, request: &Rename) -> Result<String, ApiError> {
    let Rename { source, destination } = request;
    schema(state, database, &destination.namespace.join("\u{1f}"))?;
    if source.namespace != destination.namespace {
        return Err(ApiError::unsupported("a table or view is renamed within its namespace"));
    }
    sql::check_name(&destination.name)?;
    Ok(destination.name.clone())
}

impl Rename {
    pub(crate) fn source(&self) -> &Identifier {
        &self.source
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Register {
    name: String,
    metadata_location: String,
    #[serde(default)]
    overwrite: Option<bool>,
}

pub(crate) async fn register(
    application: Shared,
    who: Who,
    Path((prefix, namespace)): Path<(String, String)>,
    headers: HeaderMap,
    Body(request): Body<Register>,
) -> Result<Response, ApiError> {
    if request.overwrite == Some(true) {
        return Err(ApiError::unsupported("register with overwrite: drop the table first"));
    }
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let schema = schema(&state, caller.database, &namespace)?;
    let name = RelationName::new(&schema.name, request.name);
    let table = external::register(&application.engine, &caller, &name, &request.metadata_location).await?;
    let access = Access::to_folder(&application, &headers, &state, table.location()).await?;
    loaded(&table, false, &access)
}

/// Fresh credentials for a table: who asks for them here need not say so in a header.
pub(crate) async fn credentials(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
) -> Result<Json<Value>, ApiError> {
    let state = application.catalog().await?;
    let caller = application.caller(&state, &who, &prefix)?;
    let found = external::find(&state, caller.database, &RelationName::new(namespace, table))?;
    let table = external::load(&application.engine, found).await?;
    let access = Access::given(&application, &state, found, table.location()).await?;
    Ok(Json(json!({"storage-credentials": access.storage_credentials()})))
}

/// What a client tells of its scans and commits.
pub(crate) async fn metrics(
    application: Shared,
    who: Who,
    Path((prefix, namespace, table)): TablePath,
    Body(report): Body<Value>,
) -> Result<StatusCode, ApiError> {
    let kind = report.get("report-type").and_then(Value::as_str);
    let Some(kind) = kind.map(str::to_owned) else {
        return Err(ApiError::bad_request("a report has a report-type"));
    };
    let shown = format!("{namespace}.{table}");
    exists(application, who, Path((prefix, namespace, table))).await?;
    tracing::debug!(table = shown, kind, "a client's metrics report");
    Ok(StatusCode::NO_CONTENT)
}
